"""`chain`: chains of linear layers with ReLU in our C++ kernels (csrc/kernels/chain.h), on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hill_sim.engine.arena import Layout, Part
from hill_sim.engine.backends.base import layer_names, whole_lanes
from hill_sim.errors import Unavailable
from hill_sim.kernels import library


class ChainBackend:
    """Our C++ kernels over a chain of linear layers: at these sizes about twice as fast as a library's products."""

    name = "chain"
    stochastic = False
    width = 0

    def __init__(self, model: nn.Module) -> None:
        loaded = library.load_cpu()
        if not loaded.ok:
            raise Unavailable(f"backend chain: {loaded.reason}")
        if next(model.parameters()).device.type != "cpu":
            raise Unavailable("backend chain: runs on the CPU only")
        self._names = layer_names(self.name, model)
        self._ops = torch.ops.hill_sim
        self._layouts: dict[Layout, Tensor] = {}
        self._saved = torch.empty(0)  # of the step under way; kept, because new memory costs page faults each step

    def _layout(self, arena: Part) -> Tensor:
        """int64 [3 layers + 1]: widths, places of the weights, places of the biases (csrc/torch_chain.cpp)."""
        if arena.layout not in self._layouts:
            shapes, offsets = dict(arena.layout.shapes), arena.layout.offsets
            widths = [shapes[self._names[0][0]][1], *(shapes[weight][0] for weight, _ in self._names)]
            places = [[offsets[pair[i]] for pair in self._names] for i in range(2)]
            self._layouts[arena.layout] = torch.tensor([*widths, *places[0], *places[1]])
        return self._layouts[arena.layout]

    def forward(
        self, arena: Part, x: Tensor, noise: Sequence[int] = ()
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        layout = self._layout(arena)
        size = len(x) * self._ops.chain_saved_size(arena.params, layout, x.shape[1])
        if self._saved.numel() < size or self._saved.dtype != x.dtype:
            self._saved = x.new_empty(size)
        logits, latents = self._ops.chain_forward(arena.params, layout, x.flatten(2), self._saved, True)
        return logits, latents[:, : x.shape[1]], (layout, self._saved)

    def latent_gradient(self, arena: Part, saved: Any, dlogits: Tensor) -> Tensor:
        return torch.bmm(whole_lanes(dlogits), arena.param_views[self._names[-1][0]])[:, : dlogits.shape[1]]

    def backward(self, arena: Part, saved: Any, dlogits: Tensor, dlatents: Tensor | None) -> None:
        self._ops.chain_backward(arena.params, *saved, dlogits, dlatents, arena.grads)

    def evaluate(self, arena: Part, row: int, x: Tensor) -> tuple[Tensor, Tensor]:
        params = arena.params[row : row + 1]
        shared = x.flatten(1).unsqueeze(0)
        logits, latents = self._ops.chain_forward(params, self._layout(arena), shared, None, True)
        return logits[0], latents[0, : len(x)]

    def evaluate_all(self, arena: Part, x: Tensor) -> Tensor:
        shared = x.flatten(1).unsqueeze(0)
        logits: Tensor = self._ops.chain_forward(arena.params, self._layout(arena), shared, None, False)[0]
        return logits
