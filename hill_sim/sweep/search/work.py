"""A running search: proposes generation after generation, hands out their trials, and learns what they came to.

What it decides is a pure function of the spec and of the stored outcomes, so a search that is killed and started again,
with other workers or another executor, ends in the same table. Proposals are stored before any of their trials runs.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from hill_sim.engine.results import TrialResult
from hill_sim.errors import InvalidInput
from hill_sim.sweep.batches import LARGEST
from hill_sim.sweep.executors import Batch
from hill_sim.sweep.expand import Planned
from hill_sim.sweep.pinned import Agree, alone
from hill_sim.sweep.search import propose
from hill_sim.sweep.search.candidates import CURVE, Candidate, Ended, Maker, Told, names_of, stopped_for_good
from hill_sim.sweep.search.pruning import Pruning
from hill_sim.sweep.search.study import Study
from hill_sim.sweep.spec import SweepSpec
from hill_sim.sweep.store import ResultStore
from hill_sim.sweep.work import Packer
from hill_sim.trial import Trial

_SMALLEST = 8  # trials: a generation is split between the workers no finer than this
_TRIES = 16  # candidates with one value of the space in them, before that value counts as impossible


class Proposals:
    """The generations of a search, in order: each is asked for once, and stored before it is run."""

    def __init__(self, spec: SweepSpec) -> None:
        assert spec.search is not None
        self.spec, self.search, self.maker = spec, spec.search, Maker(spec)
        self.size = self.search.generation_size(self.maker.size)
        self.count = -(-self.search.candidates // self.size)

    def __str__(self) -> str:
        """What the search will do, for people, before anything runs."""
        from hill_sim.engine import plan

        search, first = self.search, plan([item.trial for item in self.first()])
        goals = ", ".join(f"{objective.direction} {objective.name}" for objective in search.objectives)
        learning = "each knows what came before" if search.adaptive else "fixed from the start"
        return (
            f"{search.sampler}, to {goals}: {search.candidates:,} candidates of {self.maker.size} trials, in "
            f"{self.count:,} generations of {self.size} ({learning})\nof the first: {first}"
        )

    def first(self) -> list[Planned]:
        """The trials of the first generation, after checking that every value of the space can be tried.

        Raises:
            InvalidInput: a space, a constraint or a field that leaves nothing to try.
        """
        params, _ = self._asked(0, self._size_of(0), 0, [])
        self._check_values(params[0])
        return [item for candidate in self._candidates(0, params) for item in candidate.planned]

    def generation(
        self, number: int, known: Sequence[propose.Known], store: ResultStore, agree: Agree = alone
    ) -> list[Candidate]:
        size = self._size_of(number)
        name = f"generation {number}"
        stored = json.loads(store.meta(name) or '{"params": []}')
        params = stored["params"][:size]
        if len(params) < size:

            def proposed() -> str:
                before = json.loads(store.meta(f"generation {number - 1}") or "{}").get("drawn", 0)
                more, drawn = self._asked(number, size, before, known)
                # what has been run stays, were Optuna to propose otherwise now
                return json.dumps({"params": [*params, *more[len(params) :]], "drawn": drawn})

            store.set_meta({name: agree(f"{name}, {size} candidates", proposed)})
            params = json.loads(store.meta(name) or "")["params"]
        return self._candidates(number, params)

    def stored(self, store: ResultStore) -> Iterator[Candidate]:
        """The candidates that have been proposed so far."""
        for number, params in enumerate(self._stored(store)):
            yield from self._candidates(number, params)

    def params(self, store: ResultStore) -> list[dict[str, Any]]:
        """The parameters of the candidates that have been proposed so far."""
        return [some for params in self._stored(store) for some in params]

    def _stored(self, store: ResultStore) -> Iterator[list[dict[str, Any]]]:
        for number in range(self.count):
            if (text := store.meta(f"generation {number}")) is None:
                return
            yield json.loads(text)["params"][: self._size_of(number)]

    def _size_of(self, number: int) -> int:
        return min(self.size, self.search.candidates - number * self.size)

    def _asked(
        self, number: int, count: int, drawn: int, known: Sequence[propose.Known]
    ) -> tuple[list[dict[str, Any]], int]:
        if not self.search.adaptive:
            return propose.design(self.search, count, drawn, self.maker.refusal)
        return propose.adaptive(self.search, number, self.size, known, self.maker.refusal, count), 0

    def _candidates(self, number: int, params: Sequence[dict[str, Any]]) -> list[Candidate]:
        from hill_sim.engine.planning import resolve_all  # late: torch, while the workers import it too

        planned = [self.maker.planned(some) for some in params]
        trials = iter(resolve_all([item.trial for items in planned for item in items]))
        return [
            Candidate(
                number * self.size + index,
                number,
                some,
                tuple(Planned(next(trials), item.case, item.label) for item in items),
            )
            for index, (some, items) in enumerate(zip(params, planned, strict=True))
        ]

    def _check_values(self, possible: dict[str, Any]) -> None:
        """Raise for a value of the space that no trial takes, whatever the other values are."""
        points = propose.points(self.search, 0)
        others = [possible, *(propose.at(self.search, next(points)) for _ in range(_TRIES - 1))]
        for dimension in self.search.dimensions:
            for value in dimension.ends:
                reasons = [self.maker.impossible({**some, dimension.place: value}) for some in others]
                if all(reasons):
                    raise InvalidInput(f"search.space.{dimension.place}: {value!r} fits no trial: {reasons[0]}")


class SearchWork:
    """The work of a search, for `run_sweep`."""

    def __init__(
        self, proposals: Proposals, store: ResultStore, study: Study, pack: Packer, agree: Agree = alone
    ) -> None:
        self._proposals, self._store, self._study, self._pack, self._agree = proposals, store, study, pack, agree
        self._search, self._maker = proposals.search, proposals.maker
        self._names = names_of(self._search)
        self.places: dict[str, tuple[int, Planned]] = {}
        self.total = self._search.candidates * self._maker.size
        self._ended = {key: Ended.of_outcome(outcome, self._names) for key, outcome in store.outcomes()}
        self._pruning = Pruning(self._search.prune) if self._search.prune else None
        self._ending: list[tuple[Candidate, Told]] = []  # of the open generation
        self._known: list[propose.Known] = []
        self._next = 0  # generation
        self._open: dict[int, Candidate] = {}  # not settled, by number
        self._due: list[Candidate] = []  # to be handed out
        self._missing: dict[int, set[str]] = {}  # keys of trials that a candidate waits for
        self._waiting: deque[Batch] = deque()
        self._in_hand: set[str] = set()  # keys queued or in flight
        self._second: set[int] = set()  # candidates that are trained to the end, whatever the thresholds say

    def feed(self) -> Batch | None:
        while not self._waiting:
            if not self._more():
                return None
        return self._waiting.popleft()

    def told(self, results: Sequence[TrialResult]) -> None:
        for result in results:
            key = result.trial.key
            self._in_hand.discard(key)
            self._ended[key] = Ended.of(result, self._names)
        keys = {result.trial.key for result in results}
        self._settle([number for number, missing in self._missing.items() if missing & keys])

    @property
    def finished(self) -> bool:
        return self._next == self._proposals.count and not self._open

    def _more(self) -> bool:
        """Queue more work, or learn more; False if nothing can be done before something in flight has ended."""
        if self._due:
            due, self._due = self._due, []
            self._hand_out(due)
            return True
        if self._next == self._proposals.count or (self._search.paced and self._open):
            return False
        self._open_generation()
        return True

    def _open_generation(self) -> None:
        self._learn()
        candidates = self._proposals.generation(self._next, self._known, self._store, self._agree)
        self._next += 1
        for candidate in candidates:
            for index, item in enumerate(candidate.planned):
                self.places.setdefault(item.trial.key, (candidate.number * self._maker.size + index, item))
            self._open[candidate.number] = candidate
            self._missing[candidate.number] = {key for key in candidate.keys if key not in self._ended}
        with self._study.batch():
            self._study.begin(candidates)
        self._due = [candidate for candidate in candidates if self._missing[candidate.number]]
        self._settle([candidate.number for candidate in candidates if not self._missing[candidate.number]])

    def _learn(self) -> None:
        """Take in the generation that has ended, in the order of its candidates."""
        for candidate, told in sorted(self._ending, key=lambda ending: ending[0].number):
            if self._search.adaptive:
                self._known.append(propose.Known(candidate.number, candidate.generation, candidate.params, told))
            if self._pruning:
                self._pruning.learn(candidate, self._ended)
        self._ending = []

    def _hand_out(self, candidates: Sequence[Candidate]) -> None:
        trials: dict[str, Trial] = {}
        thresholds: dict[str, dict[int, float]] = {}
        for candidate in candidates:
            if self._pruning and candidate.number not in self._second:
                thresholds |= self._pruning.thresholds(candidate)
            for item in candidate.planned:
                key = item.trial.key
                if key in self._missing[candidate.number] and key not in self._in_hand:
                    trials[key] = item.trial
        self._in_hand |= trials.keys()
        options = {"stop_below": thresholds} if thresholds else {}
        largest = LARGEST
        if self._search.paced:  # all wait for the last: no worker idles so that another's population is full
            largest = max(_SMALLEST, -(-len(trials) // self._pack.workers))
        self._waiting.extend(self._pack(list(trials.values()), largest, options))

    def _settle(self, numbers: Sequence[int]) -> None:
        """Tell what those of the candidates came to all of whose trials have ended."""
        with self._study.batch():
            for number in numbers:
                candidate = self._open[number]
                self._missing[number] = {key for key in candidate.keys if key not in self._ended}
                if self._missing[number] or self._revived(candidate):
                    continue
                if self._pruning or not self._study.finished(number):
                    self._remember_curves(candidate)
                self._tell(candidate, self._maker.told(candidate, self._ended))

    def _revived(self, candidate: Candidate) -> bool:
        """Whether trials of a candidate are to be trained again, to the end: a few were stopped, and it goes on."""
        again = [key for key in candidate.keys if self._ended[key].status == "pruned"]
        if (
            not again
            or stopped_for_good(candidate, self._ended)
            or any(self._ended[key].status == "failed" for key in candidate.keys)
        ):
            return False
        self._second.add(candidate.number)
        self._missing[candidate.number] = set(again)
        for key in again:
            del self._ended[key]
        self._due.append(candidate)
        return True

    def _remember_curves(self, candidate: Candidate) -> None:
        """Of trials that an earlier call ran, before the study could record them."""
        for key in candidate.keys:
            if not self._ended[key].curve:
                self._ended[key] = replace(self._ended[key], curve=self._store.curve(key, CURVE))

    def _tell(self, candidate: Candidate, told: Told) -> None:
        self._study.end(candidate, told)
        del self._open[candidate.number], self._missing[candidate.number]
        if self._search.paced:
            self._ending.append((candidate, told))
        if not self._pruning:
            for key in candidate.keys:
                self._ended[key] = replace(self._ended[key], curve=())
