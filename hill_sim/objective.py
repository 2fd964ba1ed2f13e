"""L_human and the scale term on a batch: values, and gradients with respect to the latents.

    L = w_ce CE + w_human kappa L_human + lam |1 - scale|

with (w_ce, w_human) = (1 - alpha, alpha) under convex mixing and (1, alpha / (1 - alpha)) under additive mixing.
Trust in a class (`hill_sim.trust`) multiplies the pull of L_human on that class's samples: its center and spread terms,
and its own part in the pairs that it is in. The same trust in all classes is a factor of w_human.
L_human is the structure loss of `hill_sim.kernels` (or its sample-pair form) on the projected batch in the layout's
coordinates. Options: `hill_sim.presets.ObjectiveOptions`. Shapes: P replicas, B batch, H latent width, C classes.

Gradients are written out, not left to autograd: the engine needs them at the latents only, for many replicas at once.
`tests/unit/test_objective.py` holds them to a plain-loop float64 oracle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from hill_sim import kernels
from hill_sim.kernels.terms import Backend
from hill_sim.presets import ObjectiveOptions

STD_EPS = 1e-8
"""Added to the deviation when a batch is standardised, as in the released program."""


def mixing_weights(options: ObjectiveOptions, alpha: float) -> tuple[float, float]:
    """(w_ce, w_human) of the module's formula."""
    if options.mixing == "convex":
        return 1.0 - alpha, alpha
    return 1.0, alpha / (1.0 - alpha)


@dataclass(frozen=True, eq=False)
class Targets:
    """What P replicas were asked for at their last interaction, in the coordinates of the loss.

    Attributes:
        weight [P,2,H], bias [P,2]: the frozen projection.
        origin [P,2], unit [P]: raw projected coordinates y become (y - origin) / unit.
        centers [P,C,2], spreads [P,C], touched [P,C]: the target layout.
        w_human [P], lam [P]: weights of L_human and of the scale term.
        scale0 [P]: the view's rms radius, in the coordinates of the loss.
        kappa [P]: gradient balance; NaN until it has been measured.
        trust [P,C]: in each class, NaN where it is still to be measured; None: 1 in all.
        smoothing [P]: of the trust that is measured as the agreement of gradients, in [0,1); NaN where it is not.
    """

    weight: Tensor
    bias: Tensor
    origin: Tensor
    unit: Tensor
    centers: Tensor
    spreads: Tensor
    touched: Tensor
    w_human: Tensor
    lam: Tensor
    scale0: Tensor
    kappa: Tensor
    smoothing: Tensor
    trust: Tensor | None = None

    @classmethod
    def gather(cls, sources: Sequence[tuple[Targets, int]]) -> Targets:
        """A new population's targets from single rows of others."""
        names = [f.name for f in fields(cls) if f.name != "trust"]
        stacked = {name: torch.stack([getattr(t, name)[row] for t, row in sources]) for name in names}
        if all(t.trust is None for t, _ in sources):
            return cls(**stacked)
        trusts = [torch.ones_like(t.spreads[row]) if t.trust is None else t.trust[row] for t, row in sources]
        return cls(**stacked, trust=torch.stack(trusts))

    def rows(self, rows: slice) -> Targets:
        """Views of some replicas' targets."""
        tensors = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "trust"}
        return Targets(**tensors, trust=None if self.trust is None else self.trust[rows])


@dataclass(frozen=True, eq=False)
class HumanGradient:
    """value [P] of L_human unweighted, scale [P], dlatents [P,B,H] of all that the objective adds to CE, and what was
    measured on the batch or known before: kappa [P], trust [P,C] or None."""

    value: Tensor
    scale: Tensor
    dlatents: Tensor
    kappa: Tensor
    trust: Tensor | None


def human_gradient(options: ObjectiveOptions, latents: Tensor, y: Tensor, targets: Targets,
                   dlatents_ce: Callable[[], Tensor], backend: Backend = "auto") -> HumanGradient:  # fmt: skip
    """L_human and the scale term on a batch.

    Args:
        latents: [P,B,H]; y: [P,B].
        targets: of the last interaction. Where kappa is NaN it is measured on this batch, and so is trust in the
            classes that it holds where `smoothing` is not NaN.
        dlatents_ce: gives the gradient [P,B,H] of the unweighted CE; called only where something is to be measured.
        backend: of `hill_sim.kernels`.

    Returns:
        The gradient to add to the weighted CE's at the latents. A batch on which L_human pulls nowhere (nothing to
        balance) leaves kappa NaN for the next batch and adds nothing.
    """
    run = _fused if _is_fused(options, latents, backend) else _in_torch
    kappa, trust = targets.kappa, targets.trust
    if options.balance == "none":
        kappa = torch.ones_like(kappa)

    def added(kappa: Tensor, trust: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        factor = None if trust is None else trust.nan_to_num(0.0)
        return run(options, latents, y, targets, targets.w_human * kappa.nan_to_num(0.0), targets.lam, factor, backend)

    value, scale, dlatents = added(kappa, trust)
    unbalanced, smoothing = kappa.isnan() & (value > 0), _smoothing(targets)
    if smoothing is not None or bool(unbalanced.any()):
        alone = run(options, latents, y, targets, torch.ones_like(kappa), torch.zeros_like(kappa), None, backend)[2]
        ce = dlatents_ce()
        measured = _norm(ce) / _norm(alone)
        kappa = torch.where(unbalanced & measured.isfinite(), measured, kappa)
        if smoothing is not None and trust is not None:
            now = _agreement(alone, ce, y, trust.shape[1])
            before = torch.where(trust.isnan(), now, trust)
            smoothed = smoothing[:, None] * before + (1.0 - smoothing[:, None]) * now
            trust = torch.where(smoothed.isfinite(), smoothed, trust)
        value, scale, dlatents = added(kappa, trust)
    return HumanGradient(value, scale, dlatents, kappa, trust)


def _smoothing(targets: Targets) -> Tensor | None:
    """`targets.smoothing` where some replica's trust is to be measured on this batch, else None."""
    if targets.trust is None or not bool(targets.smoothing.isfinite().any()):
        return None
    return targets.smoothing


def _agreement(human: Tensor, ce: Tensor, y: Tensor, n_classes: int) -> Tensor:
    """Cosine [P,C], not below 0, of two gradients [P,B,H] over each class's samples; NaN where one of them is 0."""

    def summed(products: Tensor) -> Tensor:
        return products.new_zeros(len(y), n_classes).scatter_add(1, y, products.sum(-1))

    return (summed(human * ce) / (summed(human * human) * summed(ce * ce)).sqrt()).clamp_min(0.0)


def human_loss(options: ObjectiveOptions, latents: Tensor, y: Tensor, targets: Targets,
               backend: Backend = "auto") -> Tensor:  # fmt: skip
    """L_human [P], unweighted, on latents [P,B,H] with labels y [P,B]."""
    return _human_terms(options, _coordinates(options, latents, targets).z, y, targets, backend)[0]


def _is_fused(options: ObjectiveOptions, latents: Tensor, backend: Backend) -> bool:
    """The C++ of csrc/kernels/human.h does it all in one pass, where the coordinates are affine in the latents."""
    affine = options.coordinates != "latent" and options.terms == "structure"
    return affine and latents.device.type == "cpu" and kernels.dispatch.resolve(backend, "cpu") == "cpp"


def _fused(options: ObjectiveOptions, latents: Tensor, y: Tensor, targets: Targets, weight: Tensor, lam: Tensor,
           trust: Tensor | None, backend: Backend) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """As `_in_torch`."""
    scale0 = targets.scale0 if options.scale == "active" else None
    form = 0 if options.reduction == "terms" else 1
    trusted = () if trust is None else (trust,)
    value, scale, dlatents = torch.ops.hill_sim.human_gradient(
        latents, y, targets.weight, targets.bias, targets.origin, targets.unit, weight, lam, scale0, targets.centers,
        targets.spreads, targets.touched, options.center, options.spread, options.separation, form, *trusted,
    )  # fmt: skip
    return value, scale, dlatents


def _in_torch(options: ObjectiveOptions, latents: Tensor, y: Tensor, targets: Targets, weight: Tensor, lam: Tensor,
              trust: Tensor | None, backend: Backend) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """L_human [P], scale [P], and the gradient [P,B,H] of weight * L_human + lam |1 - scale| at the latents; the
    former's is multiplied by the trust [P,C] in each sample's class."""
    coordinates = _coordinates(options, latents, targets)
    value, dz = _human_terms(options, coordinates.z, y, targets, backend)
    dz = weight[:, None, None] * dz
    if trust is not None:
        dz = dz * trust.gather(1, y).unsqueeze(-1)
    scale = torch.full_like(weight, torch.nan)
    if options.scale == "active":
        scale, dscale = _scale(coordinates.z, targets.scale0)
        dz = dz + (lam * torch.sign(scale - 1.0))[:, None, None] * dscale
    return value, scale, coordinates.backward(dz, targets)


def _coordinates(options: ObjectiveOptions, latents: Tensor, targets: Targets) -> _Standardised | _Affine:
    """The latents in the layout's coordinates."""
    raw = torch.baddbmm(targets.bias.unsqueeze(1), latents, targets.weight.mT)
    return _Standardised(raw, latents) if options.coordinates == "latent" else _Affine(raw, targets)


def _human_terms(options: ObjectiveOptions, z: Tensor, y: Tensor, targets: Targets,
                 backend: Backend) -> tuple[Tensor, Tensor]:  # fmt: skip
    """L_human [P] and its gradient [P,B,2] with respect to the layout's coordinates."""
    samples = options.terms == "samples"
    terms, dz = kernels.structure_loss_and_grad(
        z,
        y,
        targets.centers,
        targets.spreads,
        touched=targets.touched,
        weights=(options.center, options.spread, 0.0 if samples else options.separation),
        form="paper" if options.reduction == "terms" else "mean",
        backend=backend,
    )
    if not samples:
        return terms.total, dz
    value, dpairs = kernels.pair_separation_and_grad(z, y, margins(targets.centers), backend=backend)
    return terms.total + options.separation * value, dz + options.separation * dpairs


def margins(centers: Tensor) -> Tensor:
    """[P,C,C] distances between target centers: how far apart the user wants the samples of two classes."""
    difference = centers.unsqueeze(2) - centers.unsqueeze(1)
    return (difference * difference).sum(-1).sqrt()


def _scale(z: Tensor, scale0: Tensor) -> tuple[Tensor, Tensor]:
    """rms(z) / scale0 [P] with rms about the batch's mean, and its gradient [P,B,2]; 0 where all points coincide."""
    centred = z - z.mean(dim=1, keepdim=True)
    rms = ((centred * centred).sum(-1).mean(-1)).sqrt()
    size = (z.shape[1] * rms * scale0)[:, None, None]
    return rms / scale0, torch.where(size > 0, centred / size, torch.zeros_like(centred))


class _Affine:
    """z = (y - origin) / unit."""

    def __init__(self, raw: Tensor, targets: Targets) -> None:
        self.z = (raw - targets.origin.unsqueeze(1)) / targets.unit[:, None, None]

    def backward(self, dz: Tensor, targets: Targets) -> Tensor:
        return _through(dz / targets.unit[:, None, None], targets.weight)


class _Standardised:
    """z = (y - mean(y)) / (std(y) + eps) * std(h) + mean(h), scalars over all entries of a batch, nothing detached."""

    def __init__(self, raw: Tensor, latents: Tensor) -> None:
        self._latents = latents
        self._mean_y, self._std_y = _moments(raw)
        self._mean_h, self._std_h = _moments(latents)
        self._centred = raw - self._mean_y
        self._u = self._centred / (self._std_y + STD_EPS)
        self.z = self._u * self._std_h + self._mean_h

    def backward(self, dz: Tensor, targets: Targets) -> Tensor:
        n, m = self._u[0].numel(), self._latents[0].numel()
        du = dz * self._std_h
        denominator = self._std_y + STD_EPS
        dstd_y = -_total(du * self._centred) / (denominator * denominator)
        dy = du / denominator - _total(du) / (n * denominator) + dstd_y * _over(self._centred, (n - 1) * self._std_y)
        dstd_h, dmean_h = _total(dz * self._u), _total(dz)
        through_h = dmean_h / m + dstd_h * _over(self._latents - self._mean_h, (m - 1) * self._std_h)
        return _through(dy, targets.weight) + through_h


def _through(dy: Tensor, weight: Tensor) -> Tensor:
    """dy [P,B,2] through the projection W [P,2,H], element by element: a product with K = 2 may round by address."""
    return dy[..., :1] * weight[:, :1] + dy[..., 1:] * weight[:, 1:]


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and sample deviation [P,1,1] over all entries of a replica; a deviation of one entry is 0."""
    n = x[0].numel()
    mean = _total(x) / n
    centred = x - mean
    return mean, (_total(centred * centred) / max(n - 1, 1)).sqrt()


def _total(x: Tensor) -> Tensor:
    return x.flatten(1).sum(1)[:, None, None]


def _norm(x: Tensor) -> Tensor:
    flat = x.flatten(1)
    return (flat * flat).sum(1).sqrt()


def _over(numerator: Tensor, denominator: Tensor) -> Tensor:
    """The quotient, 0 where the denominator is 0: a batch without extent pulls nowhere."""
    return torch.where(denominator > 0, numerator / denominator, torch.zeros_like(numerator))
