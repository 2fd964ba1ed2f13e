"""The compiled kernels (C++ and CUDA) behind the same six functions as `reference`.

The operators check their own arguments, so that a good call pays nothing here; when one refuses, the Python checks
are run to name the argument. Import this module only when `library.load_cpu().ok`.

In eager mode the differentiable functions are `torch.autograd.Function`s whose forward pass computes the gradient
along with the value; while torch.compile traces, they are the operators with the formulas of `operators`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from hill_sim.kernels import checks, operators
from hill_sim.kernels.autograd import StructureLoss, ValueAndGrad
from hill_sim.kernels.terms import FORMS, Form, StructureTerms, Weight

ERRORS = (RuntimeError, AttributeError, TypeError, ValueError, KeyError)  # what a call with wrong arguments runs into
OPS = operators.OPS
PAIR_VALUE = OPS.pair_value.default
PAIR_BOTH = OPS.pair_value_and_grad.default
CENTER_VALUE = OPS.center_value.default
CENTER_BOTH = OPS.center_value_and_grad.default
STRUCTURE_VALUE = OPS.structure_value.default
STRUCTURE_BOTH = OPS.structure_value_and_grad.default
STRUCTURE_AHEAD = OPS.structure_loss.default
STRUCTURE_BACK = OPS.structure_backward.default


def pair_separation(z: Tensor, y: Tensor, margins: Tensor) -> Tensor:
    return _value(z, y, margins, "margins", PAIR_VALUE, PAIR_BOTH, OPS.pair_separation, checks.check_pairs)


def center_loss(z: Tensor, y: Tensor, centers: Tensor) -> Tensor:
    return _value(z, y, centers, "centers", CENTER_VALUE, CENTER_BOTH, OPS.center_loss, checks.check_center)


def pair_separation_and_grad(z: Tensor, y: Tensor, margins: Tensor) -> tuple[Tensor, Tensor]:
    return _value_and_grad(z, y, margins, PAIR_BOTH, checks.check_pairs)


def center_loss_and_grad(z: Tensor, y: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
    return _value_and_grad(z, y, centers, CENTER_BOTH, checks.check_center)


def _value(
    z: Tensor,
    y: Tensor,
    target: Tensor,
    name: str,
    raw: Callable[..., Tensor],
    both: Callable[..., tuple[Tensor, Tensor]],
    registered: Callable[..., tuple[Tensor, Tensor]],
    check: Callable[[Tensor, Tensor, Tensor], None],
) -> Tensor:
    try:
        if y.device != z.device or target.device != z.device:
            raise RuntimeError("mixed devices")
        if not (z.requires_grad and torch.is_grad_enabled()):
            return raw(*_batched(z.detach(), y, target.detach()))
        if target.requires_grad:
            checks.check_constant(name, target, z)
        if torch.compiler.is_compiling():
            return registered(*_batched(z, y, target))[0]
        result: Tensor = ValueAndGrad.apply(both, *_batched(z, y, target))
        return result
    except ERRORS:
        check(z, y, target)
        raise


def _value_and_grad(
    z: Tensor,
    y: Tensor,
    target: Tensor,
    raw: Callable[..., tuple[Tensor, Tensor]],
    check: Callable[[Tensor, Tensor, Tensor], None],
) -> tuple[Tensor, Tensor]:
    try:
        if (y.is_meta or target.is_meta) and not z.is_meta:  # the fake would run; the kernels notice other mixtures
            raise RuntimeError("mixed devices")
        if z.requires_grad or target.requires_grad:  # detaching costs as much as a tenth of a small call
            z, target = z.detach(), target.detach()
        if z.dim() == 3 and y.dim() == 2 and target.dim() == 3:
            result = raw(z, y, target)
        else:
            value, grad = raw(*_batched(z, y, target))
            result = value, grad.view(z.shape)
        return result
    except ERRORS:
        check(z, y, target)
        raise


def _batched(z: Tensor, y: Tensor, target: Tensor, dims: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    z = z if z.dim() == 3 else z[None]
    y = y if y.dim() == 2 else y.expand(z.shape[0], -1)
    return z, y, target if target.dim() == dims else target.expand(z.shape[0], *target.shape)


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
    try:
        if not (z.requires_grad and torch.is_grad_enabled()):
            targets = _targets(z.detach(), y, centers.detach(), spreads.detach(), touched, weights, form)
            return StructureTerms(*STRUCTURE_VALUE(*targets).unbind())
        for name, target in (("centers", centers), ("spreads", spreads)):
            if target.requires_grad:
                checks.check_constant(name, target, z)
        for weight in weights:
            if isinstance(weight, Tensor):
                checks.check_constant("weights", weight, z)
        targets = _targets(z, y, centers, spreads, touched, weights, form)
        if torch.compiler.is_compiling():
            return StructureTerms(*OPS.structure_loss(*targets)[0].unbind())
        return StructureTerms(*StructureLoss.apply(STRUCTURE_AHEAD, STRUCTURE_BACK, *targets))
    except ERRORS:
        checks.check_structure(z, y, centers, spreads, touched, weights, form)
        raise


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
    try:
        if z.requires_grad or centers.requires_grad or spreads.requires_grad:
            z, centers, spreads = z.detach(), centers.detach(), spreads.detach()
        terms, grad = STRUCTURE_BOTH(*_targets(z, y, centers, spreads, touched, weights, form))
        return StructureTerms(*terms.unbind()), grad if z.dim() == 3 else grad.view(z.shape)
    except ERRORS:
        checks.check_structure(z, y, centers, spreads, touched, weights, form)
        raise


def _targets(
    z: Tensor,
    y: Tensor,
    centers: Tensor,
    spreads: Tensor,
    touched: Tensor | None,
    weights: Sequence[Weight],
    form: str,
) -> tuple[Any, ...]:
    """The arguments of the structure operators: everything batched, weights as numbers or as one tensor [3, P]."""
    if y.device != z.device or centers.device != z.device or spreads.device != z.device:
        raise RuntimeError("mixed devices")
    if z.dim() != 3 or y.dim() != 2 or centers.dim() != 3:
        z, y, centers = _batched(z, y, centers)
    replicas = z.shape[0]
    spreads = spreads if spreads.dim() == 2 else spreads.expand(replicas, *spreads.shape)
    if touched is not None and touched.dim() == 1:
        touched = touched.expand(replicas, *touched.shape)
    center, spread, separation = weights
    stacked = None
    if isinstance(center, Tensor) or isinstance(spread, Tensor) or isinstance(separation, Tensor):
        if any(isinstance(w, Tensor) and w.dtype != z.dtype for w in weights):
            raise TypeError("weights: wrong dtype")
        stacked = torch.stack([torch.as_tensor(w, dtype=z.dtype, device=z.device).expand(replicas) for w in weights])
        center = spread = separation = 1.0
    return z, y, centers, spreads, touched, stacked, center, spread, separation, FORMS[form]
