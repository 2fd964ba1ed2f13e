"""A candidate: one point of the search space, tried under every set-up of the sweep and every seed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from hill_sim.engine.results import Outcome, TrialResult
from hill_sim.errors import InvalidInput
from hill_sim.sweep.expand import Planned, setups
from hill_sim.sweep.places import put
from hill_sim.sweep.search.outcomes import MEASURES, over_seeds
from hill_sim.sweep.search.spec import SearchSpec
from hill_sim.sweep.spec import SweepSpec
from hill_sim.trial import TWIN, Trial, plain

State = Literal["complete", "pruned", "failed"]
CURVE = "validation_accuracy"


@dataclass(frozen=True)
class Ended:
    """What a search needs of a finished trial.

    Attributes:
        status: of its outcome.
        measures: those that the search's objectives and bounds name.
        curve: validation accuracy after each epoch that was trained.
    """

    status: str
    measures: Mapping[str, float]
    curve: Sequence[float] = ()

    @classmethod
    def of(cls, result: TrialResult, names: Sequence[str]) -> Ended:
        return cls.of_outcome(result.outcome, names, result.epochs.get(CURVE, ()))

    @classmethod
    def of_outcome(cls, outcome: Outcome, names: Sequence[str], curve: Sequence[float] = ()) -> Ended:
        return cls(outcome.status, {name: float(getattr(outcome, name)) for name in names}, curve)


@dataclass(frozen=True)
class Told:
    """What a candidate came to.

    Attributes:
        values: one per objective; empty unless it is complete.
        excess: per bound, by how much it is broken (<= 0: kept); empty unless it is complete.
        reports: by epoch, the mean validation accuracy at an interaction that all of its trials have reached.
    """

    state: State
    values: tuple[float, ...] = ()
    excess: tuple[float, ...] = ()
    reports: Mapping[int, float] = field(default_factory=dict)

    @property
    def feasible(self) -> bool:
        return self.state == "complete" and all(excess <= 0 for excess in self.excess)


@dataclass(frozen=True)
class Candidate:
    """A proposed candidate.

    Attributes:
        number: from 0; Optuna's trial number in the recorded study.
        params: by place, as Optuna knows them.
        planned: its trials, resolved, set-up by set-up and seed by seed.
    """

    number: int
    generation: int
    params: Mapping[str, Any]
    planned: tuple[Planned, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(item.trial.key for item in self.planned))


class Maker:
    """Makes trials of parameters, and says which parameters cannot be trials."""

    def __init__(self, spec: SweepSpec) -> None:
        assert spec.search is not None
        self.spec, self.search = spec, spec.search
        self._setups = list(setups(spec))
        self.size = len(self._setups) * len(spec.seeds)

    def fields(self, params: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Case, label and fields of each set-up with the parameters put in."""
        for case, label, base in self._setups:
            chosen = base
            for dimension in self.search.dimensions:
                chosen = put(chosen, dimension.place, dimension.field_value(params[dimension.place]))
            yield case, label, chosen

    def planned(self, params: Mapping[str, Any]) -> list[Planned]:
        """The candidate's trials, unresolved; raises InvalidInput where there can be none."""
        made = []
        for case, label, fields in self.fields(params):
            for seed in self.spec.seeds:
                trial = Trial(**fields, seed=seed)
                trial = trial.twin() if trial.policy == TWIN else trial
                made.append(Planned(trial, case, label or trial.policy_name))
        return made

    def refusal(self, params: Mapping[str, Any]) -> str:
        """Why these parameters are no candidate: the constraint that they break, or what a trial refuses; or empty.

        Raises:
            InvalidInput: a constraint that has no value, such as the sum of a number and a word.
        """
        return self.impossible(params) or self._broken(params)

    def impossible(self, params: Mapping[str, Any]) -> str:
        """What a trial refuses of these parameters; or empty."""
        from hill_sim.engine.planning import resolve_all  # late: torch

        try:
            resolve_all([Trial(**fields, seed=self.spec.seeds[0]) for _, _, fields in self.fields(params)])
        except InvalidInput as error:
            return str(error).removeprefix("trial 1 of 1: ")
        return ""

    def _broken(self, params: Mapping[str, Any]) -> str:
        for _, _, fields in self.fields(params):
            trial = Trial(**fields, seed=self.spec.seeds[0])
            for expression in self.search.restrictions:
                if not expression.holds(lambda name: plain(getattr(trial, name))):  # noqa: B023
                    return f"constraints: {expression.text!r} does not hold"
        return ""

    def told(self, candidate: Candidate, ended: Mapping[str, Ended]) -> Told:
        """What a candidate came to, all of whose trials have ended."""
        trials = [ended[item.trial.key] for item in candidate.planned]
        reports = _reports(candidate, trials)
        if any(trial.status == "failed" for trial in trials):
            return Told("failed", reports=reports)
        if stopped_for_good(candidate, ended):
            return Told("pruned", reports=reports)
        seeds = len(self.spec.seeds)
        rows = {
            name: [[t.measures[name] for t in trials[i : i + seeds]] for i in range(0, len(trials), seeds)]
            for name in names_of(self.search)
        }
        values = tuple(over_seeds(rows[o.measure], o.statistic, o.direction) for o in self.search.objectives)
        excess = tuple(bound.excess([math.fsum(c) / len(c) for c in zip(*rows[bound.measure], strict=True)])
                       for bound in self.search.feasibility)  # fmt: skip
        if not all(math.isfinite(value) for value in (*values, *excess)):
            return Told("failed", reports=reports)
        return Told("complete", values, excess, reports)


def names_of(search: SearchSpec) -> list[str]:
    """The measures that a search is about."""
    used = {objective.measure for objective in search.objectives} | {bound.measure for bound in search.feasibility}
    return [name for name in MEASURES if name in used]


def stopped_for_good(candidate: Candidate, ended: Mapping[str, Ended]) -> bool:
    """Whether more than half of its trials were stopped: one unlucky seed decides nothing."""
    stopped = sum(ended[key].status == "pruned" for key in candidate.keys)
    return 2 * stopped > len(candidate.keys)


def _reports(candidate: Candidate, trials: Sequence[Ended]) -> dict[int, float]:
    epochs = sorted({epoch for item in candidate.planned for epoch in item.trial.interactions})
    return {
        epoch: math.fsum(trial.curve[epoch - 1] for trial in trials) / len(trials)
        for epoch in epochs
        if all(len(trial.curve) >= epoch for trial in trials)
    }
