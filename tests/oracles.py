"""The engine's arithmetic written the slow way, in float64: one replica, plain loops, torch's autograd and optimisers.

Nothing here shares code with `hill_sim.objective` or with the populations. The formulas are those of the issue's pages:
the released L_human, the two ways of mixing it with the cross-entropy, and `scale_model`. Kinks have gradient 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hill_sim.presets import ObjectiveOptions

EPS = 1e-8


@dataclass
class Target:
    """What one user asked for, and how loud: one row of `hill_sim.objective.Targets`, in plain values."""

    weight: Tensor  # [2,H]
    bias: Tensor  # [2]
    origin: Sequence[float]
    unit: float
    centers: Sequence[Sequence[float]]  # [C][2]
    spreads: Sequence[float]  # [C]
    touched: Sequence[bool]  # [C]
    alpha: float
    lam: float
    scale0: float


def root(square: Tensor) -> Tensor:
    """Square root with slope 0 at 0."""
    return square.sqrt() if float(square.detach()) > 0 else square * 0.0


def length(v: Tensor) -> Tensor:
    return root(v[0] * v[0] + v[1] * v[1])


def mean_and_deviation(entries: Tensor) -> tuple[Tensor, Tensor]:
    """Of all entries; the deviation is Bessel-corrected, and 0 for a single entry."""
    flat = entries.reshape(-1)
    n = len(flat)
    mean = sum(flat[i] for i in range(n)) / n
    square = sum((flat[i] - mean) ** 2 for i in range(n))
    return mean, root(square / max(n - 1, 1))


def coordinates(options: ObjectiveOptions, h: Tensor, target: Target) -> Tensor:
    """[B,2] where latents h [B,H] lie in the layout's coordinates."""
    rows = []
    for i in range(len(h)):
        rows.append(torch.stack([(h[i] * target.weight[d]).sum() + target.bias[d] for d in range(2)]))
    raw = torch.stack(rows)
    if options.coordinates == "raw":
        assert not any(target.origin)
        assert target.unit == 1.0
        return raw
    if options.coordinates == "unit":
        return torch.stack([(row - torch.tensor(target.origin, dtype=h.dtype)) / target.unit for row in raw])
    (mean_y, std_y), (mean_h, std_h) = mean_and_deviation(raw), mean_and_deviation(h)
    return (raw - mean_y) / (std_y + EPS) * std_h + mean_h


def human_loss(options: ObjectiveOptions, z: Tensor, y: Sequence[int], target: Target) -> Tensor:
    """L_human of points z [B,2] with labels y."""
    n_classes = len(target.spreads)
    members = [[i for i in range(len(y)) if int(y[i]) == c] for c in range(n_classes)]
    present = [c for c in range(n_classes) if members[c]]
    mu, sigma = {}, {}
    for c in present:
        mu[c] = sum(z[i] for i in members[c]) / len(members[c])
        sigma[c] = sum(length(z[i] - mu[c]) for i in members[c]) / len(members[c])
    zero = z.sum() * 0.0
    held = [c for c in present if target.touched[c]]
    center = sum((0.5 * ((mu[c] - torch.tensor(target.centers[c], dtype=z.dtype)) ** 2).sum() for c in held), zero)
    spread = sum(((sigma[c] - target.spreads[c]).abs() for c in held), zero)
    pairs = [(c, k) for c in present for k in present if c != k]
    n_center = n_spread = len(held)
    if options.terms == "structure":
        separation = sum(
            (torch.relu(target.spreads[c] + target.spreads[k] - length(mu[c] - mu[k])) for c, k in pairs), zero
        )
        n_separation = len(pairs)
    else:
        separation, n_separation = zero, 0
        for i in range(len(y)):
            for j in range(i + 1, len(y)):
                if int(y[i]) != int(y[j]):
                    a, b = (torch.tensor(target.centers[int(y[s])], dtype=z.dtype) for s in (i, j))
                    separation = separation + torch.relu(length(a - b) - length(z[i] - z[j])) ** 2
                    n_separation += 1
        if options.reduction == "terms":  # M counts the terms of classes and of class pairs, whatever the pairs' form
            total = max(2 * len(held) + len(pairs), 1)
            separation = separation / max(n_separation, 1)
            return options.center * center / total + options.spread * spread / total + options.separation * separation
    if options.reduction == "terms":
        n_center = n_spread = n_separation = 2 * len(held) + len(pairs)
    return (
        options.center * center / max(n_center, 1)
        + options.spread * spread / max(n_spread, 1)
        + options.separation * separation / max(n_separation, 1)
    )


def scale_model(z: Tensor, scale0: float) -> Tensor:
    """rms radius of z [B,2] about its mean, relative to `scale0`."""
    mean = sum(z[i] for i in range(len(z))) / len(z)
    return root(sum(((z[i] - mean) ** 2).sum() for i in range(len(z))) / len(z)) / scale0


def mixing(options: ObjectiveOptions, alpha: float) -> tuple[float, float]:
    """Weights of the cross-entropy and of the human."""
    return (1 - alpha, alpha) if options.mixing == "convex" else (1.0, alpha / (1 - alpha))


def balance(options: ObjectiveOptions, h: Tensor, logits: Tensor, y: Tensor, target: Target) -> float:
    """kappa = |dCE/dh| / |dL_human/dh| on a batch; `logits` must depend on h."""
    if options.balance == "none":
        return 1.0
    ce = torch.nn.functional.cross_entropy(logits, y)
    human = human_loss(options, coordinates(options, h, target), y.tolist(), target)
    d_ce, d_human = (torch.autograd.grad(loss, h, retain_graph=True)[0].norm() for loss in (ce, human))
    return float(d_ce / d_human) if d_human > 0 else float("nan")


def agreement(options: ObjectiveOptions, h: Tensor, logits: Tensor, y: Tensor, target: Target) -> list[float]:
    """Per class the cosine, not below 0, between the human's and the data's gradient at its samples' latents; NaN where
    one of them is 0."""
    ce = torch.nn.functional.cross_entropy(logits, y)
    human = human_loss(options, coordinates(options, h, target), y.tolist(), target)
    d_ce, d_human = (torch.autograd.grad(loss, h, retain_graph=True)[0] for loss in (ce, human))
    found = []
    for c in range(len(target.spreads)):
        a, b = d_human[y == c].flatten(), d_ce[y == c].flatten()
        size = float(a.norm() * b.norm())
        found.append(max(float(a @ b) / size, 0.0) if size > 0 else float("nan"))
    return found


def added_loss(
    options: ObjectiveOptions,
    h: Tensor,
    y: Sequence[int],
    target: Target,
    kappa: float,
    trust: Sequence[float] | None = None,
) -> Tensor:
    """All that the objective adds to the weighted cross-entropy. With trust [C] only its gradient counts: the human's
    pull on each sample, times the trust in the sample's class."""
    z = coordinates(options, h, target)
    loss = z.sum() * 0.0
    if kappa == kappa:
        weight = mixing(options, target.alpha)[1] * kappa
        if trust is None:
            loss = loss + weight * human_loss(options, z, y, target)
        else:
            leaf = z.detach().requires_grad_()
            (pull,) = torch.autograd.grad(human_loss(options, leaf, y, target), leaf)
            loss = loss + sum(weight * trust[int(y[i])] * (pull[i] * z[i]).sum() for i in range(len(y)))
    if options.scale == "active":
        loss = loss + target.lam * (1.0 - scale_model(z, target.scale0)).abs()
    return loss
