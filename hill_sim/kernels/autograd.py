"""Gradients of the compiled kernels: eager autograd functions, and the operators' registered formulas and fakes.

Everything here is with respect to z alone, and once: a second derivative is refused, it never comes back without some of
its terms. With ``create_graph=True`` the gradient is returned, and only differentiating *it* raises.
"""

from typing import Any

import torch
from torch import Tensor

from hill_sim.errors import Unavailable

OPS = torch.ops.hill_sim


class _Once(torch.autograd.Function):
    """The identity on a gradient, tied to z, which raises when it is differentiated."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, z: Tensor) -> Tensor:
        return grad.view_as(grad)

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> tuple[Tensor, None]:
        raise Unavailable(
            "hill_sim.kernels: second derivatives are not supported by the compiled and the numba kernels; "
            'use backend="torch"'
        )


def once(grad: Tensor, z: Tensor) -> Tensor:
    """`grad`, made to refuse a second derivative where one could be asked for."""
    return _Once.apply(grad, z) if torch.is_grad_enabled() else grad


class ValueAndGrad(torch.autograd.Function):
    """value [P] of z [P, B, D] by an operator that returns value and gradient together."""

    @staticmethod
    def run(z: Tensor, y: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    @classmethod
    def forward(cls, ctx: Any, z: Tensor, y: Tensor, target: Tensor) -> Tensor:
        value, grad = cls.run(z, y, target)
        ctx.save_for_backward(z, grad)
        return value

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        z, grad = ctx.saved_tensors
        return once(upstream.detach()[:, None, None] * grad, z), None, None


class PairSeparation(ValueAndGrad):
    @staticmethod
    def run(z: Tensor, y: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return OPS.pair_value_and_grad.default(z.detach(), y, target)


class CenterLoss(ValueAndGrad):
    @staticmethod
    def run(z: Tensor, y: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return OPS.center_value_and_grad.default(z.detach(), y, target)


class StructureLoss(torch.autograd.Function):
    """The four terms, each [P] and each with an upstream gradient of its own."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, y: Tensor, *targets: Any) -> tuple[Tensor, ...]:
        terms, state = OPS.structure_loss.default(z.detach(), y, *targets)
        ctx.save_for_backward(z, y, state)
        ctx.set_materialize_grads(False)
        return terms.unbind()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        z, y, state = ctx.saved_tensors
        each = (g if g is None else g.detach() for g in upstream)
        return once(OPS.structure_backward.default(z.detach(), y, state, *each), z), *[None] * 9


def _register() -> None:
    """Fakes for every operator, and autograd for the three differentiable ones."""

    def value(z: Tensor, y: Tensor, target: Tensor) -> Tensor:
        return z.new_empty(z.shape[0])

    def both(z: Tensor, y: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return z.new_empty(z.shape[0]), z.new_empty(z.shape)

    for loss in ("pair", "center"):
        torch.library.register_fake(f"hill_sim::{loss}_value", value)
        torch.library.register_fake(f"hill_sim::{loss}_value_and_grad", both)
    for name in ("hill_sim::pair_separation", "hill_sim::center_loss"):
        torch.library.register_fake(name, both)
        torch.library.register_autograd(name, _scale, setup_context=_save_grad)

    def terms(z: Tensor, *_: Any) -> Tensor:
        return z.new_empty(4, z.shape[0])

    def terms_and_grad(z: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
        return z.new_empty(4, z.shape[0]), z.new_empty(z.shape)

    def terms_and_state(z: Tensor, y: Tensor, centers: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
        replicas, classes, coordinates = centers.shape
        return z.new_empty(4, replicas), z.new_empty(replicas, classes, 4 * coordinates + 1)

    def grad(z: Tensor, *_: Any) -> Tensor:
        return z.new_empty(z.shape)

    torch.library.register_fake("hill_sim::structure_value", terms)
    torch.library.register_fake("hill_sim::structure_value_and_grad", terms_and_grad)
    torch.library.register_fake("hill_sim::structure_loss", terms_and_state)
    torch.library.register_fake("hill_sim::structure_backward", grad)
    torch.library.register_autograd("hill_sim::structure_loss", _structure_backward, setup_context=_save_state)


def _save_grad(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(inputs[0], output[1])


def _scale(ctx: Any, upstream: Tensor | None, _: Any) -> tuple[Tensor | None, None, None]:
    z, grad = ctx.saved_tensors
    return None if upstream is None else once(upstream.detach()[:, None, None] * grad, z), None, None


def _save_state(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(inputs[0], inputs[1], output[1])


def _structure_backward(ctx: Any, upstream: Tensor | None, _: Any) -> tuple[Tensor | None, ...]:
    z, y, state = ctx.saved_tensors
    if upstream is None:
        return (None,) * 10
    each = upstream.detach().unbind()
    return once(OPS.structure_backward(z.detach(), y, state, *each), z), *[None] * 9


_register()
