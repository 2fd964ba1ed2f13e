"""What passes between the engine and a user: the view, the gestures, the edit, and the layout that it asks for.

Shapes: n shown points, C classes, 2 projected coordinates. All positions are in the coordinates of the view that
the user sees; the engine converts them into the objective's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from hill_sim.errors import InvalidEdit

Array: TypeAlias = npt.NDArray[Any]
Position: TypeAlias = tuple[float, float]


@dataclass(frozen=True)
class MoveCenter:
    """Drag a class center: all shown points of the class move rigidly with it."""

    cls: int
    to: Position


@dataclass(frozen=True)
class MovePoint:
    """Drag one shown point, named by its row in the view."""

    point: int
    to: Position


@dataclass(frozen=True)
class ScaleClass:
    """Shrink (factor < 1) or widen (factor > 1) a class about its center."""

    cls: int
    factor: float


@dataclass(frozen=True)
class CollapseClass:
    """Double-click on a center: all points of the class go to it, the target spread is 0."""

    cls: int


Gesture: TypeAlias = MoveCenter | MovePoint | ScaleClass | CollapseClass
GESTURES: dict[str, type] = {
    "move_center": MoveCenter,
    "move_point": MovePoint,
    "scale_class": ScaleClass,
    "collapse_class": CollapseClass,
}
_GESTURE_NAMES = {kind: name for name, kind in GESTURES.items()}


def layout_of(points: Array, labels: Array, n_classes: int) -> tuple[Array, Array]:
    """Centers [C,2] (means) and spreads [C] (mean Euclidean distance to the center) of labelled points [n,2].

    Classes without points have center NaN and spread 0.
    """
    counts = np.bincount(labels, minlength=n_classes).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        centers = np.stack([np.bincount(labels, points[:, d], n_classes) for d in range(2)], axis=1) / counts[:, None]
        distances = np.hypot(*(points - centers[labels]).T)
        spreads = np.bincount(labels, distances, n_classes) / np.maximum(counts, 1.0)
    return centers, spreads


@dataclass(frozen=True, eq=False)
class TargetLayout:
    """What an edit asks for.

    Attributes:
        points: [n,2] the shown points where the user left them.
        centers: [C,2] target centers c*; NaN for classes that are not shown.
        spreads: [C] target spreads s* (mean distance to the center), not negative.
        touched: [C] bool, the classes that some gesture touched.
    """

    points: Array
    centers: Array
    spreads: Array
    touched: Array

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; NaN as null."""
        return {name: _listed(getattr(self, name)) for name in ("points", "centers", "spreads", "touched")}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TargetLayout:
        points, centers = _array(data["points"], np.float64, 2), _array(data["centers"], np.float64, 2)
        return cls(points, centers, _array(data["spreads"], np.float64), _array(data["touched"], np.bool_))


@dataclass(frozen=True, eq=False)
class Memory:
    """What a person remembers of an earlier interaction of the same trial."""

    epoch: int
    edit: Edit
    layout: TargetLayout
    validation_accuracy: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; NaN as null."""
        return {
            "epoch": int(self.epoch),
            "edit": self.edit.to_json(),
            "layout": self.layout.to_json(),
            "validation_accuracy": _listed(self.validation_accuracy),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Memory:
        accuracy = _number(data["validation_accuracy"])
        return cls(data["epoch"], Edit.from_json(data["edit"]), TargetLayout.from_json(data["layout"]), accuracy)


@dataclass(frozen=True, eq=False)
class LatentView:
    """What a user sees at an interaction: a scatter plot of some training points (never of the test split).

    Attributes:
        points: [n,2] float64 projected latents, centred, in units of `scale`.
        labels: [n] int64 labels as the training data has them (label noise included).
        predictions: [n] int64 the model's predictions.
        confidences: [n] float64 in [0,1], the predicted class's softmax probability.
        sample_ids: [n] int64 rows of the split that the view shows.
        class_names: C names.
        epoch: the epoch that has just ended, from 1.
        scale: rms radius of the shown points about their mean, in projected units (1 view unit), positive.
        validation_accuracy: in [0,1], at this epoch.
        history: earlier interactions, oldest first.
        centers, spreads: [C,2], [C], derived from the points (`layout_of`).
    """

    points: Array
    labels: Array
    predictions: Array
    confidences: Array
    sample_ids: Array
    class_names: tuple[str, ...]
    epoch: int
    scale: float = 1.0
    validation_accuracy: float = float("nan")
    history: tuple[Memory, ...] = ()
    centers: Array = field(init=False)
    spreads: Array = field(init=False)

    def __post_init__(self) -> None:
        centers, spreads = layout_of(self.points, self.labels, self.n_classes)
        object.__setattr__(self, "centers", centers)
        object.__setattr__(self, "spreads", spreads)
        for name in ("points", "labels", "predictions", "confidences", "sample_ids", "centers", "spreads"):
            array = np.asarray(getattr(self, name)).view()
            array.flags.writeable = False  # a policy that writes into its view would corrupt its siblings
            object.__setattr__(self, name, array)

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    @property
    def shown_classes(self) -> Array:
        """[k] the classes with at least one shown point, ascending."""
        return np.flatnonzero(np.bincount(self.labels, minlength=self.n_classes))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; NaN as null. What is derived (centers, spreads) is left out."""
        columns = ("points", "labels", "predictions", "confidences", "sample_ids")
        return {
            **{name: _listed(getattr(self, name)) for name in columns},
            "class_names": list(self.class_names),
            "epoch": int(self.epoch),
            "scale": float(self.scale),
            "validation_accuracy": _listed(self.validation_accuracy),
            "history": [memory.to_json() for memory in self.history],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LatentView:
        labels, predictions, ids = (_array(data[n], np.int64) for n in ("labels", "predictions", "sample_ids"))
        return cls(
            points=_array(data["points"], np.float64, 2),
            labels=labels,
            predictions=predictions,
            confidences=_array(data["confidences"], np.float64),
            sample_ids=ids,
            class_names=tuple(data["class_names"]),
            epoch=data["epoch"],
            scale=data["scale"],
            validation_accuracy=_number(data["validation_accuracy"]),
            history=tuple(Memory.from_json(memory) for memory in data["history"]),
        )


@dataclass(frozen=True)
class Edit:
    """An ordered list of gestures on one view. Later gestures see the effect of earlier ones.

    Example:
        >>> edit = Edit([MoveCenter(0, (1.0, 0.0)), CollapseClass(1)])
        >>> Edit.from_json(edit.to_json()) == edit
        True
    """

    gestures: tuple[Gesture, ...] = ()

    def __init__(self, gestures: Iterable[Gesture] = ()) -> None:
        object.__setattr__(self, "gestures", tuple(gestures))

    def __len__(self) -> int:
        return len(self.gestures)

    def apply(self, view: LatentView) -> TargetLayout:
        """The layout that this edit asks for.

        Raises:
            InvalidEdit: a gesture names a class or point that the view does not show, or is not finite.
        """
        points = np.array(view.points, dtype=np.float64)
        touched = np.zeros(view.n_classes, dtype=bool)
        for index, gesture in enumerate(self.gestures):
            where = f"gesture {index + 1} of {len(self.gestures)}"
            touched[_apply(gesture, points, view, where)] = True
        centers, spreads = layout_of(points, view.labels, view.n_classes)
        return TargetLayout(points, centers, spreads, touched)

    def to_json(self) -> list[dict[str, Any]]:
        return [{"gesture": _GESTURE_NAMES[type(g)], **_plain(vars(g))} for g in self.gestures]

    @classmethod
    def from_json(cls, data: Sequence[dict[str, Any]]) -> Edit:
        """Raises InvalidEdit for an unknown gesture or fields that do not belong to it."""
        gestures: list[Gesture] = []
        for item in data:
            fields = dict(item)
            kind = GESTURES.get(str(fields.pop("gesture", "")))
            if kind is None:
                raise InvalidEdit(f"gesture: unknown {item.get('gesture')!r} (allowed: {', '.join(GESTURES)})")
            try:
                if "to" in fields:
                    fields["to"] = tuple(fields["to"])
                gestures.append(kind(**fields))
            except TypeError as error:
                raise InvalidEdit(f"gesture {item['gesture']!r}: {error}") from None
        return cls(gestures)


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    return {k: [float(x) for x in v] if k == "to" else float(v) if k == "factor" else int(v) for k, v in fields.items()}


def _listed(values: Any) -> Any:
    """JSON for a number or an array: nested lists, NaN (which JSON lacks) as None."""
    array = np.asarray(values)
    if array.dtype.kind != "f":
        return array.tolist()
    plain = array.astype(object)
    plain[np.isnan(array)] = None
    return plain.tolist()


def _array(values: Any, dtype: type, columns: int | None = None) -> Array:
    array: Array = np.array(values, dtype=dtype)  # None becomes NaN
    return array if columns is None else array.reshape(-1, columns)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _apply(gesture: object, points: Array, view: LatentView, where: str) -> int:
    """Move `points` [n,2], those of `view` after earlier gestures, in place; return the class that was touched.

    Raises:
        InvalidEdit: as `Edit.apply`; the message begins with `where`.
    """
    if isinstance(gesture, MovePoint):
        _check_index(gesture.point, len(points), f"{where}: point")
        points[gesture.point] = _finite_position(gesture.to, where)
        return int(view.labels[gesture.point])
    if not isinstance(gesture, MoveCenter | ScaleClass | CollapseClass):
        raise InvalidEdit(f"{where}: {type(gesture).__name__} is not a gesture (allowed: {', '.join(GESTURES)})")
    _check_index(gesture.cls, view.n_classes, f"{where}: class")
    members = view.labels == gesture.cls
    if not members.any():
        raise InvalidEdit(f"{where}: class {gesture.cls} ({view.class_names[gesture.cls]}) has no shown point")
    center = points[members].mean(axis=0)
    if isinstance(gesture, MoveCenter):
        points[members] += _finite_position(gesture.to, where) - center
    elif isinstance(gesture, ScaleClass):
        if not (isinstance(gesture.factor, float | int | np.number) and 0 <= gesture.factor < math.inf):
            raise InvalidEdit(f"{where}: factor {gesture.factor!r} is not a finite number >= 0")
        points[members] = center + gesture.factor * (points[members] - center)
    else:
        points[members] = center
    return int(gesture.cls)


def _check_index(index: object, size: int, what: str) -> None:
    if not isinstance(index, int | np.integer) or isinstance(index, bool) or not 0 <= index < size:
        raise InvalidEdit(f"{what} {index!r} is not in 0..{size - 1}")


def _finite_position(to: object, where: str) -> Array:
    try:
        position = np.asarray(to, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidEdit(f"{where}: position {to!r} is not a pair of numbers") from None
    if position.shape != (2,) or not np.isfinite(position).all():
        raise InvalidEdit(f"{where}: position {to!r} is not a pair of finite numbers")
    return position
