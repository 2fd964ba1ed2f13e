"""What a backend is: it turns inputs into (logits, latents) and, given the gradients of the loss with respect to both,
writes the parameters' gradients into the arena. The loss itself is the population's business, so it exists once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hill_sim.engine.arena import Arena, Part
from hill_sim.errors import Unavailable
from hill_sim.models.mlp import MLP


class Backend(Protocol):
    """Runs P replicas of one model on P batches.

    Attributes:
        name: as users write it.
        stochastic: True if training draws random numbers (dropout), so that `forward` wants `noise`.
        width: how many replicas to give it at a time; 0 is all. One at a time keeps a large model's activations few.
    """

    name: str
    stochastic: bool
    width: int

    def forward(self, arena: Part, x: Tensor, noise: Sequence[int] = ()) -> tuple[Tensor, Tensor, Any]:
        """x [P,B,...] -> logits [P,B,C], latents [P,B,H], and what `backward` needs, in training mode.

        noise: one seed per replica for what the model draws in this step; read only if `stochastic`.
        """

    def latent_gradient(self, arena: Part, saved: Any, dlogits: Tensor) -> Tensor:
        """The part [P,B,H] of d loss / d latents that comes through the logits."""

    def backward(self, arena: Part, saved: Any, dlogits: Tensor, dlatents: Tensor | None) -> None:
        """Write d loss / d parameters into `arena.grads`. `dlatents` [Q,B,H] belongs to the first Q <= P replicas."""

    def evaluate(self, arena: Part, row: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [M,...] -> logits [M,C], latents [M,H] of one replica in evaluation mode."""

    def evaluate_all(self, arena: Part, x: Tensor) -> Tensor:
        """x [M,...] -> logits [P,M,C] of every replica in evaluation mode."""


def whole_lanes(batch: Tensor) -> Tensor:
    """[P,B,...] with B filled up with zeros to a multiple of 16.

    So every replica's activations start at a multiple of 64 bytes, whatever their width: a library's matrix product may
    round differently at other addresses, and a replica's results must not depend on its place. The rows added get no
    gradient and contribute nothing. (A module that mixes the samples of a batch must run in `loop`.)
    """
    missing = -batch.shape[1] % 16
    return F.pad(batch, (0, 0) * (batch.ndim - 2) + (0, missing)) if missing else batch


def layer_names(backend: str, model: nn.Module) -> list[tuple[str, str]]:
    """(weight, bias) of each linear layer of a chain."""
    if not isinstance(model, MLP) or type(model).forward is not MLP.forward:
        raise Unavailable(f"backend {backend}: {type(model).__name__} is not a hill_sim.models.mlp.MLP")
    return [(f"layers.{i}.weight", f"layers.{i}.bias") for i in range(len(model.layers))]


def each(backend: Backend, arena: Part, x: Tensor) -> Tensor:
    """`evaluate_all`, one replica after another: its activations stay in the cache."""
    return torch.stack([backend.evaluate(arena, row, x)[0] for row in range(len(arena.params))])


def one_step(backend: Backend, arena: Arena, x: Tensor, seeds: tuple[Tensor, Tensor], noise: Sequence[int]) -> Tensor:
    """Gradients [P, size] of one forward and backward pass with the given output gradients."""
    width = backend.width or len(x)
    for begin in range(0, len(x), width):
        rows = slice(begin, min(begin + width, len(x)))
        part = arena.part(rows)
        _, _, saved = backend.forward(part, x[rows], noise[rows])
        backend.backward(part, saved, seeds[0][rows], seeds[1][rows])
    return arena.grads
