"""The public functions: check the arguments, choose a backend, call it.

Shapes: P replicas, B samples of a batch, D coordinates, C classes. z may be [B, D], which means P = 1; y and the
targets may leave out P, which shares them among the replicas. Values are always [P]; gradients have the shape of z.
Gradients are with respect to z only; a target that requires one is refused. At kinks (an exact tie, coincident points)
the gradient is 0. NaN and infinity in z come out as NaN or infinity.

``backend``: "auto" takes the first of cuda, cpp, numba and torch that can serve z; any other name is an explicit
request, which raises `hill_sim.errors.Unavailable` when it cannot be met.
"""

from collections.abc import Sequence

from torch import Tensor

from hill_sim.kernels import checks, dispatch
from hill_sim.kernels.terms import Backend, Form, StructureTerms, Weight


def structure_loss(
    z: Tensor,
    y: Tensor,
    centers: Tensor,
    spreads: Tensor,
    *,
    touched: Tensor | None = None,
    weights: Sequence[Weight] = (1.0, 1.0, 1.0),
    form: Form = "paper",
    backend: Backend = "auto",
) -> StructureTerms:
    """How far a batch's class layout is from a target layout (L_human of arXiv 2505.06325).

    With mu_c the mean of the batch's samples of class c and sigma_c their mean Euclidean distance to mu_c::

        center_c       = 1/2 |mu_c - centers_c|^2                                       touched classes present
        spread_c       = |sigma_c - spreads_c|                                          touched classes present
        separation_ck  = max(0, spreads_c + spreads_k - |mu_c - mu_k|)                  all ordered pairs c != k present

    Args:
        z: [P, B, D] samples.
        y: [P, B] labels in 0..C-1.
        centers: [P, C, D] target centers; those of classes that are not touched are not read.
        spreads: [P, C] target spreads.
        touched: [P, C] bool, the classes that carry a center and a spread term; None means all.
        weights: of center, spread and separation, each a number or a tensor [P].
        form: "paper" divides every sum by the number M of all terms (C' (C' + 1) for C' classes present and touched);
            "mean" divides each by the number of its own.
        backend: see the module.

    Returns:
        `StructureTerms` of [P] tensors: the three weighted terms and their sum. A term without items is 0.

    Raises:
        InvalidInput: naming the argument that does not fit.
        Unavailable: when `backend` is named and cannot serve this call.
    """
    kernels = dispatch.choose(backend, z)
    if kernels.needs_checks:
        checks.check_structure(z, y, centers, spreads, touched, weights, form)
    return kernels.module.structure_loss(z, y, centers, spreads, touched=touched, weights=weights, form=form)


def structure_loss_and_grad(
    z: Tensor,
    y: Tensor,
    centers: Tensor,
    spreads: Tensor,
    *,
    touched: Tensor | None = None,
    weights: Sequence[Weight] = (1.0, 1.0, 1.0),
    form: Form = "paper",
    backend: Backend = "auto",
) -> tuple[StructureTerms, Tensor]:
    """`structure_loss` and the gradient of each replica's total, in the shape of z, without the autograd engine."""
    kernels = dispatch.choose(backend, z)
    if kernels.needs_checks:
        checks.check_structure(z, y, centers, spreads, touched, weights, form)
    return kernels.module.structure_loss_and_grad(z, y, centers, spreads, touched=touched, weights=weights, form=form)


def pair_separation(z: Tensor, y: Tensor, margins: Tensor, *, backend: Backend = "auto") -> Tensor:
    """How much samples of different classes crowd each other, [P]::

        mean over pairs i < j with y_i != y_j of max(0, margins[y_i, y_j] - |z_i - z_j|)^2        0 without such a pair

    Args:
        z: [P, B, D] samples.
        y: [P, B] labels in 0..C-1.
        margins: [P, C, C] wanted distances, symmetric and non-negative, in the units of z; the diagonal is not read.
            Only one of margins[a, b] and margins[b, a] is read for a pair.
        backend: see the module. "torch" needs memory for P B^2 D numbers, the others for a few B D.

    Raises:
        InvalidInput: naming the argument that does not fit.
        Unavailable: when `backend` is named and cannot serve this call.
    """
    kernels = dispatch.choose(backend, z)
    if kernels.needs_checks:
        checks.check_pairs(z, y, margins)
    return kernels.module.pair_separation(z, y, margins)


def pair_separation_and_grad(
    z: Tensor, y: Tensor, margins: Tensor, *, backend: Backend = "auto"
) -> tuple[Tensor, Tensor]:
    """`pair_separation` and its gradient, in the shape of z, without the autograd engine."""
    kernels = dispatch.choose(backend, z)
    if kernels.needs_checks:
        checks.check_pairs(z, y, margins)
    return kernels.module.pair_separation_and_grad(z, y, margins)


def center_loss(z: Tensor, y: Tensor, centers: Tensor, *, backend: Backend = "auto") -> Tensor:
    """Mean over samples of |z_i - centers_{y_i}|^2, [P] (Wen et al. 2016, without the factor 1/2); 0 for an empty
    batch.

    Args:
        z: [P, B, D] samples.
        y: [P, B] labels in 0..C-1.
        centers: [P, C, D] the point that each class is drawn to.
        backend: see the module.

    Raises:
        InvalidInput: naming the argument that does not fit.
        Unavailable: when `backend` is named and cannot serve this call.
    """
    kernels = dispatch.choose(backend, z)
    if kernels.needs_checks:
        checks.check_center(z, y, centers)
    return kernels.module.center_loss(z, y, centers)


def center_loss_and_grad(z: Tensor, y: Tensor, centers: Tensor, *, backend: Backend = "auto") -> tuple[Tensor, Tensor]:
    """`center_loss` and its gradient, in the shape of z, without the autograd engine."""
    kernels = dispatch.choose(backend, z)
    if kernels.needs_checks:
        checks.check_center(z, y, centers)
    return kernels.module.center_loss_and_grad(z, y, centers)
