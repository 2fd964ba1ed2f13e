"""Four ways to run P replicas of one model on P batches, behind one interface.

Each turns inputs into (logits, latents) and, given the gradients of the loss with respect to both, writes the
parameters' gradients into the arena. The loss itself is the population's business, so it exists once.

`chain` chains of linear layers with ReLU, forward and backward in our C++ kernels (csrc/kernels/chain.h), on the CPU;
`bmm`   the same chains, by hand with batched matrix products;
`vmap`  any module that `torch.func` can vectorise;
`loop`  any module, one replica after another. Always works, and the others are checked against it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap

from hill_sim.engine.arena import Arena, Layout
from hill_sim.errors import Unavailable
from hill_sim.kernels import library
from hill_sim.models.mlp import MLP


class Backend(Protocol):
    name: str

    def forward(self, arena: Arena, x: Tensor) -> tuple[Tensor, Tensor, Any]:
        """x [P,B,...] -> logits [P,B,C], latents [P,B,H], and what `backward` needs."""

    def latent_gradient(self, arena: Arena, saved: Any, dlogits: Tensor) -> Tensor:
        """The part [P,B,H] of d loss / d latents that comes through the logits."""

    def backward(self, arena: Arena, saved: Any, dlogits: Tensor, dlatents: Tensor | None) -> None:
        """Write d loss / d parameters into `arena.grads`. `dlatents` [Q,B,H] belongs to the first Q <= P replicas."""

    def evaluate(self, arena: Arena, row: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [M,...] -> logits [M,C], latents [M,H] of one replica in evaluation mode."""

    def evaluate_all(self, arena: Arena, x: Tensor) -> Tensor:
        """x [M,...] -> logits [P,M,C] of every replica in evaluation mode."""


def _whole_lanes(batch: Tensor) -> Tensor:
    """[P,B,...] with B filled up with zeros to a multiple of 16.

    So every replica's activations start at a multiple of 64 bytes, whatever their width: a library's matrix product may
    round differently at other addresses, and a replica's results must not depend on its place. The rows added get no
    gradient and contribute nothing. (A module that mixes the samples of a batch must run in `loop`.)
    """
    missing = -batch.shape[1] % 16
    return F.pad(batch, (0, 0) * (batch.ndim - 2) + (0, missing)) if missing else batch


def _layer_names(backend: str, model: nn.Module) -> list[tuple[str, str]]:
    """(weight, bias) of each linear layer of a chain."""
    if not isinstance(model, MLP):
        raise Unavailable(f"backend {backend}: {type(model).__name__} is not a hill_sim.models.mlp.MLP")
    return [(f"layers.{i}.weight", f"layers.{i}.bias") for i in range(len(model.layers))]


class ChainBackend:
    """Our C++ kernels over a chain of linear layers: at these sizes about twice as fast as a library's products."""

    name = "chain"

    def __init__(self, model: nn.Module) -> None:
        loaded = library.load_cpu()
        if not loaded.ok:
            raise Unavailable(f"backend chain: {loaded.reason}")
        if next(model.parameters()).device.type != "cpu":
            raise Unavailable("backend chain: runs on the CPU only")
        self._names = _layer_names(self.name, model)
        self._ops = torch.ops.hill_sim
        self._layouts: dict[Layout, Tensor] = {}
        self._saved = torch.empty(0)  # of the step under way; kept, because new memory costs page faults each step

    def _layout(self, arena: Arena) -> Tensor:
        """int64 [3 layers + 1]: widths, places of the weights, places of the biases (csrc/torch_chain.cpp)."""
        if arena.layout not in self._layouts:
            shapes, offsets = dict(arena.layout.shapes), arena.layout.offsets
            widths = [shapes[self._names[0][0]][1], *(shapes[weight][0] for weight, _ in self._names)]
            places = [[offsets[pair[i]] for pair in self._names] for i in range(2)]
            self._layouts[arena.layout] = torch.tensor([*widths, *places[0], *places[1]])
        return self._layouts[arena.layout]

    def forward(self, arena: Arena, x: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        layout = self._layout(arena)
        size = len(x) * self._ops.chain_saved_size(arena.params, layout, x.shape[1])
        if self._saved.numel() < size or self._saved.dtype != x.dtype:
            self._saved = x.new_empty(size)
        logits, latents = self._ops.chain_forward(arena.params, layout, x.flatten(2), self._saved, True)
        return logits, latents[:, : x.shape[1]], (layout, self._saved)

    def latent_gradient(self, arena: Arena, saved: Any, dlogits: Tensor) -> Tensor:
        return torch.bmm(dlogits, arena.param_views[self._names[-1][0]])

    def backward(self, arena: Arena, saved: Any, dlogits: Tensor, dlatents: Tensor | None) -> None:
        self._ops.chain_backward(arena.params, *saved, dlogits, dlatents, arena.grads)

    def evaluate(self, arena: Arena, row: int, x: Tensor) -> tuple[Tensor, Tensor]:
        params = arena.params[row : row + 1]
        shared = x.flatten(1).unsqueeze(0)
        logits, latents = self._ops.chain_forward(params, self._layout(arena), shared, None, True)
        return logits[0], latents[0, : len(x)]

    def evaluate_all(self, arena: Arena, x: Tensor) -> Tensor:
        shared = x.flatten(1).unsqueeze(0)
        logits: Tensor = self._ops.chain_forward(arena.params, self._layout(arena), shared, None, False)[0]
        return logits


class BmmBackend:
    """Batched matrix products over a chain of linear layers."""

    name = "bmm"

    def __init__(self, model: nn.Module) -> None:
        self._names = _layer_names(self.name, model)

    def forward(self, arena: Arena, x: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        views, n = arena.param_views, x.shape[1]
        activations = [_whole_lanes(x.flatten(2))]
        for weight, bias in self._names[:-1]:
            out = torch.baddbmm(views[bias].unsqueeze(1), activations[-1], views[weight].mT)
            activations.append(out.relu_())
        weight, bias = self._names[-1]
        logits = torch.baddbmm(views[bias].unsqueeze(1), activations[-1], views[weight].mT)
        return logits[:, :n], activations[-1][:, :n], activations

    def latent_gradient(self, arena: Arena, saved: list[Tensor], dlogits: Tensor) -> Tensor:
        return torch.bmm(dlogits, arena.param_views[self._names[-1][0]])

    def backward(self, arena: Arena, saved: list[Tensor], dlogits: Tensor, dlatents: Tensor | None) -> None:
        views, grads, delta = arena.param_views, arena.grad_views, _whole_lanes(dlogits)
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

    def evaluate(self, arena: Arena, row: int, x: Tensor) -> tuple[Tensor, Tensor]:
        views, latents = arena.param_views, x.flatten(1)
        for weight, bias in self._names[:-1]:
            latents = torch.addmm(views[bias][row], latents, views[weight][row].T).relu_()
        weight, bias = self._names[-1]
        return torch.addmm(views[bias][row], latents, views[weight][row].T), latents

    def evaluate_all(self, arena: Arena, x: Tensor) -> Tensor:
        return _each(self, arena, x)


def _each(backend: Backend, arena: Arena, x: Tensor) -> Tensor:
    """`evaluate_all`, one replica after another: its activations stay in the cache."""
    return torch.stack([backend.evaluate(arena, row, x)[0] for row in range(len(arena.params))])


class LoopBackend:
    """One replica after another through the module itself."""

    name = "loop"

    def __init__(self, model: nn.Module) -> None:
        self._model = model

    def forward(self, arena: Arena, x: Tensor) -> tuple[Tensor, Tensor, Any]:
        self._model.train()
        outputs, leaves = [], []
        for row in range(len(x)):
            params = {name: view[row].detach().requires_grad_() for name, view in arena.param_views.items()}
            with torch.enable_grad():
                # clone: a row may start anywhere, new memory is aligned (see _whole_lanes)
                outputs.append(functional_call(self._model, params, (x[row].clone(),)))
            leaves.append(list(params.values()))
        logits, latents = (torch.stack([o[i].detach() for o in outputs]) for i in range(2))
        return logits, _whole_lanes(latents)[:, : x.shape[1]], (outputs, leaves)

    def latent_gradient(self, arena: Arena, saved: Any, dlogits: Tensor) -> Tensor:
        grads = [torch.autograd.grad(o[0], o[1], dlogits[i], retain_graph=True)[0] for i, o in enumerate(saved[0])]
        return torch.stack(grads)

    def backward(self, arena: Arena, saved: Any, dlogits: Tensor, dlatents: Tensor | None) -> None:
        for row, (outputs, leaves) in enumerate(zip(*saved, strict=True)):
            seeds = [dlogits[row].clone()]
            if dlatents is not None and row < len(dlatents):
                seeds.append(dlatents[row].clone())
            grads = torch.autograd.grad(outputs[: len(seeds)], leaves, seeds)
            for view, grad in zip(arena.grad_views.values(), grads, strict=True):
                view[row] = grad

    def evaluate(self, arena: Arena, row: int, x: Tensor) -> tuple[Tensor, Tensor]:
        self._model.eval()
        params = {name: view[row] for name, view in arena.param_views.items()}
        return functional_call(self._model, params, (x,))

    def evaluate_all(self, arena: Arena, x: Tensor) -> Tensor:
        return _each(self, arena, x)


class VmapBackend(LoopBackend):
    """`torch.func.vmap` over the replicas; evaluation is the loop's."""

    name = "vmap"

    def forward(self, arena: Arena, x: Tensor) -> tuple[Tensor, Tensor, Any]:
        self._model.train()
        params = {name: view.detach().requires_grad_() for name, view in arena.param_views.items()}
        with torch.enable_grad():
            outputs = vmap(lambda p, batch: functional_call(self._model, p, (batch,)))(params, _whole_lanes(x))
        logits, latents = (output.detach()[:, : x.shape[1]] for output in outputs)
        return logits, latents, (outputs, list(params.values()))

    def latent_gradient(self, arena: Arena, saved: Any, dlogits: Tensor) -> Tensor:
        logits, latents = saved[0]
        grad = torch.autograd.grad(logits, latents, _whole_lanes(dlogits), retain_graph=True)[0]
        return grad[:, : dlogits.shape[1]]

    def backward(self, arena: Arena, saved: Any, dlogits: Tensor, dlatents: Tensor | None) -> None:
        outputs, leaves = saved
        seeds = [_whole_lanes(dlogits)]
        if dlatents is not None:
            seeds.append(torch.zeros_like(outputs[1]))
            seeds[1][: len(dlatents), : dlatents.shape[1]] = dlatents
        grads = torch.autograd.grad(outputs[: len(seeds)], leaves, seeds)
        for view, grad in zip(arena.grad_views.values(), grads, strict=True):
            view.copy_(grad)


BACKENDS: dict[str, Callable[[nn.Module], Backend]] = {
    "chain": ChainBackend,
    "bmm": BmmBackend,
    "vmap": VmapBackend,
    "loop": LoopBackend,
}


def one_step(backend: Backend, arena: Arena, x: Tensor, seeds: tuple[Tensor, Tensor]) -> Tensor:
    """Gradients [P, size] of one forward and backward pass with the given output gradients."""
    _, _, saved = backend.forward(arena, x)
    backend.backward(arena, saved, *seeds)
    return arena.grads


def seconds_per_step(
    backend: Backend, arena: Arena, x: Tensor, seeds: tuple[Tensor, Tensor], repeats: int = 5
) -> float:
    """Minimum over `repeats`, after one step to warm up."""
    best = float("inf")
    for repeat in range(repeats + 1):
        start = time.perf_counter()
        one_step(backend, arena, x, seeds)
        if x.is_cuda:
            torch.cuda.synchronize()
        if repeat:
            best = min(best, time.perf_counter() - start)
    return best
