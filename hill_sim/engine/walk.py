"""Walk a plan's segment trees depth first, in populations of at most `pmax`, and yield what each trial came to.

Waiting segments are kept in groups that can train together; the deepest group goes first, and at equal depth the twins.
So at most one population of states is held per level of the tree, however many trials there are, and a twin has ended
before any interaction of its trials does.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from hill_sim.engine.arena import Arena, Recipe
from hill_sim.engine.choose import make_backend
from hill_sim.engine.paths import GroupKey, Path, Ready, Source, Waiting
from hill_sim.engine.planning import Base, CrossEntropy, Human, Plan, Segment, base_of, sight_of
from hill_sim.engine.population import Data, Population, human_slices
from hill_sim.engine.prefixes import Prefix, PrefixCache
from hill_sim.engine.projecting import ProjectionTrainer
from hill_sim.engine.raw import RawResult, raw_result
from hill_sim.engine.recall import Settings, Shelf
from hill_sim.engine.results import EPOCH_COLUMNS, Interaction
from hill_sim.engine.seat import OpenInteraction, ask, display_for, layout_coordinates, look, targets_of
from hill_sim.engine.stopping import Stopper, Thresholds
from hill_sim.engine.trusting import follow_schedule, judged_every, set_trust, trust_at_first
from hill_sim.engine.twins import Moment, TwinRecords, Validation
from hill_sim.errors import HillError
from hill_sim.models.base import build_model, latent_width
from hill_sim.objective import mixing_weights
from hill_sim.projection import fitted_projection, random_projection
from hill_sim.tasks import Task, load_task
from hill_sim.trust import Twin

_VALIDATION_ACCURACY = EPOCH_COLUMNS.index("validation_accuracy")


class Walker:
    """Runs a plan. `on_epochs(n)` is called with the replica-epochs just done."""

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        on_epochs: Callable[[int], None] = lambda n: None,
        prefixes: PrefixCache | None = None,
        stop_below: Thresholds | None = None,
    ) -> None:
        self._plan, self._settings, self._on_epochs = plan, settings, on_epochs
        self._waiting: dict[GroupKey, list[Waiting]] = {}
        self._twins = TwinRecords(plan)
        self._shelf = Shelf(prefixes, plan, settings)
        self.stopper = Stopper(plan, stop_below or {})
        self._data: tuple[Base, Data] | None = None
        for root in plan.roots:
            self._wait(Waiting(root, None))
        self.backends: dict[Base, str] = {}  # by bucket
        self.epochs_recalled = 0  # that earlier calls had trained

    def _wait(self, item: Waiting) -> None:
        segment = item.segment
        key = (segment.base.bucket, segment.start, isinstance(segment.regime, CrossEntropy), segment.end)
        self._waiting.setdefault(key, []).append(item)

    def run(self) -> Iterator[tuple[int, RawResult]]:
        """Yields (position in `plan.unique`, result) as trials end. Call it under `torch.no_grad()`."""
        while self._waiting:
            key = max(self._waiting, key=lambda k: k[1:])
            group = self._waiting[key]
            pack, rest = group[: self._plan.pmax], group[self._plan.pmax :]
            if rest:
                self._waiting[key] = rest
            else:
                del self._waiting[key]
            for position, result in self._run_pack(pack):
                self._twins.ended(base_of(self._plan.unique[position]))
                yield position, result

    def _run_pack(self, pack: list[Waiting]) -> Iterator[tuple[int, RawResult]]:
        ready: list[Ready] = []
        for item in pack:
            try:
                ready.append(self._prepare(item))
            except Exception:  # whatever a user's policy raises ends its trials, not the run
                yield from self._fail(item.segment, item.source, traceback.format_exc())
        new = []
        for one in sorted(ready, key=_row_order):
            kinds = one.path.projections if one.source else one.segment.projections
            if states := self._shelf.states(one.segment, kinds):
                yield from self._recall(one, states)
            else:
                new.append(one)
        if new:
            yield from self._train(new)

    def _recall(self, item: Ready, states: Mapping[int, Prefix]) -> Iterator[tuple[int, RawResult]]:
        """What `_train` would do with one cross-entropy segment, from its cached states."""
        segment = item.segment
        for epoch, state in states.items():
            population = self._populate([item], self._shelf.arena(segment.base, state), epoch=epoch)
            population.evaluate()
            path = replace(item.path, projections=state.projections)
            self._remember(population, 0, segment, path)
        yield from self._settle(population, 0, item, path, state.epochs[segment.start :])
        population.retire()
        self.epochs_recalled += segment.end - segment.start
        self._on_epochs(segment.end - segment.start)

    def _train(self, ready: list[Ready]) -> Iterator[tuple[int, RawResult]]:
        """Run segments of one group. If that raises, in halves, so that only those fail that cannot be trained."""
        segment = ready[0].segment
        try:
            population, paths, history = self._epochs(ready)
        except HillError:  # of the settings, not of a trial
            raise
        except Exception:
            error = traceback.format_exc()
        else:
            for row, trained in enumerate(ready):
                yield from self._settle(population, row, trained, paths[row], history[row])
            population.retire()
            return
        if len(ready) == 1:
            yield from self._fail(segment, ready[0].source, error)
            return
        half = len(ready) // 2
        for some in (ready[:half], ready[half:]):
            yield from self._train(some)

    def _epochs(self, ready: list[Ready]) -> tuple[Population, list[Path], np.ndarray]:
        """A trained population, what belongs to each of its rows, and their curves [P, epochs, columns]."""
        population = self._populate(ready, *self._started(ready))
        paths = [item.path for item in ready]
        curves: list[np.ndarray] = []
        for epoch in range(ready[0].segment.start + 1, ready[0].segment.end + 1):
            for row, item in enumerate(ready):
                follow_schedule(population, row, item.segment.regime, epoch)
            try:
                curves.append(population.run_epoch())
            except Exception:
                self._on_epochs(-len(curves) * len(ready))  # they will be run again
                raise
            self._on_epochs(len(ready))
            if population.epoch == 1:
                projections = self._project(population, ready)
                paths = [replace(path, projections=p) for path, p in zip(paths, projections, strict=True)]
            for row, item in enumerate(ready):
                self._remember(population, row, item.segment, paths[row])
                self._shelf.keep(population, row, item.segment, item.path.epochs, curves, paths[row].projections)
                if judged_every(item.segment.regime, "epoch"):
                    paths[row] = self._judge(population, row, item.segment, paths[row])
                    set_trust(population, row, paths[row].trust)
        return population, paths, np.stack(curves, axis=1)

    def _remember(self, population: Population, row: int, segment: Segment, path: Path) -> None:
        """Measure a twin, if this is one and somebody will ask for it."""
        if segment.regime != CrossEntropy():
            return
        base, epoch, data = segment.base, population.epoch, population.data
        sights = self._twins.wants(base, epoch)
        if sights is None:
            return
        logits = population.held_out_logits[row, : data.n_validation]
        validation = Validation.of(logits, data.held_out.y[: data.n_validation])
        if not validation.finite:
            return
        layouts = {}
        for sight in sights:
            latents = population.outputs(row, self._put(display_for(self._task(base), sight, base.seed).x))[1]
            layouts[sight] = layout_coordinates(sight.coordinates, path.projections[sight.projection], latents)
        self._twins.add(base, epoch, Moment(validation, layouts))

    def _judge(self, population: Population, row: int, segment: Segment, path: Path) -> Path:
        """The path with the trust that follows from this epoch's validation; as it was where the twin failed."""
        regime, data = segment.regime, population.data
        twin = self._twins.at(segment.base, population.epoch)
        if twin is None or not isinstance(regime, Human) or not isinstance(regime.trust, Twin):
            return path
        labels = data.held_out.y[: data.n_validation]
        found = Validation.of(population.held_out_logits[row, : data.n_validation], labels)
        touched = path.past[-1].layout.touched
        before = np.ones(len(touched)) if path.trust is None else path.trust
        trust = regime.trust.judge(before, found.losses, twin.validation.losses, labels.cpu().numpy(), touched)
        return replace(path, trust=trust)

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
        shown = display_for(task, sight_of(regime), segment.base.seed)
        outputs = source.population.outputs(source.row, self._put(shown.x))
        accuracy = float(path.epochs[-1][-1, _VALIDATION_ACCURACY])
        frame, view = look(task, regime, shown, outputs, path.projections[regime.projection], segment.start, accuracy)
        view = replace(view, history=tuple(past.memory() for past in path.past))
        interaction = ask(regime, segment.base.seed, frame, view, shown)
        trust = trust_at_first(regime.trust, path.trust, task.n_classes)
        targets = targets_of(interaction, trust, self._settings.dtype, self._settings.device)
        return Ready(segment, source, replace(path, past=(*path.past, interaction)), (targets, 0))

    def _started(self, ready: list[Ready]) -> tuple[Arena, ProjectionTrainer | None]:
        """The states that segments start from: forked, or new."""
        sources = [item.source for item in ready if item.source is not None]
        if sources:
            return Arena.gather([(source.population.arena, source.row) for source in sources]), None
        bases = [item.segment.base for item in ready]
        bucket, task = bases[0].bucket, self._task(bases[0])
        models = [build_model(base.initial_trial(), task) for base in bases]
        params = [list(model.named_parameters()) for model in models]
        buffers = [list(model.named_buffers()) for model in models]
        recipes = [Recipe(base.optimizer, base.lr, base.weight_decay) for base in bases]
        arena = Arena.create(params, buffers, recipes, self._settings.dtype, self._settings.device)
        if not any("first-epoch" in item.segment.projections for item in ready):
            return arena, None
        width = latent_width(models[0], task, bucket.model)
        rates, seeds = [base.lr for base in bases], [base.seed for base in bases]
        return arena, ProjectionTrainer(seeds, width, task.n_classes, rates, arena.params)

    def _populate(
        self, ready: list[Ready], arena: Arena, projecting: ProjectionTrainer | None = None, epoch: int | None = None
    ) -> Population:
        bucket, settings = ready[0].segment.base.bucket, self._settings
        backend = make_backend(settings.backend, bucket, settings.device)
        self.backends[bucket] = backend.name
        regimes = [item.segment.regime for item in ready]
        options = [regime.objective if isinstance(regime, Human) else None for regime in regimes]
        return Population(
            arena=arena,
            backend=backend,
            data=self._data_of(bucket),
            batch_size=bucket.batch_size,
            seeds=tuple(item.segment.base.seed for item in ready),
            ce_weight=torch.tensor([_ce_weight(r) for r in regimes], dtype=settings.dtype, device=settings.device),
            augment=bucket.augment,
            kernels=settings.kernels,
            epoch=ready[0].segment.start if epoch is None else epoch,
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
        self, population: Population, row: int, item: Ready, path: Path, epochs: np.ndarray
    ) -> Iterator[tuple[int, RawResult]]:
        """After a segment: close the interaction that led to it, hand over what has ended, and queue the children."""
        segment = item.segment
        path = replace(path, epochs=(*path.epochs, epochs))
        if not np.isfinite(epochs[:, : _VALIDATION_ACCURACY + 1]).all():
            bad = segment.start + 1 + int(np.argmin(np.isfinite(epochs[:, : _VALIDATION_ACCURACY + 1]).all(axis=1)))
            source = Source(population, row, path)
            error = f"training diverged: the loss is not finite in epoch {bad}"
            yield from self._fail(segment, source, error, trained=segment.end - segment.start)
            return
        ended = path  # for those whose last edit has had its say: they stop here, or edit again
        if path.past and (segment.finished or any(child.edited for child in segment.children)):
            ended = replace(path, closed=(*path.closed, self._close(population, row, segment, path.past[-1])))
            if judged_every(segment.regime, "interaction"):
                ended = self._judge(population, row, segment, ended)
        if segment.finished:
            result = raw_result(population, row, segment, ended)
            for trial in segment.finished:
                yield trial, result
        for trial in self.stopper.stops(segment, float(epochs[-1, _VALIDATION_ACCURACY])):
            yield trial, RawResult(np.concatenate(ended.epochs), ended.closed, stopped=True)
        for child in segment.children:
            if self.stopper.needs(child):
                self._wait(Waiting(child, Source(population, row, ended if child.edited else path)))

    def _close(self, population: Population, row: int, segment: Segment, interaction: OpenInteraction) -> Interaction:
        latents = population.outputs(row, self._put(interaction.shown.x))[1]
        return interaction.close(latents, self._twins.at(segment.base, segment.end), population.targets_of(row))

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
