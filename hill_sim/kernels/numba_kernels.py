"""The same losses for machines without a C++ compiler: numba, one replica after the other, on NumPy views of the
tensors.

Compiled on first use and cached on disk. The loops let the compiler reorder sums (a vector needs it) but assume nothing
about NaN, infinity or the sign of zero. While torch.compile traces, the reference is used instead.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numba import njit  # type: ignore[attr-defined, unused-ignore]
from numpy.typing import NDArray
from torch import Tensor

from hill_sim.kernels import reference
from hill_sim.kernels.autograd import StructureLoss, ValueAndGrad
from hill_sim.kernels.numba_structure import structure_backward, structure_forward
from hill_sim.kernels.terms import FORMS, Form, StructureTerms, Weight

Array = NDArray[Any]
SUMS = {"reassoc", "contract", "nsz"}


@njit(cache=True, error_model="numpy", fastmath=SUMS)
def _row_of_two(  # pragma: no cover
    own0: Any, own1: Any, x0: Array, x1: Array, g0: Array, g1: Array, m: Array
) -> tuple[Any, Any, Any]:
    """One row against columns in the plane, in one pass, as the C++ kernel does it: sum of h^2, gradient of the row.

    Loops start at 0 here and below: an index that numba must take for possibly negative keeps a loop from vectorising.
    """
    zero = x0.dtype.type(0)
    value, row0, row1 = zero, zero, zero
    for j in range(len(x0)):
        d0 = own0 - x0[j]
        d1 = own1 - x1[j]
        distance = np.sqrt(d0 * d0 + d1 * d1)
        h = m[j] - distance
        h = zero if h < 0 else h
        ratio = h / distance
        ratio = zero if distance == 0 else ratio
        value += h * h
        row0 += ratio * d0
        row1 += ratio * d1
        g0[j] += ratio * d0
        g1[j] += ratio * d1
    return value, row0, row1


@njit(cache=True, error_model="numpy", fastmath=SUMS)
def _row_of_any(own: Array, own_g: Array, x: Array, g: Array, m: Array, c: Array) -> Any:  # pragma: no cover
    """The same for any number of coordinates, one after the other."""
    zero = x.dtype.type(0)
    columns = len(m)
    for j in range(columns):
        c[j] = 0
    for d in range(len(own)):
        xd, here = x[d], own[d]
        for j in range(columns):
            c[j] += (here - xd[j]) * (here - xd[j])
    value = zero
    for j in range(columns):
        distance = np.sqrt(c[j])
        h = m[j] - distance
        h = zero if h < 0 else h
        value += h * h
        ratio = h / distance
        c[j] = zero if distance == 0 else ratio
    for d in range(len(own)):
        xd, gd, here, row = x[d], g[d], own[d], zero
        for j in range(columns):
            push = c[j] * (here - xd[j])
            row += push
            gd[j] += push
        own_g[d] -= row
    return value


@njit(cache=True, error_model="numpy", fastmath=SUMS)
def _pairs(z: Array, y: Array, margins: Array, value: Array, grad: Array) -> None:  # pragma: no cover
    """z [P, B, D], y [P, B], margins [P, C, C] -> value [P], grad [P, B, D]. Class-sorted, each pair once."""
    replicas, batch, coordinates = z.shape
    classes = margins.shape[1]
    x = np.empty((coordinates, batch), z.dtype)
    g = np.empty((coordinates, batch), z.dtype)
    c = np.empty(batch, z.dtype)
    m = np.empty(batch, z.dtype)
    order = np.empty(batch, np.int64)
    start = np.empty(classes + 1, np.int64)
    for p in range(replicas):
        start[:] = 0
        for i in range(batch):
            start[y[p, i] + 1] += 1
        for k in range(classes):
            start[k + 1] += start[k]
        following = start[:-1].copy()
        same = 0.0
        for k in range(classes):
            same += 0.5 * (start[k + 1] - start[k]) * (start[k + 1] - start[k] - 1)
        for i in range(batch):
            order[following[y[p, i]]] = i
            following[y[p, i]] += 1
        for d in range(coordinates):
            for j in range(batch):
                x[d, j] = z[p, order[j], d]
                g[d, j] = 0
        total = 0.0
        for a in range(classes):
            if start[a] == start[a + 1] or start[a + 1] == batch:
                continue
            first = start[a + 1]
            for k in range(a + 1, classes):
                for j in range(start[k], start[k + 1]):
                    m[j] = margins[p, a, k]
            for i in range(start[a], start[a + 1]):
                if coordinates == 2:
                    row = _row_of_two(
                        x[0, i], x[1, i], x[0, first:], x[1, first:], g[0, first:], g[1, first:], m[first:]
                    )
                    total += row[0]
                    g[0, i] -= row[1]
                    g[1, i] -= row[2]
                else:
                    total += _row_of_any(x[:, i], g[:, i], x[:, first:], g[:, first:], m[first:], c[first:])
        pairs = 0.5 * batch * (batch - 1) - same
        value[p] = total / pairs if pairs > 0 else 0
        scale = z.dtype.type(2 / pairs) if pairs > 0 else z.dtype.type(0)
        for j in range(batch):
            for d in range(coordinates):
                grad[p, order[j], d] = scale * g[d, j]


@njit(cache=True, error_model="numpy")
def _center(z: Array, y: Array, centers: Array, value: Array, grad: Array) -> None:  # pragma: no cover
    replicas, batch, coordinates = z.shape
    scale = z.dtype.type(2 / batch) if batch > 0 else z.dtype.type(0)
    for p in range(replicas):
        total = 0.0
        for i in range(batch):
            for d in range(coordinates):
                residual = z[p, i, d] - centers[p, y[p, i], d]
                total += residual * residual
                grad[p, i, d] = scale * residual
        value[p] = total / batch if batch > 0 else 0


# numba's own types do not say what a compiled function may be called with.
PAIRS: Any = _pairs
CENTER: Any = _center
AHEAD: Any = structure_forward
BACK: Any = structure_backward


def _contiguous(*tensors: Tensor) -> list[Array]:
    return [t.detach().contiguous().numpy() for t in tensors]


def _pairs_both(z: Tensor, y: Tensor, margins: Tensor) -> tuple[Tensor, Tensor]:
    value, grad = z.new_empty(z.shape[0]), z.new_empty(z.shape)
    PAIRS(*_contiguous(z, y, margins), value.numpy(), grad.numpy())
    return value, grad


def _center_both(z: Tensor, y: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
    value, grad = z.new_empty(z.shape[0]), z.new_empty(z.shape)
    CENTER(*_contiguous(z, y, centers), value.numpy(), grad.numpy())
    return value, grad


def _structure_ahead(z: Tensor, y: Tensor, centers: Tensor, spreads: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    touched, weights, form = rest
    terms = z.new_empty(4, z.shape[0])
    state = z.new_zeros(z.shape[0], centers.shape[1], 5 * z.shape[2] + 1)
    inputs = _contiguous(z, y, centers, spreads, touched, weights)
    AHEAD(*inputs, FORMS[form], terms.numpy(), state.numpy())
    return terms, state


def _structure_back(z: Tensor, y: Tensor, state: Tensor, *upstream: Tensor | None) -> Tensor:
    grad = z.new_empty(z.shape)
    each = torch.stack([z.new_zeros(z.shape[0]) if g is None else g for g in upstream])
    BACK(*_contiguous(z, y, state, each), grad.numpy())
    return grad


def pair_separation(z: Tensor, y: Tensor, margins: Tensor) -> Tensor:
    if torch.compiler.is_compiling():
        return reference.pair_separation(z, y, margins)
    result: Tensor = ValueAndGrad.apply(_pairs_both, *reference.batched(z, y, margins, dims=(3,)))
    return result


def center_loss(z: Tensor, y: Tensor, centers: Tensor) -> Tensor:
    if torch.compiler.is_compiling():
        return reference.center_loss(z, y, centers)
    result: Tensor = ValueAndGrad.apply(_center_both, *reference.batched(z, y, centers, dims=(3,)))
    return result


def pair_separation_and_grad(z: Tensor, y: Tensor, margins: Tensor) -> tuple[Tensor, Tensor]:
    value, grad = _pairs_both(*reference.batched(z.detach(), y, margins, dims=(3,)))
    return value, grad.view(z.shape)


def center_loss_and_grad(z: Tensor, y: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
    value, grad = _center_both(*reference.batched(z.detach(), y, centers, dims=(3,)))
    return value, grad.view(z.shape)


def structure_loss(
    z: Tensor,
    y: Tensor,
    centers: Tensor,
    spreads: Tensor,
    *,
    touched: Tensor | None = None,
    weights: Sequence[Weight] = (1.0, 1.0, 1.0),
    form: Form = "paper",
) -> StructureTerms:
    if torch.compiler.is_compiling():
        return reference.structure_loss(z, y, centers, spreads, touched=touched, weights=weights, form=form)
    targets = _targets(z, y, centers, spreads, touched, weights, form)
    return StructureTerms(*StructureLoss.apply(_structure_ahead, _structure_back, *targets))


def structure_loss_and_grad(
    z: Tensor,
    y: Tensor,
    centers: Tensor,
    spreads: Tensor,
    *,
    touched: Tensor | None = None,
    weights: Sequence[Weight] = (1.0, 1.0, 1.0),
    form: Form = "paper",
) -> tuple[StructureTerms, Tensor]:
    targets = _targets(z.detach(), y, centers, spreads, touched, weights, form)
    terms, state = _structure_ahead(*targets)
    grad = _structure_back(targets[0], targets[1], state, None, None, None, targets[0].new_ones(targets[0].shape[0]))
    return StructureTerms(*terms.unbind()), grad.view(z.shape)


def _targets(
    z: Tensor,
    y: Tensor,
    centers: Tensor,
    spreads: Tensor,
    touched: Tensor | None,
    weights: Sequence[Weight],
    form: str,
) -> tuple[Any, ...]:
    z, y, centers, spreads = reference.batched(z, y, centers, spreads, dims=(3, 2))
    mask = spreads.new_ones((), dtype=torch.bool) if touched is None else touched
    stacked = torch.stack([torch.as_tensor(w, dtype=z.dtype).expand(z.shape[0]) for w in weights])
    return z, y, centers, spreads, mask.expand(spreads.shape), stacked, form
