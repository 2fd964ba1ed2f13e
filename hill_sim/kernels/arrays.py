"""The three losses on NumPy arrays, for code that has no tensors: policies, metrics, notebooks.

The same kernels as `hill_sim.kernels`, through pybind11 where they were compiled, else through the torch functions.
Shapes and meaning are those of the public functions; an unbatched z [B, D] gives values [1] and a gradient [B, D].
float64 arrays stay float64; everything else that is numeric becomes float64, except float32, which stays.

    value, grad = arrays.pair_separation(points, labels, margins, grad=True)
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from hill_sim.errors import InvalidInput
from hill_sim.kernels import functions
from hill_sim.kernels.terms import FORMS, Form

Array = NDArray[Any]

compiled: ModuleType | None
missing: str  # why there is no compiled module
try:
    from hill_sim.kernels import _numpy  # type: ignore[attr-defined, unused-ignore]

    compiled, missing = _numpy, ""
except ImportError as error:
    compiled, missing = None, str(error)


class StructureArrays(NamedTuple):
    """The structure loss of P replicas, term by term, each [P]."""

    center: Array
    spread: Array
    separation: Array
    total: Array


def pair_separation(
    z: ArrayLike, y: ArrayLike, margins: ArrayLike, *, grad: bool = False
) -> tuple[Array, Array | None]:
    """Value [P] and, if asked for, its gradient in the shape of z (else None)."""
    points, labels, (target,) = _inputs(z, y, margins)
    if compiled is None:
        return _by_torch("pair_separation", points, labels, target, grad)
    shape = points.shape
    points, labels, target = _batched(points, labels, target, 3)
    value, gradient = _named(compiled.pair_separation, points, labels, target, grad=grad)
    return value, gradient.reshape(shape) if grad else None


def center_loss(z: ArrayLike, y: ArrayLike, centers: ArrayLike, *, grad: bool = False) -> tuple[Array, Array | None]:
    """Value [P] and, if asked for, its gradient in the shape of z (else None)."""
    points, labels, (target,) = _inputs(z, y, centers)
    if compiled is None:
        return _by_torch("center_loss", points, labels, target, grad)
    shape = points.shape
    points, labels, target = _batched(points, labels, target, 3)
    value, gradient = _named(compiled.center_loss, points, labels, target, grad=grad)
    return value, gradient.reshape(shape) if grad else None


def structure_loss(
    z: ArrayLike,
    y: ArrayLike,
    centers: ArrayLike,
    spreads: ArrayLike,
    *,
    touched: ArrayLike | None = None,
    weights: Sequence[float] = (1.0, 1.0, 1.0),
    form: Form = "paper",
    grad: bool = False,
) -> tuple[StructureArrays, Array | None]:
    """The terms and, if asked for, the gradient of their total in the shape of z (else None)."""
    points, labels, (middle, wide) = _inputs(z, y, centers, spreads)
    if form not in FORMS:
        raise InvalidInput(f"form: must be 'paper' or 'mean', got {form!r}")
    if len(weights) != 3:
        raise InvalidInput(f"weights: needs three (center, spread, separation), got {len(weights)}")
    mask = None if touched is None else np.ascontiguousarray(touched, dtype=bool)
    if compiled is None:
        tensors = [torch.from_numpy(a) for a in (points, labels, middle, wide)]
        terms, gradient = functions.structure_loss_and_grad(
            *tensors, touched=None if mask is None else torch.from_numpy(mask), weights=weights, form=form
        )
        return StructureArrays(*(t.numpy() for t in terms)), gradient.numpy() if grad else None
    shape = points.shape
    points, labels, middle = _batched(points, labels, middle, 3)
    wide = _lead(wide, 2, len(points))
    mask = mask if mask is None else _lead(mask, 2, len(points))
    numbers = [float(w) for w in weights]
    values, gradient = _named(
        compiled.structure_loss, points, labels, middle, wide, mask, *numbers, FORMS[form], grad=grad
    )
    return StructureArrays(*values), gradient.reshape(shape) if grad else None


def _inputs(z: ArrayLike, y: ArrayLike, *targets: ArrayLike) -> tuple[Array, Array, list[Array]]:
    points = np.asarray(z)
    dtype = np.float32 if points.dtype == np.float32 else np.float64
    labels = np.asarray(y)
    if labels.dtype.kind not in "iu":
        raise InvalidInput(f"y: labels must be integers, got {labels.dtype}")
    if points.ndim not in (2, 3):
        raise InvalidInput(f"z: shape must be [P, B, D] or [B, D], got {list(points.shape)}")
    arrays = [np.ascontiguousarray(t, dtype=dtype) for t in targets]
    return np.ascontiguousarray(points, dtype=dtype), np.ascontiguousarray(labels, dtype=np.int64), arrays


def _batched(z: Array, y: Array, target: Array, dims: int) -> tuple[Array, Array, Array]:
    z = _lead(z, 3, 1)
    return z, _lead(y, 2, len(z)), _lead(target, dims, len(z))


def _lead(a: Array, dims: int, replicas: int) -> Array:
    """`a` with a leading P, in which it is repeated if it had none."""
    return a if a.ndim == dims else np.ascontiguousarray(np.broadcast_to(a, (replicas, *a.shape)))


def _named(function: Any, *args: Any, grad: bool) -> Any:
    try:
        return function(*args, grad)
    except ValueError as error:  # the module's messages name the argument
        raise InvalidInput(str(error)) from None


def _by_torch(name: str, z: Array, y: Array, target: Array, grad: bool) -> tuple[Array, Array | None]:
    tensors = [torch.from_numpy(a) for a in (z, y, target)]
    value, gradient = getattr(functions, f"{name}_and_grad")(*tensors)
    return value.numpy(), gradient.numpy() if grad else None
