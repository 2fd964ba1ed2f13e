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
    """Where each named tensor lies in a row of floats.

    Attributes:
        shapes: of each.
        kept: the types of those that are no floats (integers, booleans). Their bytes stand in the place of floats, and
            a view reads them as what they are.
    """

    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    kept: tuple[tuple[str, torch.dtype], ...] = ()

    @classmethod
    def of(cls, named: Iterable[tuple[str, Tensor]]) -> Layout:
        tensors = dict(named)
        kept = tuple((name, tensor.dtype) for name, tensor in tensors.items() if not tensor.is_floating_point())
        return cls(tuple((name, tuple(tensor.shape)) for name, tensor in tensors.items()), kept)

    @cached_property
    def offsets(self) -> dict[str, int]:
        return self._places[0]

    @cached_property
    def size(self) -> int:
        """Floats in a row."""
        return -(-self._places[1] // ROW) * ROW

    @cached_property
    def _places(self) -> tuple[dict[str, int], int]:
        """Where each begins, and where the last one's block ends."""
        offsets, position, kept = {}, 0, dict(self.kept)
        for name, shape in self.shapes:
            offsets[name] = position
            floats = math.prod(shape) * (-(-kept[name].itemsize // 4) if name in kept else 1)
            position += -(-floats // BLOCK) * BLOCK
        return offsets, position

    def views(self, buffer: Tensor) -> dict[str, Tensor]:
        """name -> [P, *shape], views into the buffer [P, size]."""
        kept, found = dict(self.kept), {}
        for name, shape in self.shapes:
            block = buffer[:, self.offsets[name] :]
            if name in kept:  # an empty block has no bytes to read otherwise
                block = block.view(kept[name]) if block.numel() else block.to(kept[name])
            found[name] = block[:, : math.prod(shape)].view(len(buffer), *shape)
        return found

    def fill(self, row: Tensor, named: Iterable[tuple[str, Tensor]]) -> None:
        """Copy tensors into one row [size]."""
        views = self.views(row.unsqueeze(0))
        for name, tensor in named:
            views[name][0] = tensor.detach()


@dataclass(frozen=True)
class Recipe:
    """The optimiser of one replica; replicas that step together share its name."""

    optimizer: str
    lr: float
    weight_decay: float


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of an arena as views: parameters and gradients [R, size], and all three kinds by name, [R, *shape]."""

    layout: Layout
    params: Tensor
    grads: Tensor
    param_views: dict[str, Tensor]
    grad_views: dict[str, Tensor]
    buffer_views: dict[str, Tensor]


@dataclass
class Arena:
    """Parameters, moments and buffers of P replicas that have taken `steps` steps; gradients are scratch, not forked.

    Buffers that are floats (running statistics) have the parameters' type, others (counters) their own.
    """

    layout: Layout
    recipes: tuple[Recipe, ...]
    params: Tensor
    first: Tensor
    second: Tensor
    buffer_layout: Layout
    buffers: Tensor
    steps: int = 0
    grads: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.grads = torch.zeros_like(self.params)
        self.param_views = self.layout.views(self.params)
        self.grad_views = self.layout.views(self.grads)
        self.buffer_views = self.buffer_layout.views(self.buffers)

    @classmethod
    def create(
        cls,
        rows: Sequence[Sequence[tuple[str, Tensor]]],
        buffers: Sequence[Sequence[tuple[str, Tensor]]],
        recipes: Sequence[Recipe],
        dtype: torch.dtype,
        device: torch.device,
    ) -> Arena:
        """From the named parameters and the named buffers of each replica."""
        layout, buffer_layout = Layout.of(rows[0]), Layout.of(buffers[0])
        params, kept = (torch.zeros(len(rows), part.size, dtype=dtype) for part in (layout, buffer_layout))
        for index in range(len(rows)):
            layout.fill(params[index], rows[index])
            buffer_layout.fill(kept[index], buffers[index])
        params, kept = params.to(device), kept.to(device)
        zeros = torch.zeros_like(params)
        return cls(layout, tuple(recipes), params, zeros, torch.zeros_like(params), buffer_layout, kept)

    @staticmethod
    def gather(sources: Sequence[tuple[Arena, int]]) -> Arena:
        """A new arena with copies of the given rows, which must agree in layout and steps."""
        head = sources[0][0]
        assert all(a.layout == head.layout and a.steps == head.steps for a, _ in sources)

        def stack(name: str) -> Tensor:
            return torch.stack([getattr(arena, name)[row] for arena, row in sources])

        recipes = tuple(arena.recipes[row] for arena, row in sources)
        params, first, second, buffers = (stack(name) for name in ("params", "first", "second", "buffers"))
        return Arena(head.layout, recipes, params, first, second, head.buffer_layout, buffers, head.steps)

    def part(self, rows: slice) -> Part:
        """Views of some rows, for a backend to work on."""
        views = (self.param_views, self.grad_views, self.buffer_views)
        if rows != slice(0, len(self.params)):
            views = tuple({name: view[rows] for name, view in group.items()} for group in views)  # type: ignore[assignment]
        return Part(self.layout, self.params[rows], self.grads[rows], *views)

    def release(self) -> None:
        """Give the gradients' memory back; the rows can still be gathered and evaluated, not trained."""
        self.grads = self.grads.new_empty(len(self.params), 0)
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
