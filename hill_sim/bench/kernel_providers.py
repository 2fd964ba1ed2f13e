"""What the loss kernels are compared with: the usual eager forms, an expert's eager form, torch.compile.

A *form* is a differentiable function of a `Problem`'s tensors that returns the loss [P], as a good PyTorch programmer
writes
it; "eager" is the fastest of the forms in each case. An *expert* form computes value and gradient itself, in chunks,
without the autograd engine. The forms are checked against the reference in tests/benchmarks.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from hill_sim.bench.kernel_problems import Problem

Form = Callable[[Tensor, Problem], Tensor]
Expert = Callable[[Problem], tuple[Tensor, Tensor]]
CHUNK = 256  # rows that the expert form keeps in the cache


def _pair_mean(distance: Tensor, q: Problem) -> Tensor:
    """The loss from all distances [P, B, B]; both orders of a pair count, which changes neither mean nor gradient."""
    p = torch.arange(len(q.y), device=q.y.device)[:, None, None]
    different = q.y[:, :, None] != q.y[:, None, :]
    hinge = (q.margins[p, q.y[:, :, None], q.y[:, None, :]] - distance).relu() * different
    return hinge.square().sum((1, 2)) / different.sum((1, 2)).clamp_min(1)


def pairs_by_cdist(z: Tensor, q: Problem) -> Tensor:
    return _pair_mean(torch.cdist(z, z), q)


def pairs_by_broadcast(z: Tensor, q: Problem) -> Tensor:
    square = (z[:, :, None] - z[:, None, :]).square().sum(-1)
    return _pair_mean(square.clamp_min(1e-24).sqrt(), q)


def pairs_by_gram(z: Tensor, q: Problem) -> Tensor:
    norms = z.square().sum(-1)
    square = norms[:, :, None] + norms[:, None, :] - 2 * z @ z.mT
    return _pair_mean(square.clamp_min(1e-12).sqrt(), q)


def pairs_by_pdist(z: Tensor, q: Problem) -> Tensor:
    values = []
    i, j = torch.triu_indices(z.shape[1], z.shape[1], 1, device=z.device)
    for p in range(len(z)):
        a, b = q.y[p, i], q.y[p, j]
        hinge = (q.margins[p, a, b] - torch.pdist(z[p])).relu() * (a != b)
        values.append(hinge.square().sum() / (a != b).sum().clamp_min(1))
    return torch.stack(values)


def pairs_by_expert(q: Problem) -> tuple[Tensor, Tensor]:
    """Rows in chunks, in-place arithmetic, the gradient from its formula: no B x B memory, no autograd."""
    z, y = q.z, q.y
    replicas, batch, coordinates = z.shape
    value, grad = z.new_zeros(replicas), torch.empty_like(z)
    count = z.new_zeros(replicas)
    p = torch.arange(replicas, device=y.device)[:, None, None]
    for start in range(0, batch, CHUNK):
        rows, labels = z[:, start : start + CHUNK], y[:, start : start + CHUNK]
        if coordinates <= 4:
            distance = (rows[:, :, None, 0] - z[:, None, :, 0]).square_()
            for d in range(1, coordinates):
                distance += (rows[:, :, None, d] - z[:, None, :, d]).square_()
            distance.sqrt_()
        else:
            distance = torch.cdist(rows, z)
        different = labels[:, :, None] != y[:, None, :]
        hinge = q.margins[p, labels[:, :, None], y[:, None, :]].sub_(distance).relu_().mul_(different)
        value += hinge.square().sum((1, 2))
        count += different.sum((1, 2))
        pull = hinge.div_(distance.clamp_min_(1e-30))
        grad[:, start : start + CHUNK] = pull @ z - pull.sum(2, keepdim=True) * rows
    count.clamp_min_(1)
    return value / count, grad.mul_(4 / count[:, None, None])


def _structure_total(mu: Tensor, sigma: Tensor, counts: Tensor, q: Problem) -> Tensor:
    present = counts > 0
    held = present & q.touched
    center = 0.5 * ((mu - q.centers).square().sum(-1) * held).sum(1)
    spread = ((sigma - q.spreads).abs() * held).sum(1)
    both = present[:, :, None] & present[:, None, :]
    both = both & ~torch.eye(mu.shape[1], dtype=torch.bool, device=mu.device)
    distance = (mu[:, :, None] - mu[:, None, :]).square().sum(-1).clamp_min(1e-24).sqrt()
    separation = ((q.spreads[:, :, None] + q.spreads[:, None, :] - distance).relu() * both).sum((1, 2))
    return (center + spread + separation) / (2 * held.sum(1) + both.sum((1, 2))).clamp_min(1)


def structure_by_onehot(z: Tensor, q: Problem) -> Tensor:
    """Class sums as matrix products."""
    onehot = torch.nn.functional.one_hot(q.y, q.centers.shape[1]).to(z.dtype)
    counts = onehot.sum(1)
    size = counts.clamp_min(1)
    mu = onehot.mT @ z / size[..., None]
    r = (z - onehot @ mu).square().sum(-1).clamp_min(1e-24).sqrt()
    sigma = (onehot.mT @ r[..., None])[..., 0] / size
    return _structure_total(mu, sigma, counts, q)


def structure_by_scatter(z: Tensor, q: Problem) -> Tensor:
    """Class sums by scatter_add."""
    index = q.y[..., None].expand_as(z)
    counts = z.new_zeros(q.spreads.shape).scatter_add(1, q.y, torch.ones_like(z[..., 0]))
    size = counts.clamp_min(1)
    mu = z.new_zeros(q.centers.shape).scatter_add(1, index, z) / size[..., None]
    r = (z - mu.gather(1, index)).square().sum(-1).clamp_min(1e-24).sqrt()
    sigma = z.new_zeros(q.spreads.shape).scatter_add(1, q.y, r) / size
    return _structure_total(mu, sigma, counts, q)


def structure_by_expert(q: Problem) -> tuple[Tensor, Tensor]:
    """One-hot products, the gradient from its formula."""
    z, onehot = q.z, torch.nn.functional.one_hot(q.y, q.centers.shape[1]).to(q.z.dtype)
    counts = onehot.sum(1)
    size = counts.clamp_min(1)
    present = counts > 0
    held = (present & q.touched).to(z.dtype)
    transposed = onehot.mT
    mu = transposed @ z / size[..., None]
    residual = z - onehot @ mu
    r = residual.square().sum(-1, keepdim=True).clamp_min(1e-24).sqrt()
    unit = residual / r
    sums = transposed @ torch.cat([unit, r], -1) / size[..., None]
    miss, off = mu - q.centers, sums[..., -1] - q.spreads
    diff = mu[:, :, None] - mu[:, None, :]
    distance = diff.square().sum(-1).clamp_min(1e-24).sqrt()
    both = (present[:, :, None] & present[:, None, :]).to(z.dtype)
    both = both - torch.diag_embed(torch.diagonal(both, dim1=1, dim2=2))
    hinge = (q.spreads[:, :, None] + q.spreads[:, None, :] - distance).relu() * both
    terms = (2 * held.sum(1) + both.sum((1, 2))).clamp_min(1)
    value = 0.5 * (miss.square().sum(-1) * held).sum(1) + (off.abs() * held).sum(1) + hinge.sum((1, 2))
    slope = off.sign() * held / size
    push = -2 * ((hinge > 0) / distance).unsqueeze(-1).mul(diff).sum(2)
    own = (miss * held[..., None] + push) / size[..., None] - slope[..., None] * sums[..., :-1]
    both_parts = onehot @ torch.cat([own, slope[..., None]], -1)
    grad = both_parts[..., :-1] + both_parts[..., -1:] * unit
    return value / terms, grad / terms[:, None, None]


def center_by_gather(z: Tensor, q: Problem) -> Tensor:
    return (z - q.centers.gather(1, q.y[..., None].expand_as(z))).square().sum(-1).mean(-1)


def center_by_index(z: Tensor, q: Problem) -> Tensor:
    p = torch.arange(len(z), device=z.device)[:, None]
    return (z - q.centers[p, q.y]).square().sum((1, 2)) / z.shape[1]


def center_by_expert(q: Problem) -> tuple[Tensor, Tensor]:
    residual = q.z - q.centers.gather(1, q.y[..., None].expand_as(q.z))
    value = torch.linalg.vecdot(residual, residual).mean(-1)
    return value, residual.mul_(2 / q.z.shape[1])


FORMS: dict[str, dict[str, Form]] = {
    "pair_separation": {
        "cdist": pairs_by_cdist,
        "broadcast": pairs_by_broadcast,
        "pdist": pairs_by_pdist,
        "gram": pairs_by_gram,
    },
    "structure_loss": {"onehot": structure_by_onehot, "scatter": structure_by_scatter},
    "center_loss": {"gather": center_by_gather, "index": center_by_index},
}
EXPERTS: dict[str, Expert] = {
    "pair_separation": pairs_by_expert,
    "structure_loss": structure_by_expert,
    "center_loss": center_by_expert,
}
# What torch.compile is given: the form that it fuses best.
COMPILED: dict[str, Form] = {
    "pair_separation": pairs_by_broadcast,
    "structure_loss": structure_by_scatter,
    "center_loss": center_by_gather,
}
