"""Fakes of the torch operators, and the gradient formulas of the three differentiable ones.

`torch.compile`, `torch.export` and `opcheck` go through these; eager code takes the shorter way of `autograd`.
Imported once the operators are loaded.
"""

from typing import Any

import torch
from torch import Tensor

from hill_sim.kernels.autograd import once

OPS = torch.ops.hill_sim


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
        return z.new_empty(4, replicas), z.new_empty(replicas, classes, 5 * coordinates + 1)

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
