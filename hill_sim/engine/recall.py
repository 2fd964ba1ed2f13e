"""Between a walk and the cache of prefixes: which states of a segment are kept, under which name, how they return."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

import hill_sim
from hill_sim.engine.arena import Arena, Layout, Recipe
from hill_sim.engine.choose import make_backend
from hill_sim.engine.planning import Base, CrossEntropy, Plan, Segment
from hill_sim.engine.population import Population
from hill_sim.engine.prefixes import Prefix, PrefixCache, prefix_name
from hill_sim.kernels.terms import Backend as KernelBackend
from hill_sim.models.base import build_model
from hill_sim.tasks import load_task


@dataclass(frozen=True)
class Settings:
    """How to run, as opposed to what: none of it may change a result beyond rounding."""

    backend: str
    kernels: KernelBackend
    device: torch.device
    dtype: torch.dtype


class Shelf:
    """The prefixes that one plan can use: states of replicas that have seen cross-entropy alone.

    They are of use at the end of a segment, where others start, and at each epoch at which the twin is measured. A
    segment is recalled only where all of these are there.
    """

    def __init__(self, cache: PrefixCache | None, plan: Plan, settings: Settings) -> None:
        self._cache, self._watched, self._settings = cache, plan.watched, settings
        self._layouts: dict[Base, tuple[Layout, Layout]] = {}  # by bucket, of parameters and buffers

    def states(self, segment: Segment, kinds: Iterable[str]) -> dict[int, Prefix]:
        """The states of a segment by epoch, its end last; empty unless all are there. `kinds`: of projections."""
        found: dict[int, Prefix] = {}
        if self._cache is None or segment.regime != CrossEntropy():
            return found
        for epoch in self._marks(segment):
            state = self._cache.get(self._name(segment.base, epoch, kinds))
            if state is None:
                return {}
            found[epoch] = state
        return found

    def keep(
        self,
        population: Population,
        row: int,
        segment: Segment,
        earlier: Sequence[np.ndarray],
        curves: Sequence[np.ndarray],
        projections: Mapping[str, tuple[Tensor, Tensor]],
    ) -> None:
        """Keep the state of a row after the last epoch, if it is of use.

        Args:
            earlier: curves of the row's segments so far, [epochs, columns] each.
            curves: of this segment, [P, columns] an epoch.
        """
        if self._cache is None or segment.regime != CrossEntropy() or population.epoch not in self._marks(segment):
            return
        arena = population.arena
        params, first, second, buffers = (
            t[row].detach().cpu().clone() for t in (arena.params, arena.first, arena.second, arena.buffers)
        )
        epochs = np.concatenate([*earlier, np.stack([curve[row] for curve in curves])])
        name = self._name(segment.base, population.epoch, projections)
        self._cache.put(name, Prefix(params, first, second, buffers, arena.steps, epochs, dict(projections)))

    def arena(self, base: Base, state: Prefix) -> Arena:
        """A population of one in that state."""
        if base.bucket not in self._layouts:
            model = build_model(base.initial_trial(), load_task(base.task, base.task_options))
            self._layouts[base.bucket] = Layout.of(model.named_parameters()), Layout.of(model.named_buffers())
        layout, buffer_layout = self._layouts[base.bucket]
        rows = (state.params, state.first, state.second, state.buffers)
        params, first, second, buffers = (row.to(self._settings.device).unsqueeze(0) for row in rows)
        recipe = Recipe(base.optimizer, base.lr, base.weight_decay)
        return Arena(layout, (recipe,), params, first, second, buffer_layout, buffers, state.steps)

    def _marks(self, segment: Segment) -> list[int]:
        watched = self._watched.get(segment.base, {})
        return sorted({segment.end, *(epoch for epoch in watched if segment.start < epoch < segment.end)})

    def _name(self, base: Base, epoch: int, kinds: Iterable[str]) -> str:
        settings = self._settings
        backend = make_backend(settings.backend, base.bucket, settings.device).name
        how = (hill_sim.__version__, backend, settings.kernels, settings.device.type, settings.dtype)
        return prefix_name(how, load_task(base.task, base.task_options).fingerprint, base, epoch, sorted(kinds))
