"""`loop`: any module, one replica after another; `loop-bf16`: the same in mixed precision, on a GPU; `vmap`: any module
that `torch.func` can vectorise."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from hill_sim.engine.arena import Part
from hill_sim.engine.backends.base import each, whole_lanes
from hill_sim.errors import Unavailable
from hill_sim.models.mlp import MLP
from hill_sim.seeding import own_torch_state

EVALUATED = 128
"""Samples evaluated at a time: more would send a convnet's activations through memory, layer by layer."""


class LoopBackend:
    """One replica after another through the module itself."""

    name = "loop"
    width = 1

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        # Whoever writes a forward may draw in it, by F.dropout as well: only the plain chain is known not to.
        self.stochastic = type(model).forward is not MLP.forward

    def forward(self, arena: Part, x: Tensor, noise: Sequence[int] = ()) -> tuple[Tensor, Tensor, Any]:
        self._model.train()
        outputs, leaves = [], []
        gpus = [x.device] if x.is_cuda else []
        with own_torch_state(*gpus) if self.stochastic else nullcontext():  # dropout knows only the global generators
            for row in range(len(x)):
                params = {name: view[row].detach().requires_grad_() for name, view in arena.param_views.items()}
                # Copies: autograd counts changes per storage, and all buffers of an arena share one.
                buffers = {name: view.clone() for name, view in _buffers(arena, row).items()}
                if self.stochastic:
                    _seed(noise[row], x.device)
                with torch.enable_grad():
                    # clone: a row may start anywhere, new memory is aligned (see whole_lanes)
                    outputs.append(self._outputs({**params, **buffers}, x[row].clone()))
                leaves.append(list(params.values()))
                for name, view in _buffers(arena, row).items():
                    view.copy_(buffers[name])
        logits, latents = (torch.stack([o[i].detach() for o in outputs]).to(x.dtype) for i in range(2))
        return logits, whole_lanes(latents)[:, : x.shape[1]], (outputs, leaves)

    def latent_gradient(self, arena: Part, saved: Any, dlogits: Tensor) -> Tensor:
        grads = [
            torch.autograd.grad(output[0], output[1], d.to(output[0].dtype, copy=True), retain_graph=True)[0]
            for output, d in zip(saved[0], dlogits, strict=True)
        ]
        return torch.stack(grads).to(dlogits.dtype)

    def backward(self, arena: Part, saved: Any, dlogits: Tensor, dlatents: Tensor | None) -> None:
        for row, (outputs, leaves) in enumerate(zip(*saved, strict=True)):
            seeds = [dlogits[row].to(outputs[0].dtype, copy=True)]
            if dlatents is not None and row < len(dlatents):
                seeds.append(dlatents[row].to(outputs[1].dtype, copy=True))
            grads = torch.autograd.grad(outputs[: len(seeds)], leaves, seeds, materialize_grads=True)
            for view, grad in zip(arena.grad_views.values(), grads, strict=True):
                view[row] = grad

    def evaluate(self, arena: Part, row: int, x: Tensor) -> tuple[Tensor, Tensor]:
        self._model.eval()
        state = {name: view[row] for name, view in arena.param_views.items()} | _buffers(arena, row)
        outputs = [self._outputs(state, part) for part in x.split(EVALUATED)]
        logits, latents = (torch.cat(part).to(x.dtype) for part in zip(*outputs, strict=True))
        return logits, latents

    def evaluate_all(self, arena: Part, x: Tensor) -> Tensor:
        return each(self, arena, x)

    def _outputs(self, state: dict[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        outputs: tuple[Tensor, Tensor] = functional_call(self._model, state, (x,))
        return outputs


class MixedLoopBackend(LoopBackend):
    """`loop` under autocast: convolutions and matrix products in bfloat16, parameters, losses and optimiser in float32.

    On a GPU only, and never chosen by `auto`: results differ from `loop` in the third digit of a gradient.
    """

    name = "loop-bf16"
    device = "cuda"

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        if (found := next(model.parameters()).device.type) != self.device:
            raise Unavailable(f"backend {self.name}: mixed precision is for a GPU, and this runs on the {found}")

    def _outputs(self, state: dict[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(self.device, torch.bfloat16):
            return super()._outputs(state, x)


def _buffers(arena: Part, row: int) -> dict[str, Tensor]:
    """Running statistics and the like of one replica, as views."""
    return {name: view[row] for name, view in arena.buffer_views.items()}


def _seed(seed: int, device: torch.device) -> None:
    """As `torch.manual_seed`, without its 0.7 ms of bookkeeping for GPUs that are not in use."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


class VmapBackend(LoopBackend):
    """`torch.func.vmap` over the replicas; evaluation is the loop's."""

    name = "vmap"
    width = 0

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.stochastic = False  # vmap refuses to draw
        tying = (m for m in model.modules() if isinstance(m, _BatchNorm) or (isinstance(m, _DropoutNd) and m.p > 0))
        if (found := next(tying, None)) is not None:
            raise Unavailable(f"backend vmap: {type(found).__name__} would tie a replica to its company; use loop")

    def forward(self, arena: Part, x: Tensor, noise: Sequence[int] = ()) -> tuple[Tensor, Tensor, Any]:
        self._model.train()
        params = {name: view.detach().requires_grad_() for name, view in arena.param_views.items()}
        with torch.enable_grad():
            outputs = vmap(lambda p, batch: functional_call(self._model, p, (batch,)))(params, whole_lanes(x))
        logits, latents = (output.detach()[:, : x.shape[1]] for output in outputs)
        return logits, latents, (outputs, list(params.values()))

    def latent_gradient(self, arena: Part, saved: Any, dlogits: Tensor) -> Tensor:
        logits, latents = saved[0]
        grad = torch.autograd.grad(logits, latents, whole_lanes(dlogits), retain_graph=True)[0]
        return grad[:, : dlogits.shape[1]]

    def backward(self, arena: Part, saved: Any, dlogits: Tensor, dlatents: Tensor | None) -> None:
        outputs, leaves = saved
        seeds = [whole_lanes(dlogits)]
        if dlatents is not None:
            seeds.append(torch.zeros_like(outputs[1]))
            seeds[1][: len(dlatents), : dlatents.shape[1]] = dlatents
        grads = torch.autograd.grad(outputs[: len(seeds)], leaves, seeds, materialize_grads=True)
        for view, grad in zip(arena.grad_views.values(), grads, strict=True):
            view.copy_(grad)
