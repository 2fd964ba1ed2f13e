"""One flat buffer for the parameters, gradients and optimiser moments of a whole population.

Row p holds replica p. Each parameter's block starts at a multiple of 16 floats and each row is a multiple of 64
floats long, so every replica meets the same vector lanes wherever it stands: an element-wise kernel has no tail
inside the buffer, and the matrix products see the same alignment. That is what makes a forked replica equal to an
unforked one bit for bit. It also gives torch's fused Adam gradients with the strides of the parameters; with other
strides that kernel corrupts the update.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

BLOCK = 16
ROW = 64
MOMENTUM = 0.9


@dataclass(frozen=True)
class Layout:
    """Where each named parameter lies in a row."""

    shapes: tuple[tuple[str, tuple[int, ...]], ...]

    @classmethod
    def of(cls, named: Iterable[tuple[str, Tensor]]) -> Layout:
        return cls(tuple((name, tuple(tensor.shape)) for name, tensor in named))

    @cached_property
    def offsets(self) -> dict[str, int]:
        offsets, position = {}, 0
        for name, shape in self.shapes:
            offsets[name] = position
            position += -(-math.prod(shape) // BLOCK) * BLOCK
        return offsets

    @cached_property
    def size(self) -> int:
        """Floats in a row."""
        end = max((self.offsets[name] + math.prod(shape) for name, shape in self.shapes), default=0)
        return -(-end // ROW) * ROW

    def views(self, buffer: Tensor) -> dict[str, Tensor]:
        """name -> [P, *shape], views into the buffer [P, size]."""
        return {
            name: buffer[:, self.offsets[name] : self.offsets[name] + math.prod(shape)].unflatten(1, shape)
            for name, shape in self.shapes
        }

    def fill(self, row: Tensor, named: Iterable[tuple[str, Tensor]]) -> None:
        """Copy parameters into one row [size]."""
        for name, tensor in named:
            row[self.offsets[name] : self.offsets[name] + tensor.numel()] = tensor.detach().flatten()


@dataclass(frozen=True)
class Recipe:
    """The optimiser of one replica; replicas that step together share its name."""

    optimizer: str
    lr: float
    weight_decay: float


@dataclass
class Arena:
    """Parameters and moments of P replicas that have taken `steps` steps; gradients are scratch and not forked."""

    layout: Layout
    recipes: tuple[Recipe, ...]
    params: Tensor
    first: Tensor
    second: Tensor
    steps: int = 0
    grads: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.grads = torch.zeros_like(self.params)
        self.param_views = self.layout.views(self.params)
        self.grad_views = self.layout.views(self.grads)

    @classmethod
    def create(
        cls,
        layout: Layout,
        rows: Sequence[Iterable[tuple[str, Tensor]]],
        recipes: Sequence[Recipe],
        dtype: torch.dtype,
        device: torch.device,
    ) -> Arena:
        params = torch.zeros(len(rows), layout.size, dtype=dtype)
        for row, named in zip(params, rows, strict=True):
            layout.fill(row, named)
        params = params.to(device)
        return cls(layout, tuple(recipes), params, torch.zeros_like(params), torch.zeros_like(params))

    @staticmethod
    def gather(sources: Sequence[tuple[Arena, int]]) -> Arena:
        """A new arena with copies of the given rows, which must agree in layout and steps."""
        head = sources[0][0]
        assert all(a.layout == head.layout and a.steps == head.steps for a, _ in sources)

        def stack(name: str) -> Tensor:
            return torch.stack([getattr(arena, name)[row] for arena, row in sources])

        recipes = tuple(arena.recipes[row] for arena, row in sources)
        return Arena(head.layout, recipes, stack("params"), stack("first"), stack("second"), head.steps)

    def release(self) -> None:
        """Give the gradients' memory back; the rows can still be gathered and evaluated, not trained."""
        self.grads = self.grads.new_empty(0)
        self.grad_views = {}

    def step(self) -> None:
        """One optimiser step of every replica from `grads`, by torch's own functional optimisers."""
        for begin, end, recipe in _runs(self.recipes):
            # Rows that share a recipe are one contiguous tensor: one kernel call, and no tail (see above).
            p, g, m, v = (t[begin:end].view(-1) for t in (self.params, self.grads, self.first, self.second))
            if recipe.optimizer == "sgd":
                sgd([p], [g], [m], weight_decay=recipe.weight_decay, momentum=MOMENTUM, lr=recipe.lr, dampening=0.0,
                    nesterov=False, maximize=False, foreach=False, fused=False)  # fmt: skip
            else:
                step = {"adam": adam, "adamw": adamw}[recipe.optimizer]
                steps = torch.tensor(float(self.steps), device=p.device)
                step([p], [g], [m], [v], [], [steps], fused=True, foreach=False, amsgrad=False, beta1=0.9, beta2=0.999,
                     lr=recipe.lr, weight_decay=recipe.weight_decay, eps=1e-8, maximize=False)  # fmt: skip
        self.steps += 1


def _runs(recipes: Sequence[Recipe]) -> Iterable[tuple[int, int, Recipe]]:
    """Maximal runs of equal neighbours, as (begin, end, recipe)."""
    begin = 0
    for end in range(1, len(recipes) + 1):
        if end == len(recipes) or recipes[end] != recipes[begin]:
            yield begin, end, recipes[begin]
            begin = end
