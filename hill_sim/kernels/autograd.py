"""Autograd functions over kernels that return value and gradient together (C++, CUDA, numba), for eager mode.

Everything here is with respect to z alone, and once: a second derivative is refused, it never comes back without some
of its terms. With ``create_graph=True`` the gradient is returned, and only differentiating *it* raises.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from hill_sim.errors import Unavailable


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
    """value [P] of z [P, B, D]; `run` (z, y, target) -> (value, gradient) computes both in the forward pass."""

    @staticmethod
    def forward(ctx: Any, run: Callable[..., tuple[Tensor, Tensor]], z: Tensor, y: Tensor, target: Tensor) -> Tensor:
        value, grad = run(z.detach(), y, target)
        ctx.save_for_backward(z, grad)
        return value

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        z, grad = ctx.saved_tensors
        return None, once(upstream.detach()[:, None, None] * grad, z), None, None


class StructureLoss(torch.autograd.Function):
    """The four terms, each [P] and each with an upstream gradient of its own; between the passes lies a state per
    class.

    `ahead` (z, y, *targets) -> (terms [4, P], state); `back` (z, y, state, four upstream gradients or None) ->
    gradient.
    """

    @staticmethod
    def forward(
        ctx: Any,
        ahead: Callable[..., tuple[Tensor, Tensor]],
        back: Callable[..., Tensor],
        z: Tensor,
        y: Tensor,
        *targets: Any,
    ) -> tuple[Tensor, ...]:
        terms, state = ahead(z.detach(), y, *targets)
        ctx.save_for_backward(z, y, state)
        ctx.back, ctx.inputs = back, len(targets) + 4
        ctx.set_materialize_grads(False)
        return terms.unbind()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        z, y, state = ctx.saved_tensors
        each = (g if g is None else g.detach() for g in upstream)
        grad = once(ctx.back(z.detach(), y, state, *each), z)
        return tuple(grad if k == 2 else None for k in range(ctx.inputs))
