"""The study of several drivers, in the database that they share."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import sqlalchemy
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage, get_storage
from optuna.trial import FrozenTrial

from hill_sim.sweep.search.candidates import Candidate, Told
from hill_sim.sweep.search.quiet import quiet
from hill_sim.sweep.search.study import Study
from hill_sim.sweep.shared.database import Database
from hill_sim.sweep.spec import SweepSpec


class _OvertakenError(Exception):
    """The study holds other trials than were read."""


class SharedStudy(Study):
    """Each driver records what it comes to know, at the end of a `batch`, unless another has recorded it already.

    Candidates are Optuna's trials of the same numbers. A lock keeps drivers from recording at the same time; but it
    goes when the server does, and Optuna tries again by itself what may have been done. So each trial is made in a
    transaction that first looks whether it is the next.
    """

    remedy = "choose another name (--set name=...)"

    def __init__(self, database: Database, spec: SweepSpec) -> None:
        self._database = database
        self._begun: list[Candidate] = []
        self._ended: list[tuple[Candidate, Told]] = []
        self._next: int | None = None  # the number of the trial that is being made
        database.patiently(lambda: self._open_in(spec))

    def _open_in(self, spec: SweepSpec) -> None:
        database = self._database
        with database.locked("hill-sim optuna"), quiet():  # two that make Optuna's tables would trip each other
            rdb = RDBStorage(database.address.optuna, engine_kwargs={"pool_pre_ping": True})
            self._engine = rdb.engine
            sqlalchemy.event.listen(rdb.engine, "begin", self._check_next)
            try:
                super().__init__(get_storage(rdb), spec, str(database.address))
            except BaseException:
                self.close()
                raise

    @contextmanager
    def batch(self) -> Iterator[None]:
        yield
        if self._begun or self._ended:
            self._database.patiently(self._record)
            self._begun, self._ended = [], []

    def begin(self, candidates: Sequence[Candidate]) -> None:
        self._begun += candidates

    def end(self, candidate: Candidate, told: Told) -> None:
        self._ended.append((candidate, told))

    def close(self) -> None:
        self._engine.dispose()

    def _record(self) -> None:
        with self._database.locked(f"hill-sim study {self._spec.name}"), quiet(logging.ERROR):
            while True:
                there = self.storage.get_all_trials(self.id, deepcopy=False)
                self._trials = {trial.number: trial for trial in there}
                with suppress(_OvertakenError):
                    super().begin(self._begun)
                    break
            for candidate, told in self._ended:
                with suppress(UpdateFinishedTrialError):
                    super().end(candidate, told)

    def _make(self, number: int, template: FrozenTrial) -> int:
        self._next = number
        try:
            return super()._make(number, template)
        finally:
            self._next = None

    def _check_next(self, connection: sqlalchemy.Connection) -> None:
        """At the start of each transaction in which a trial is made: Optuna gives it the next number that is free."""
        if self._next is None:
            return
        connection.execute(
            sqlalchemy.text("SELECT 1 FROM studies WHERE study_id = :study FOR UPDATE"), {"study": self.id}
        )
        count = sqlalchemy.text("SELECT count(*) FROM trials WHERE study_id = :study")
        if connection.execute(count, {"study": self.id}).scalar_one() != self._next:
            raise _OvertakenError
