"""Walk a plan's segment trees depth first, in populations of at most `pmax`, and yield what each trial came to.

Waiting segments are kept by (bucket, start, end); the deepest group goes first. So at most one population of states
is held per level of the tree, however many trials there are.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from hill_sim.engine.arena import Arena, Recipe
from hill_sim.engine.choose import make_backend
from hill_sim.engine.planning import Base, CrossEntropy, Human, Plan, Segment
from hill_sim.engine.population import Data, Population, human_slices
from hill_sim.engine.projecting import ProjectionTrainer
from hill_sim.engine.results import EPOCH_COLUMNS, Interaction
from hill_sim.engine.seat import OpenInteraction, ask, display_for, look, targets_of
from hill_sim.kernels.terms import Backend as KernelBackend
from hill_sim.models.base import build_model, latent_width
from hill_sim.objective import Targets, mixing_weights
from hill_sim.projection import fitted_projection, random_projection
from hill_sim.tasks import Task, load_task

_VALIDATION_ACCURACY = EPOCH_COLUMNS.index("validation_accuracy")


@dataclass(frozen=True)
class Settings:
    """How to run, as opposed to what: none of it may change a result beyond rounding."""

    backend: str
    kernels: KernelBackend
    device: torch.device
    dtype: torch.dtype


@dataclass(frozen=True, eq=False)
class RawResult:
    """What a trial leaves when its last segment ends; `error` is a traceback, or empty."""

    epochs: np.ndarray
    interactions: tuple[Interaction, ...] = ()
    test_logits: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    train_accuracy: float = float("nan")
    error: str = ""


@dataclass(frozen=True, eq=False)
class Path:
    """What belongs to one replica beside its tensors: shared by all that are forked from it, so never changed."""

    epochs: tuple[np.ndarray, ...] = ()
    closed: tuple[Interaction, ...] = ()
    past: tuple[OpenInteraction, ...] = ()
    projections: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Source:
    """Where a segment forks from: row `row` of a population that has run, and its path."""

    population: Population
    row: int
    path: Path


@dataclass(frozen=True, eq=False)
class Waiting:
    segment: Segment
    source: Source | None


@dataclass(frozen=True, eq=False)
class Ready:
    """A replica about to run: its user, if any, has edited."""

    segment: Segment
    source: Source | None
    path: Path
    targets: tuple[Targets, int] | None


GroupKey: TypeAlias = tuple[Base, int, int]


class Walker:
    """Runs a plan. `on_epochs(n)` is called with the replica-epochs just done."""

    def __init__(self, plan: Plan, settings: Settings, on_epochs: Callable[[int], None] = lambda n: None) -> None:
        self._plan, self._settings, self._on_epochs = plan, settings, on_epochs
        self._waiting: dict[GroupKey, list[Waiting]] = {}
        self._data: tuple[Base, Data] | None = None
        for root in plan.roots:
            self._wait(Waiting(root, None))
        self.backends: dict[Base, str] = {}  # by bucket

    def _wait(self, item: Waiting) -> None:
        key = (item.segment.base.bucket, item.segment.start, item.segment.end)
        self._waiting.setdefault(key, []).append(item)

    def run(self) -> Iterator[tuple[int, RawResult]]:
        """Yields (position in `plan.unique`, result) as trials end. Call it under `torch.no_grad()`."""
        while self._waiting:
            # The longest segments of the deepest level first: twins end early, and their trials wait for them.
            key = max(self._waiting, key=lambda k: k[1:])
            group = self._waiting[key]
            pack, rest = group[: self._plan.pmax], group[self._plan.pmax :]
            if rest:
                self._waiting[key] = rest
            else:
                del self._waiting[key]
            yield from self._run_pack(key, pack)

    def _run_pack(self, key: GroupKey, pack: list[Waiting]) -> Iterator[tuple[int, RawResult]]:
        ready: list[Ready] = []
        for item in pack:
            try:
                ready.append(self._prepare(item))
            except Exception:  # whatever a user's policy raises ends its trials, not the run
                yield from self._fail(item.segment, item.source, traceback.format_exc())
        if not ready:
            return
        ready.sort(key=_row_order)
        bucket, start, end = key
        population = self._populate(bucket, ready)
        rows = []
        for _ in range(start, end):
            rows.append(population.run_epoch())
            self._on_epochs(len(ready))
            if population.epoch == 1:
                projections = self._project(population, ready)
                paths = [replace(r.path, projections=p) for r, p in zip(ready, projections, strict=True)]
                ready = [replace(r, path=p) for r, p in zip(ready, paths, strict=True)]
        history = np.stack(rows, axis=1)
        for row, trained in enumerate(ready):
            yield from self._settle(population, row, trained, history[row])
        population.retire()

    def _prepare(self, item: Waiting) -> Ready:
        """Let the user edit, where one is due, and find the targets that will hold."""
        segment, source = item.segment, item.source
        if source is None:
            return Ready(segment, None, Path(), None)
        if isinstance(segment.regime, CrossEntropy):
            return Ready(segment, source, source.path, None)
        if not segment.edited:
            return Ready(segment, source, source.path, source.population.targets_of(source.row))
        regime, path, task = segment.regime, source.path, self._task(segment.base)
        shown = display_for(task, regime, segment.base.seed)
        outputs = source.population.outputs(source.row, self._put(shown.x))
        accuracy = float(path.epochs[-1][-1, _VALIDATION_ACCURACY])
        frame, view = look(task, regime, shown, outputs, path.projections[regime.projection], segment.start, accuracy)
        view = replace(view, history=tuple(past.memory() for past in path.past))
        interaction = ask(regime, segment.base.seed, frame, view, shown)
        targets = targets_of(interaction, self._settings.dtype, self._settings.device)
        return Ready(segment, source, replace(path, past=(*path.past, interaction)), (targets, 0))

    def _populate(self, bucket: Base, ready: list[Ready]) -> Population:
        bases = [item.segment.base for item in ready]
        recipes = [Recipe(base.optimizer, base.lr, base.weight_decay) for base in bases]
        settings, task = self._settings, self._task(bucket)
        backend = make_backend(settings.backend, bucket, settings.device)
        self.backends[bucket] = backend.name
        sources = [item.source for item in ready if item.source is not None]
        projecting = None
        if sources:
            arena = Arena.gather([(source.population.arena, source.row) for source in sources])
        else:
            models = [build_model(base.initial_trial(), task) for base in bases]
            params = [list(model.named_parameters()) for model in models]
            buffers = [list(model.named_buffers()) for model in models]
            arena = Arena.create(params, buffers, recipes, settings.dtype, settings.device)
            if any("first-epoch" in item.segment.projections for item in ready):
                width = latent_width(models[0], task, bucket.model)
                rates = [base.lr for base in bases]
                seeds = [base.seed for base in bases]
                projecting = ProjectionTrainer(seeds, width, task.n_classes, rates, arena.params)
        regimes = [item.segment.regime for item in ready]
        options = [regime.objective if isinstance(regime, Human) else None for regime in regimes]
        return Population(
            arena=arena,
            backend=backend,
            data=self._data_of(bucket),
            batch_size=bucket.batch_size,
            seeds=tuple(base.seed for base in bases),
            ce_weight=torch.tensor([_ce_weight(r) for r in regimes], dtype=settings.dtype, device=settings.device),
            augment=bucket.augment,
            kernels=settings.kernels,
            epoch=ready[0].segment.start,
            human=human_slices(options, [item.targets for item in ready]),
            projecting=projecting,
        )

    def _project(self, population: Population, ready: list[Ready]) -> list[dict[str, tuple[Tensor, Tensor]]]:
        """After epoch 1: freeze every projection that some trial of each tree needs."""
        found = []
        for row, item in enumerate(ready):
            kinds: dict[str, tuple[Tensor, Tensor]] = {}
            for kind in sorted(item.segment.projections):
                if kind == "first-epoch":
                    assert population.projecting is not None
                    kinds[kind] = population.projecting.projection(row)
                    continue
                latents = population.outputs(row, population.data.train.x)[1]
                if kind == "random":
                    kinds[kind] = random_projection(item.segment.base.seed, latents.shape[1])
                else:
                    labels = population.data.train.y.cpu().numpy()
                    kinds[kind] = fitted_projection(kind, latents.double().cpu().numpy(), labels)
            found.append(kinds)
        population.projecting = None
        return found

    def _settle(
        self, population: Population, row: int, item: Ready, epochs: np.ndarray
    ) -> Iterator[tuple[int, RawResult]]:
        """After a segment: close the interaction that led to it, hand over what has ended, and queue the children."""
        segment = item.segment
        path = replace(item.path, epochs=(*item.path.epochs, epochs))
        if not np.isfinite(epochs[:, : _VALIDATION_ACCURACY + 1]).all():
            bad = segment.start + 1 + int(np.argmin(np.isfinite(epochs[:, : _VALIDATION_ACCURACY + 1]).all(axis=1)))
            source = Source(population, row, path)
            error = f"training diverged: the loss is not finite in epoch {bad}"
            yield from self._fail(segment, source, error, trained=segment.end - segment.start)
            return
        ended = path  # for those whose last edit has had its say: they stop here, or edit again
        if path.past and (segment.finished or any(child.edited for child in segment.children)):
            ended = replace(path, closed=(*path.closed, self._close(population, row, path.past[-1])))
        if segment.finished:
            result = self._result(population, row, ended)
            for trial in segment.finished:
                yield trial, result
        for child in segment.children:
            self._wait(Waiting(child, Source(population, row, ended if child.edited else path)))

    def _close(self, population: Population, row: int, interaction: OpenInteraction) -> Interaction:
        latents = population.outputs(row, self._put(interaction.shown.x))[1].double().cpu().numpy()
        found = population.targets_of(row)
        return interaction.close(latents, float(found[0].kappa[found[1]]) if found else float("nan"))

    def _result(self, population: Population, row: int, path: Path) -> RawResult:
        data = population.data
        logits = population.outputs(row, data.train.x)[0]
        return RawResult(
            epochs=np.concatenate(path.epochs),
            interactions=path.closed,
            test_logits=population.held_out_logits[row, data.n_validation :].double().cpu().numpy(),
            train_accuracy=float((logits.argmax(-1) == data.train.y).double().mean()),
        )

    def _fail(
        self, segment: Segment, source: Source | None, error: str, trained: int = 0
    ) -> Iterator[tuple[int, RawResult]]:
        """All trials at and below a segment end here, `trained` epochs into it."""
        path = source.path if source else Path()
        epochs = np.concatenate(path.epochs) if path.epochs else np.empty((0, len(EPOCH_COLUMNS)))
        lost = -trained  # those have been reported
        for below in segment.walk():
            lost += below.end - below.start
            for trial in below.finished:
                yield trial, RawResult(epochs, path.closed, error=error)
        self._on_epochs(lost)

    def _task(self, base: Base) -> Task:
        return load_task(base.task, base.task_options)

    def _put(self, x: Tensor) -> Tensor:
        return x.to(self._settings.device, self._settings.dtype)

    def _data_of(self, bucket: Base) -> Data:
        if self._data is None or self._data[0] != bucket:
            self._data = (bucket, Data.of(self._task(bucket), self._settings.dtype, self._settings.device))
        return self._data[1]


def _ce_weight(regime: CrossEntropy | Human) -> float:
    if isinstance(regime, CrossEntropy):
        return regime.weight
    return mixing_weights(regime.objective, regime.alpha)[0]


def _row_order(item: Ready) -> tuple[bool, str]:
    regime = item.segment.regime
    return (False, repr(regime.objective)) if isinstance(regime, Human) else (True, "")
