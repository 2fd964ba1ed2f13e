"""`bmm`: chains of linear layers with ReLU, forward and backward by hand with batched matrix products."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hill_sim.engine.arena import Part
from hill_sim.engine.backends.base import each, layer_names, whole_lanes


class BmmBackend:
    """Batched matrix products over a chain of linear layers."""

    name = "bmm"
    stochastic = False
    width = 0

    def __init__(self, model: nn.Module) -> None:
        self._names = layer_names(self.name, model)

    def forward(self, arena: Part, x: Tensor, noise: Sequence[int] = ()) -> tuple[Tensor, Tensor, list[Tensor]]:
        views, n = arena.param_views, x.shape[1]
        activations = [whole_lanes(x.flatten(2))]
        for weight, bias in self._names[:-1]:
            out = torch.baddbmm(views[bias].unsqueeze(1), activations[-1], views[weight].mT)
            activations.append(out.relu_())
        weight, bias = self._names[-1]
        logits = torch.baddbmm(views[bias].unsqueeze(1), activations[-1], views[weight].mT)
        return logits[:, :n], activations[-1][:, :n], activations

    def latent_gradient(self, arena: Part, saved: list[Tensor], dlogits: Tensor) -> Tensor:
        return torch.bmm(whole_lanes(dlogits), arena.param_views[self._names[-1][0]])[:, : dlogits.shape[1]]

    def backward(self, arena: Part, saved: list[Tensor], dlogits: Tensor, dlatents: Tensor | None) -> None:
        views, grads, delta = arena.param_views, arena.grad_views, whole_lanes(dlogits)
        for depth in range(len(self._names) - 1, -1, -1):
            weight, bias = self._names[depth]
            inputs = saved[depth]
            torch.bmm(delta.mT, inputs, out=grads[weight])
            torch.sum(delta, 1, out=grads[bias])
            if depth > 0:
                delta = torch.bmm(delta, views[weight])
                if depth == len(self._names) - 1 and dlatents is not None:
                    delta[: len(dlatents), : dlatents.shape[1]] += dlatents
                delta = torch.ops.aten.threshold_backward(delta, inputs, 0)

    def evaluate(self, arena: Part, row: int, x: Tensor) -> tuple[Tensor, Tensor]:
        views, latents = arena.param_views, x.flatten(1)
        for weight, bias in self._names[:-1]:
            latents = torch.addmm(views[bias][row], latents, views[weight][row].T).relu_()
        weight, bias = self._names[-1]
        return torch.addmm(views[bias][row], latents, views[weight][row].T), latents

    def evaluate_all(self, arena: Part, x: Tensor) -> Tensor:
        return each(self, arena, x)
