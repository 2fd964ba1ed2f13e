"""What a search tries next: a pure function of the spec and of what earlier generations came to.

Designs (random, Sobol) depend on nothing but the spec: draw i is the same whatever came out. Adaptive samplers are
Optuna's. Each generation is asked of a study in memory that holds all earlier candidates in the order of their numbers,
by a sampler that is seeded from the search's seed and the generation's number. Nothing else reaches it, so the
proposals do not depend on the number of workers, on the order in which results arrive, or on what was killed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIIISampler, NSGAIISampler, TPESampler
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import qmc

from hill_sim.errors import InvalidInput
from hill_sim.seeding import generator
from hill_sim.sweep.search.candidates import Told
from hill_sim.sweep.search.quiet import quiet
from hill_sim.sweep.search.spec import SearchSpec

MOST_REFUSED = 5_000
"""Draws in a row that break a constraint before the search gives up."""
STUBBORN = 50
"""Refused proposals of an adaptive sampler after which a candidate is drawn at random: a sampler that learns only from
what was tried may insist on a point that cannot be."""
_BLOCK = 256  # Sobol points are drawn in blocks of a power of two, which keeps them balanced

Params = dict[str, Any]
STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


@dataclass(frozen=True)
class Known:
    """A candidate of an earlier generation."""

    number: int
    generation: int
    params: Mapping[str, Any]
    told: Told


def design(search: SearchSpec, count: int, drawn: int, refusal: Callable[[Params], str]) -> tuple[list[Params], int]:
    """The next `count` candidates of a design after `drawn` draws, and how many draws there have been then.

    Raises:
        InvalidInput: no draw is a possible trial that keeps the constraints.
    """
    found: list[Params] = []
    refused = Refused(search)
    for point in points(search, drawn):
        params = at(search, point)
        drawn += 1
        if refused.allows(refusal(params)):
            found.append(params)
            if len(found) == count:
                break
    return found, drawn


def adaptive(
    search: SearchSpec, generation: int, size: int, known: Sequence[Known], refusal: Callable[[Params], str], count: int
) -> list[Params]:
    """The first `count` candidates of a generation of `size`, of an adaptive sampler that knows all earlier ones.

    Raises:
        InvalidInput: as of `design`.
    """
    seed = int(generator(search.seed, "search", generation).integers(2**31))
    with quiet():
        study = optuna.create_study(
            storage=optuna.storages.InMemoryStorage(),
            directions=[objective.direction for objective in search.objectives],
            sampler=_sampler(search, generation, size, seed),
        )
    distributions = {d.place: d.distribution for d in search.dimensions}
    study.add_trials([_frozen(search, candidate, distributions) for candidate in known])
    _warm(study, search, generation, size)
    fallback = generator(search.seed, "fallback", generation)
    found: list[Params] = []
    for _ in range(count):
        refused = Refused(search)
        while True:
            trial = study.ask(distributions)
            if refused.allows(refusal(trial.params)):
                found.append(dict(trial.params))
                break
            study.tell(trial, state=TrialState.FAIL)
            if refused.in_a_row == STUBBORN:
                found.append(_at_random(search, fallback, refusal, refused))
                study.add_trial(_running(found[-1], distributions))
                break
    return found


class Refused:
    """Counts proposals that are no candidates, and gives up in one line that names the commonest reason."""

    def __init__(self, search: SearchSpec) -> None:
        self._search = search
        self._reasons: Counter[str] = Counter()
        self.in_a_row = 0

    def allows(self, reason: str) -> bool:
        if not reason:
            self.in_a_row = 0
            return True
        self._reasons[reason] += 1
        self.in_a_row += 1
        if self.in_a_row >= MOST_REFUSED:
            (often, _), *_ = self._reasons.most_common(1)
            raise InvalidInput(
                f"search: {self.in_a_row:,} draws in a row from the space are no candidate; most: {often}"
            )
        return False


def at(search: SearchSpec, point: np.ndarray) -> Params:
    """The parameters at a point [D] of the unit cube."""
    return {d.place: d.at(float(u)) for d, u in zip(search.dimensions, point, strict=True)}


def points(search: SearchSpec, start: int) -> Iterator[np.ndarray]:
    """Points [D] of the unit cube from draw `start` on."""
    block, width = start // _BLOCK, len(search.dimensions)
    sobol = qmc.Sobol(width, scramble=True, rng=np.random.default_rng(search.seed)) if search.sampler == "qmc" else None
    if sobol is not None and block:
        sobol.fast_forward(block * _BLOCK)
    skip = start % _BLOCK
    while True:
        if sobol is not None:
            drawn = sobol.random(_BLOCK)
        else:
            drawn = generator(search.seed, "random search", block).random((_BLOCK, width))
        yield from drawn[skip:]
        block, skip = block + 1, 0


def _at_random(
    search: SearchSpec, rng: np.random.Generator, refusal: Callable[[Params], str], refused: Refused
) -> Params:
    while True:
        params = at(search, rng.random(len(search.dimensions)))
        if refused.allows(refusal(params)):
            return params


def _sampler(search: SearchSpec, generation: int, size: int, seed: int) -> BaseSampler:
    """Optuna's, seeded.

    TPE keeps its defaults: multivariate for one objective, and the constant liar, without which the candidates of one
    generation, asked before any of them is told, would crowd in one place.
    """
    with quiet():
        if search.sampler == "tpe":
            return TPESampler(seed=seed, n_startup_trials=max(10, size), constant_liar=True)
        if search.sampler == "gp":
            return GPSampler(seed=seed, n_startup_trials=max(10, size), warn_independent_sampling=False)
        kind = _NSGAII if search.sampler == "nsga2" else _NSGAIII
        return kind(generation, population_size=max(size, 2), seed=seed)


class _Ours:
    """Makes Optuna's generations ours: by default a generation ends when enough of it has not failed."""

    def __init__(self, generation: int, **options: Any) -> None:
        self._now = generation
        super().__init__(**options)

    def get_trial_generation(self, study: optuna.Study, trial: FrozenTrial) -> int:
        return self._now

    def get_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return [trial for trial in complete if trial.user_attrs["generation"] == generation]


class _NSGAII(_Ours, NSGAIISampler):
    """NSGA-II (Deb et al. 2002)."""


class _NSGAIII(_Ours, NSGAIIISampler):
    """NSGA-III (Deb and Jain 2014)."""


def _warm(study: optuna.Study, search: SearchSpec, generation: int, size: int) -> None:
    """Select the parents of each generation in turn, as when it was asked: each with its own generation's seed,
    and without a recursion as deep as there are generations."""
    for earlier in range(1, generation):
        seed = int(generator(search.seed, "search", earlier).integers(2**31))
        sampler = _sampler(search, earlier, size, seed)
        if isinstance(sampler, NSGAIISampler | NSGAIIISampler):
            sampler.get_parent_population(study, earlier)


def _frozen(search: SearchSpec, candidate: Known, distributions: Mapping[str, Any]) -> FrozenTrial:
    told = candidate.told
    upwards = search.objectives[0].direction == "maximize"  # TPE ranks stopped candidates by their last report
    return optuna.trial.create_trial(
        state=STATES[told.state],
        params=dict(candidate.params),
        distributions=dict(distributions),
        values=list(told.values) or None,
        user_attrs={"generation": candidate.generation},
        constraints=dict(zip(search.feasible, told.excess, strict=False)),
        intermediate_values=dict(told.reports) if told.state == "pruned" and upwards else {},
    )


def _running(params: Params, distributions: Mapping[str, Any]) -> FrozenTrial:
    return optuna.trial.create_trial(
        state=TrialState.RUNNING, params=params, distributions=dict(distributions), values=None
    )
