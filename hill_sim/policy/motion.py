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
    CollapseClass,
    Edit,
    Gesture,
    LatentView,
    MoveCenter,
    MovePoint,
    Position,
    ScaleClass,
    apply_gesture,
)


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
    """The movements of `edit`, one a gesture.

    Raises:
        InvalidEdit: the edit does not fit the view.
    """
    points = np.array(view.points, dtype=np.float64)
    motions = []
    for gesture in edit.gestures:
        motions.append(_read(gesture, points, view))
        apply_gesture(gesture, points, view)
    return motions


def _read(gesture: Gesture, points: np.ndarray, view: LatentView) -> Motion:
    if isinstance(gesture, MovePoint):
        x, y = points[gesture.point].tolist()
        return Motion(MovePoint, int(gesture.point), (gesture.to[0] - x, gesture.to[1] - y))
    members = points[view.labels == gesture.cls]
    (x, y), extent = _place(members)
    if isinstance(gesture, MoveCenter):
        return Motion(MoveCenter, int(gesture.cls), (gesture.to[0] - x, gesture.to[1] - y))
    growth = -1.0 if isinstance(gesture, CollapseClass) else float(gesture.factor) - 1.0
    return Motion(ScaleClass, int(gesture.cls), growth=growth, extent=extent)


def perform(motions: Iterable[Motion], view: LatentView) -> Edit:
    """The edit that makes these movements on `view`.

    A scaling moves the points by the same rms distance as the one that was read, also where the class has another
    extent by now, as far as a factor >= 0 allows.
    """
    points = np.array(view.points, dtype=np.float64)
    gestures = []
    for motion in motions:
        gesture = _perform(motion, points, view)
        apply_gesture(gesture, points, view)
        gestures.append(gesture)
    return Edit(gestures)


def _perform(motion: Motion, points: np.ndarray, view: LatentView) -> Gesture:
    if motion.kind is MovePoint:
        x, y = points[motion.target].tolist()
        return MovePoint(motion.target, (x + motion.vector[0], y + motion.vector[1]))
    (x, y), extent = _place(points[view.labels == motion.target])
    if motion.kind is MoveCenter:
        return MoveCenter(motion.target, (x + motion.vector[0], y + motion.vector[1]))
    # A ratio of exactly 1 keeps the factor that was read, free of rounding, when nothing else has changed.
    ratio = motion.extent / extent if extent > 1e-9 * motion.extent else 1.0
    factor = 1.0 + motion.growth * ratio
    return ScaleClass(motion.target, factor) if factor > 0 else CollapseClass(motion.target)


def _place(members: np.ndarray) -> tuple[Position, float]:
    """Center and extent (rms distance to the center) of the points of one class [m,2]."""
    center = members.mean(axis=0)
    offsets = members - center
    largest = float(np.abs(offsets).max(initial=0.0))
    if largest == 0.0:
        return (float(center[0]), float(center[1])), 0.0
    scaled = offsets / largest  # squares of huge or tiny offsets would overflow or vanish
    return (float(center[0]), float(center[1])), largest * float(np.sqrt((scaled * scaled).sum() / len(members)))


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
