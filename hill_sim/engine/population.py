"""P replicas of one model that train in lockstep, each with its own data order and its own user.

Rows are ordered by objective, those with a human term first, so that each objective sees one contiguous slice.
Everything random is a pure function of (seed, epoch): forking copies rows, and no generator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from hill_sim.augment import crop_flip
from hill_sim.engine.arena import Arena
from hill_sim.engine.backends import Backend
from hill_sim.engine.cross_entropy import cross_entropy
from hill_sim.engine.projecting import ProjectionTrainer
from hill_sim.kernels.terms import Backend as KernelBackend
from hill_sim.objective import Targets, human_gradient
from hill_sim.presets import ObjectiveOptions
from hill_sim.seeding import generator
from hill_sim.tasks import Split, Task


@dataclass(frozen=True, eq=False)
class Data:
    """A task's tensors where and as the population wants them; `held_out` is validation followed by test."""

    train: Split
    held_out: Split
    n_validation: int

    @classmethod
    def of(cls, task: Task, dtype: torch.dtype, device: torch.device) -> Data:
        def put(*splits: Split) -> Split:
            x = torch.cat([s.x for s in splits]) if len(splits) > 1 else splits[0].x  # the training data as they are
            x = x.to(device, dtype)
            return Split(x, torch.cat([s.y for s in splits]).to(device))

        return cls(put(task.train), put(task.validation, task.test), len(task.validation))


@dataclass(frozen=True)
class HumanSlice:
    """The rows begin..end-1 of a population share one objective; `targets` has as many."""

    options: ObjectiveOptions
    begin: int
    end: int
    targets: Targets


def data_order(seed: int, epoch: int, n: int) -> np.ndarray:
    """The order [n] in which the training samples come in an epoch: a pure function of its arguments."""
    return generator(seed, "order", epoch).permutation(n)


def step_noise(seed: int, epoch: int, step: int) -> int:
    """Seed of whatever a model draws in one training step (dropout masks)."""
    return int(generator(seed, "noise", epoch, step).integers(2**63))


@dataclass(eq=False)
class Population:
    """P replicas after `epoch` epochs.

    Attributes:
        seeds: of each replica's data order.
        ce_weight: [P] weight of the cross-entropy.
        human: slices of rows with a human term, in row order, from row 0 on.
        projecting: the first-epoch projections in the making; only during epoch 1.
        held_out_logits: [P,M,C] after the last epoch.
    """

    arena: Arena
    backend: Backend
    data: Data
    batch_size: int
    seeds: tuple[int, ...]
    ce_weight: Tensor
    augment: str = "none"
    kernels: KernelBackend = "auto"
    epoch: int = 0
    human: list[HumanSlice] = field(default_factory=list)
    projecting: ProjectionTrainer | None = None
    held_out_logits: Tensor = field(default_factory=lambda: torch.empty(0))

    def __len__(self) -> int:
        return len(self.seeds)

    def run_epoch(self) -> np.ndarray:
        """Train one epoch and evaluate; returns one row of `results.EPOCH_COLUMNS` per replica, [P, columns]."""
        self.epoch += 1
        train, n = self.data.train, len(self.data.train)
        orders = {seed: torch.from_numpy(data_order(seed, self.epoch, n)) for seed in sorted(set(self.seeds))}
        order = torch.stack([orders[seed] for seed in self.seeds]).to(train.y.device)
        totals = torch.zeros(4, len(self), dtype=torch.float64)  # CE, correct, L_human, scale; weighted by batch size
        for begin in range(0, n, self.batch_size):
            rows = order[:, begin : begin + self.batch_size]
            totals += self.step(train.x[rows], train.y[rows], begin // self.batch_size) * rows.shape[1]
            if self.projecting is not None:
                self.projecting.step()
        means = (totals / n).numpy()
        return np.column_stack([*means[:2], *self.evaluate(), *means[2:]])

    def step(self, x: Tensor, y: Tensor, number: int) -> Tensor:
        """The epoch's optimiser step of this number (from 0) on x [P,B,...], y [P,B].

        Returns the batch's CE, accuracy, L_human and scale, [4, P].
        """
        if self.augment == "crop-flip":
            x = crop_flip(x, self.seeds, self.epoch, number)
        measures = torch.full((4, len(self)), torch.nan, dtype=torch.float64)
        width = self.backend.width or len(self)
        for begin in range(0, len(self), width):
            self._gradients(slice(begin, min(begin + width, len(self))), x, y, number, measures)
        self.arena.step()
        return measures

    def _gradients(self, rows: slice, x: Tensor, y: Tensor, number: int, measures: Tensor) -> None:
        """Gradients of some replicas into the arena, their measures into `measures`."""
        part = self.arena.part(rows)
        noise = [step_noise(seed, self.epoch, number) for seed in self.seeds[rows]] if self.backend.stochastic else ()
        logits, latents, saved = self.backend.forward(part, x[rows], noise)
        measures[:2, rows], dlogits = cross_entropy(logits, y[rows])
        if self.projecting is not None:
            self.projecting.gradients(rows, latents, y[rows])
        dlatents = self._human_gradient(
            rows, latents, y[rows], lambda: self.backend.latent_gradient(part, saved, dlogits), measures
        )
        self.backend.backward(part, saved, dlogits * self.ce_weight[rows, None, None], dlatents)

    def _human_gradient(
        self, rows: slice, latents: Tensor, y: Tensor, latent_gradient: Callable[[], Tensor], measures: Tensor
    ) -> Tensor | None:
        """Gradient at the latents [Q,B,H] of those of the rows that have a human term: the first Q of them."""
        found = []
        for human in self.human:
            begin, end = max(human.begin, rows.start), min(human.end, rows.stop)
            if begin >= end:
                continue
            here = slice(begin - rows.start, end - rows.start)
            targets = human.targets.rows(slice(begin - human.begin, end - human.begin))

            def dlatents_ce(here: slice = here) -> Tensor:
                return latent_gradient()[here]

            result = human_gradient(human.options, latents[here], y[here], targets, dlatents_ce, self.kernels)
            targets.kappa.copy_(result.kappa)  # a view of the slice's own: the balance holds until the next interaction
            if targets.trust is not None and result.trust is not None:
                targets.trust.copy_(result.trust)
            measures[2, begin:end], measures[3, begin:end] = result.value.double().cpu(), result.scale.double().cpu()
            found.append(result.dlatents)
        return torch.cat(found) if len(found) > 1 else found[0] if found else None

    def evaluate(self) -> list[np.ndarray]:
        """Losses and accuracies [P] on validation and test; keeps the logits."""
        held_out, n = self.data.held_out, self.data.n_validation
        self.held_out_logits = self.backend.evaluate_all(self.arena.part(slice(0, len(self))), held_out.x)
        measures: list[np.ndarray] = []
        for part in (slice(0, n), slice(n, None)):
            logits, y = self.held_out_logits[:, part], held_out.y[part].unsqueeze(0)
            measures.extend(cross_entropy(logits, y, grad=False)[0].numpy())
        return measures

    def outputs(self, row: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [M,C] and latents [M,H] of one replica on x [M,...], in evaluation mode."""
        return self.backend.evaluate(self.arena.part(slice(row, row + 1)), 0, x)

    def retire(self) -> None:
        """Keep only what forks need."""
        self.arena.release()
        self.held_out_logits = torch.empty(0)

    def targets_of(self, row: int) -> tuple[Targets, int] | None:
        """The targets that hold for a row, and its place in them."""
        for part in self.human:
            if part.begin <= row < part.end:
                return part.targets, row - part.begin
        return None


def human_slices(
    options: Sequence[ObjectiveOptions | None], targets: Sequence[tuple[Targets, int] | None]
) -> list[HumanSlice]:
    """Contiguous runs of equal options; rows without a human term (None) must come last."""
    slices: list[HumanSlice] = []
    begin = 0
    while begin < len(options) and (current := options[begin]) is not None:
        end = begin
        while end < len(options) and options[end] == current:
            end += 1
        rows = [source for source in targets[begin:end] if source is not None]
        slices.append(HumanSlice(current, begin, end, Targets.gather(rows)))
        begin = end
    return slices
