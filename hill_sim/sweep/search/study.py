"""The study that Optuna's own tools open: every candidate with its parameters, values, constraints, reports and state.

It is a record. What a search does next is decided by `results.sqlite`, which holds the proposals and the outcomes; so a
study that was lost is written again, and one that misses its end is completed.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.trial import FrozenTrial, TrialState

from hill_sim.config import validated
from hill_sim.errors import HillError
from hill_sim.sweep.extend import only_adds
from hill_sim.sweep.search.candidates import Candidate, Told
from hill_sim.sweep.search.journal import Journal
from hill_sim.sweep.search.propose import STATES
from hill_sim.sweep.search.quiet import quiet
from hill_sim.sweep.spec import SweepSpec

JOURNAL = "study.journal"
log = logging.getLogger(__name__)


class Study:
    """A study in an Optuna storage, whose trial numbers are the candidates' numbers. `where` names it in messages."""

    remedy = "move it away, and ours is written"

    def __init__(self, storage: BaseStorage, spec: SweepSpec, where: str) -> None:
        assert spec.search is not None
        self.where, self.storage, self._spec, self._search = where, storage, spec, spec.search
        self._distributions = {d.place: d.distribution for d in spec.search.dimensions}
        with quiet():
            self.id = self._open()
        self._trials = {trial.number: trial for trial in self.storage.get_all_trials(self.id, deepcopy=False)}

    def _open(self) -> int:
        try:
            there = self.storage.get_study_id_from_name(self._spec.name)
        except KeyError:
            pass
        else:
            of, here = self.storage.get_study_user_attrs(there).get("hill_sim"), self._spec.resolved()
            if of is not None and of != here and not only_adds(validated(SweepSpec, of, self.where), self._spec):
                raise HillError(f"{self.where}: is the record of another search; {self.remedy}")
            if of != here:  # extended since
                self.storage.set_study_user_attr(there, "hill_sim", here)
            return there
        directions = [objective.direction for objective in self._search.objectives]
        study = optuna.create_study(storage=self.storage, study_name=self._spec.name, directions=directions)
        study.set_metric_names([objective.name for objective in self._search.objectives])
        study.set_user_attr("hill_sim", self._spec.resolved())
        return self.storage.get_study_id_from_name(self._spec.name)

    def batch(self) -> AbstractContextManager[None]:
        """What is recorded within is written at its end."""
        raise NotImplementedError

    def begin(self, candidates: Sequence[Candidate]) -> None:
        """Record candidates as running, those that are not recorded yet, in the order of their numbers."""
        for candidate in candidates:
            if (there := self._trials.get(candidate.number)) is not None:
                if there.params != dict(candidate.params):
                    raise self._mistaken(candidate)
                continue
            template = optuna.trial.create_trial(
                state=TrialState.RUNNING,
                params=dict(candidate.params),
                distributions=self._distributions,
                user_attrs={
                    "generation": candidate.generation,
                    "seeds": list(self._spec.seeds),
                    "trials": list(candidate.keys),
                },
            )
            trial_id = self._make(candidate.number, template)
            self._trials[candidate.number] = self.storage.get_trial(trial_id)

    def _make(self, number: int, template: FrozenTrial) -> int:
        """Returns the trial's id in the storage; its number is the next that is free."""
        return self.storage.create_new_trial(self.id, template_trial=template)

    def end(self, candidate: Candidate, told: Told) -> None:
        """Record what a candidate came to, unless that is recorded already."""
        trial = self._trials[candidate.number]
        if trial.state.is_finished():
            if (trial.state, trial.values or []) != (STATES[told.state], list(told.values)):
                raise self._mistaken(candidate)
            return
        for epoch, value in told.reports.items():
            self.storage.set_trial_intermediate_value(trial._trial_id, epoch, value)
        for text, excess in zip(self._search.feasible, told.excess, strict=False):
            self.storage.set_trial_system_attr(trial._trial_id, f"constraints:{text}", excess)
        self.storage.set_trial_state_values(trial._trial_id, STATES[told.state], told.values or None)
        self._trials[candidate.number] = self.storage.get_trial(trial._trial_id)

    def _mistaken(self, candidate: Candidate) -> HillError:
        return HillError(
            f"{self.where}: candidate {candidate.number} is another there; it is no record of this run; {self.remedy}"
        )

    def finished(self, number: int) -> bool:
        return number in self._trials and self._trials[number].state.is_finished()

    def trials(self) -> list[FrozenTrial]:
        return [self._trials[number] for number in sorted(self._trials)]


class LocalStudy(Study):
    """The study of one driver: `study.journal` in its run folder."""

    def __init__(self, journal: Journal, spec: SweepSpec) -> None:
        self._journal = journal
        with journal.batch():
            super().__init__(JournalStorage(journal), spec, str(journal.path))

    @classmethod
    def open(cls, folder: Path, spec: SweepSpec, proposed: Sequence[Mapping[str, Any]] = ()) -> LocalStudy:
        """The folder's study; one that is damaged is put aside and written again from the results.

        Args:
            proposed: parameters of the candidates so far, by the results.
        """
        path = folder / JOURNAL
        try:
            study = cls(Journal(path), spec)
            if all(trial.params == params for trial, params in zip(study.trials(), proposed, strict=False)):
                return study
            damage = "tells of other candidates"
        except OSError as error:
            raise HillError(f"{path}: {error.strerror}") from None
        except HillError:
            raise
        except Exception as error:  # whatever Optuna makes of lines that are no record
            damage = f"cannot be read ({type(error).__name__}: {error})"
        set_aside(path, damage)
        return cls(Journal(path), spec)

    def batch(self) -> AbstractContextManager[None]:
        return self._journal.batch()


def set_aside(path: Path, reason: str) -> None:
    aside = path.with_name(f"{path.name}.damaged")
    os.replace(path, aside)
    log.warning("%s: %s; it is now %s, and the study is written again", path, reason, aside.name)


def read_study(folder: Path) -> optuna.Study:
    """The recorded study of a run folder, read only: for Optuna's own plots, importances and tables.

    Raises:
        HillError: no study there.
    """
    path = folder / JOURNAL
    if not path.is_file():
        raise HillError(f"{path}: no such file; a search writes one")
    with path.open("rb") as stream:
        name = json.loads(stream.readline())["study_name"]
    backend = optuna.storages.journal.JournalFileBackend(str(path))
    with quiet():
        return optuna.load_study(study_name=name, storage=JournalStorage(backend))
