"""The three losses in plain torch: the truth that every other backend is tested against.

Shapes: P replicas, B samples of a batch, D coordinates, C classes. Batched inputs are z [P, B, D], y [P, B],
centers [P, C, D], spreads [P, C], margins [P, C, C]; all of them may drop the leading P (then P = 1), and the targets
(and y) may drop it alone, which shares them among the replicas. Values are [P]; gradients have the shape of z.

Gradients are those of torch's autograd, with one convention: at a kink (a spread that is exactly right, a hinge exactly
at its margin, two points that coincide) the gradient is 0. They are gradients with respect to z only.

Two choices keep the numbers clean. The structure loss is computed relative to each replica's first sample, because it
does not change under a shift, and float32 means lose their digits far from the origin. And every reduction runs inside
one replica in an order that does not depend on how many replicas there are, so that a replica's result is the same bit
for bit whatever it is packed with.

Sources: structure loss, arXiv 2505.06325 (HILL) as released; center loss, Wen et al. 2016; pair separation, the
hinge of Hadsell et al. 2006 between samples of different classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from hill_sim.kernels.terms import Form, StructureTerms, Weight


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
    """Center, spread and class-pair separation of a batch; see `hill_sim.kernels.structure_loss` for the formulas."""
    z, y, centers, spreads = batched(z, y, centers, spreads, dims=(3, 2))
    classes = centers.shape[1]
    index = y[..., None].expand_as(z)
    origin = z.detach()[:, :1].sum(1, keepdim=True)  # the first sample; a sum, so that B = 0 gives zeros
    z = z - origin

    counts = z.new_zeros(y.shape[0], classes).scatter_add(1, y, torch.ones_like(y, dtype=z.dtype))
    present = counts > 0
    held = present if touched is None else present & touched.expand(y.shape[0], classes)
    size = counts.clamp_min(1)
    mu = z.new_zeros(centers.shape).scatter_add(1, index, z) / size[..., None]
    sigma = z.new_zeros(counts.shape).scatter_add(1, y, norm(z - mu.gather(1, index))) / size

    # Where no term is held, the target is what is there already: a target nobody reads may hold anything, NaN included.
    center_target = torch.where(held[..., None], centers - origin, mu.detach())
    center = 0.5 * (mu - center_target).square().sum(-1)
    spread = (sigma - torch.where(held, spreads, sigma.detach())).abs()
    pair = present[:, :, None] & present[:, None, :] & ~torch.eye(classes, dtype=torch.bool, device=z.device)
    distance = norm(mu[:, :, None] - mu[:, None, :])
    separation = torch.where(pair, (spreads[:, :, None] + spreads[:, None, :] - distance).relu(), 0.0)

    n_held = held.sum(1)
    n_pairs = present.sum(1) * (present.sum(1) - 1)
    sums = (center.sum(1), spread.sum(1), separation.flatten(1).sum(1))
    if form == "paper":
        terms = [w * s / (2 * n_held + n_pairs).clamp_min(1) for w, s in zip(weights, sums, strict=True)]
    else:
        items = (n_held, n_held, n_pairs)
        terms = [w * s / n.clamp_min(1) for w, s, n in zip(weights, sums, items, strict=True)]
    center, spread, separation = terms
    return StructureTerms(center, spread, separation, total=center + spread + separation)


def pair_separation(z: Tensor, y: Tensor, margins: Tensor) -> Tensor:
    """Mean over pairs i < j with different labels of max(0, M[y_i, y_j] - |z_i - z_j|)^2, [P]. Memory O(P B^2 D)."""
    z, y, margins = batched(z, y, margins, dims=(3,))
    replicas, batch = y.shape
    distance = norm(z[:, :, None] - z[:, None, :])
    margin = margins[torch.arange(replicas, device=y.device)[:, None, None], y[:, :, None], y[:, None, :]]
    pair = (y[:, :, None] != y[:, None, :]) & torch.ones(batch, batch, dtype=torch.bool, device=y.device).triu(1)
    loss = torch.where(pair, (margin - distance).relu().square(), 0.0)
    return loss.sum(2).sum(1) / pair.sum((1, 2)).clamp_min(1)


def center_loss(z: Tensor, y: Tensor, centers: Tensor) -> Tensor:
    """Mean over samples of |z_i - c_{y_i}|^2, [P]; 0 for an empty batch."""
    z, y, centers = batched(z, y, centers, dims=(3,))
    residual = z - centers.gather(1, y[..., None].expand_as(z))
    return residual.square().sum(-1).sum(-1) / max(y.shape[1], 1)


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
    """`structure_loss` and the gradient of its total, in the shape of z."""
    with torch.inference_mode(False), torch.enable_grad():
        leaf, y, centers, spreads = _leaf(z), _plain(y), _plain(centers), _plain(spreads)
        touched = None if touched is None else _plain(touched)
        weights = [_plain(w) if isinstance(w, Tensor) else w for w in weights]
        terms = structure_loss(leaf, y, centers, spreads, touched=touched, weights=weights, form=form)
        (grad,) = torch.autograd.grad(terms.total.sum(), leaf)
    return StructureTerms(*(t.detach() for t in terms)), grad


def pair_separation_and_grad(z: Tensor, y: Tensor, margins: Tensor) -> tuple[Tensor, Tensor]:
    """`pair_separation` and its gradient, in the shape of z."""
    with torch.inference_mode(False), torch.enable_grad():
        leaf = _leaf(z)
        value = pair_separation(leaf, _plain(y), _plain(margins))
        (grad,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), grad


def center_loss_and_grad(z: Tensor, y: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
    """`center_loss` and its gradient, in the shape of z."""
    with torch.inference_mode(False), torch.enable_grad():
        leaf = _leaf(z)
        value = center_loss(leaf, _plain(y), _plain(centers))
        (grad,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), grad


def _leaf(z: Tensor) -> Tensor:
    return z.detach().clone().requires_grad_()


def _plain(t: Tensor) -> Tensor:
    """A constant that autograd may save, wherever it was made (tensors of inference mode must be copied)."""
    return t.clone() if t.is_inference() else t.detach()


def norm(v: Tensor) -> Tensor:
    """Euclidean length over the last dimension, with gradient 0 (not NaN) where the length is 0; NaN stays NaN."""
    square = v.square().sum(-1)
    zero = square == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, square).sqrt())


def batched(z: Tensor, y: Tensor, *targets: Tensor, dims: Sequence[int]) -> tuple[Tensor, ...]:
    """z as [P, B, D], y as [P, B] and each target with a leading P, which it has when it has `dims` dimensions."""
    z = z if z.dim() == 3 else z[None]
    y = y if y.dim() == 2 else y.expand(z.shape[0], -1)
    full = (t if t.dim() == n else t.expand(z.shape[0], *t.shape) for t, n in zip(targets, dims, strict=True))
    return (z, y, *full)
