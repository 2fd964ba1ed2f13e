"""Edits as movements of the hand: how far each gesture moves what it takes, whatever stands where.

A gesture says where a thing shall end. To weaken, mirror, misplace or randomise an edit one needs the movement
instead. `read` replays an edit and notes each movement relative to where the thing was when it was taken; `perform`
makes the same movements on a view, which may be another one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from hill_sim.types import (
    Array,
    CollapseClass,
    Edit,
    Gesture,
    LatentView,
    MoveCenter,
    MovePoint,
    Position,
    ScaleClass,
)

ROUNDING = 1e-12  # relative to the view's reach: distances below it are rounding errors of coincident points


@dataclass(frozen=True)
class Motion:
    """One movement.

    Attributes:
        kind: `MoveCenter`, `MovePoint` or `ScaleClass`; a collapse is a scaling with growth -1.
        target: the class, or for `MovePoint` the point.
        vector: (x, y) the drag in view units; (0, 0) for a scaling.
        growth: factor - 1 for a scaling, >= -1; 0 for a drag.
        extent: rms distance of the class's points from its center when it was taken; 0 for a drag.
    """

    kind: type[MoveCenter] | type[MovePoint] | type[ScaleClass]
    target: int
    vector: Position = (0.0, 0.0)
    growth: float = 0.0
    extent: float = 0.0

    @property
    def magnitude(self) -> float:
        """Root mean square displacement of the points that it moves, in view units."""
        if self.kind is ScaleClass:
            return abs(self.growth) * self.extent
        return float(np.hypot(*self.vector))


def read(edit: Edit, view: LatentView) -> list[Motion]:
    """The movements of `edit`, one a gesture. The edit must fit the view (`run_policy` sees to that)."""
    board = _Board(view, any(isinstance(g, MovePoint) for g in edit.gestures))
    return [board.read(gesture) for gesture in edit.gestures]


def perform(motions: Iterable[Motion], view: LatentView) -> Edit:
    """The edit that makes these movements on `view`.

    A scaling moves the points by the same rms distance as the one that was read, also where the class has another
    extent by now, as far as a factor >= 0 allows.
    """
    motions = list(motions)
    board = _Board(view, any(m.kind is MovePoint for m in motions))
    return Edit(board.perform(motion) for motion in motions)


class _Board:
    """Where everything stands while the gestures of an edit are made one after the other.

    Class gestures change centers and extents in a known way; the points are tracked only if single ones are moved.
    """

    def __init__(self, view: LatentView, points_move: bool) -> None:
        self.labels = view.labels
        self.centers: list[list[float]] = view.centers.tolist()
        self.extents: list[float] = extents(view).tolist()
        self.points = np.array(view.points, dtype=np.float64) if points_move else None

    def read(self, gesture: Gesture) -> Motion:
        if isinstance(gesture, MovePoint):
            x, y = self._point(gesture.point)
            motion = Motion(MovePoint, int(gesture.point), (float(gesture.to[0]) - x, float(gesture.to[1]) - y))
        elif isinstance(gesture, MoveCenter):
            x, y = self.centers[gesture.cls]
            motion = Motion(MoveCenter, int(gesture.cls), (float(gesture.to[0]) - x, float(gesture.to[1]) - y))
        else:
            growth = -1.0 if isinstance(gesture, CollapseClass) else float(gesture.factor) - 1.0
            motion = Motion(ScaleClass, int(gesture.cls), growth=growth, extent=self.extents[gesture.cls])
        self._make(gesture)
        return motion

    def perform(self, motion: Motion) -> Gesture:
        dx, dy = motion.vector
        gesture: Gesture
        if motion.kind is MovePoint:
            x, y = self._point(motion.target)
            gesture = MovePoint(motion.target, (x + dx, y + dy))
        elif motion.kind is MoveCenter:
            x, y = self.centers[motion.target]
            gesture = MoveCenter(motion.target, (x + dx, y + dy))
        else:
            extent = self.extents[motion.target]
            # Equal extents give a ratio of exactly 1: the factor that was read comes back free of rounding.
            ratio = motion.extent / extent if extent > 0 and motion.extent > 0 else 1.0
            factor = 1.0 + motion.growth * ratio
            gesture = ScaleClass(motion.target, factor) if factor > 0 else CollapseClass(motion.target)
        self._make(gesture)
        return gesture

    def _point(self, row: int) -> list[float]:
        assert self.points is not None
        return self.points[row].tolist()

    def _make(self, gesture: Gesture) -> None:
        if isinstance(gesture, MovePoint):
            assert self.points is not None
            self.points[gesture.point] = gesture.to
            c = int(self.labels[gesture.point])
            center, extent = _place(self.points[self.labels == c])
            self.centers[c], self.extents[c] = center.tolist(), extent
            return
        c = gesture.cls
        factor = (
            1.0 if isinstance(gesture, MoveCenter) else 0.0 if isinstance(gesture, CollapseClass) else gesture.factor
        )
        center = np.array(gesture.to if isinstance(gesture, MoveCenter) else self.centers[c], dtype=np.float64)
        if self.points is not None:
            members = self.labels == c
            self.points[members] = center + factor * (self.points[members] - self.centers[c])
        self.centers[c] = center.tolist()
        self.extents[c] *= float(factor)


def extents(view: LatentView) -> Array:
    """[C] rms distance of the shown points of each class from its center; 0 where it is no more than rounding."""
    labels, n_classes = view.labels, view.n_classes
    offsets = view.points - view.centers[labels]
    largest = np.abs(offsets).max(initial=0.0)
    if largest == 0:
        return np.zeros(n_classes)
    offsets /= largest  # squares of huge or tiny offsets would overflow or vanish
    squares = np.bincount(labels, (offsets * offsets).sum(axis=1), n_classes)
    extent = largest * np.sqrt(squares / np.maximum(np.bincount(labels, minlength=n_classes), 1))
    return np.where(extent > ROUNDING * np.abs(view.points).max(), extent, 0.0)


def _place(members: Array) -> tuple[Array, float]:
    """Center and extent of the points of one class [m,2]."""
    center = members.mean(axis=0)
    offsets = members - center
    largest = float(np.abs(offsets).max())
    if largest <= ROUNDING * float(np.abs(members).max()):
        return center, 0.0
    offsets /= largest
    return center, largest * float(np.sqrt((offsets * offsets).sum() / len(members)))


def scaled(motions: Iterable[Motion], strength: float) -> list[Motion]:
    """The same movements, `strength` times as far; a negative strength mirrors them."""
    return [
        replace(m, vector=(m.vector[0] * strength, m.vector[1] * strength), growth=m.growth * strength) for m in motions
    ]


def randomised(motions: Iterable[Motion], rng: np.random.Generator) -> list[Motion]:
    """Movements of the same magnitude in random directions.

    Each keeps its kind, its target and its rms displacement. A drag gets a uniformly random direction. A scaling grows
    or shrinks at random (factor f or 2 - f), except that one with f > 2 keeps its sign: there is no shrinking by more
    than everything.
    """
    result = []
    for motion in motions:
        angle, sign = rng.uniform(0.0, 2.0 * np.pi), 1.0 if rng.random() < 0.5 else -1.0
        if motion.kind is ScaleClass:
            flipped = motion.growth * sign
            result.append(replace(motion, growth=flipped if flipped >= -1.0 else motion.growth))
        else:
            length = motion.magnitude
            result.append(replace(motion, vector=(length * float(np.cos(angle)), length * float(np.sin(angle)))))
    return result
