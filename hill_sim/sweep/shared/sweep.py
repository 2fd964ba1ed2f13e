"""What the drivers of one sweep share.

hill_sim_facts     what the first driver said that had to say it: the sweep itself, what is pinned, each generation of a
                   search
hill_sim_drivers   who takes part, and when each was seen last, by the database's clock
hill_sim_claims    which driver is at which trial
hill_sim_results   a row a finished trial (`rows`), numbered in the order in which they were stored

All changes of a sweep happen one after another, under its lock. A driver that has not been seen for `LAPSE` seconds
loses its claims to whoever asks for them. Should it live after all, its results are those of the other to the bit, and
the first to arrive count.
"""

from __future__ import annotations

import json
import logging
import platform
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hill_sim.config import validated
from hill_sim.engine.results import TrialResult
from hill_sim.errors import HillError, InvalidInput
from hill_sim.sweep.extend import only_adds
from hill_sim.sweep.folder import first_difference
from hill_sim.sweep.rows import COLUMNS, Row, pack, unpack
from hill_sim.sweep.shared import heartbeat
from hill_sim.sweep.shared.database import Database
from hill_sim.sweep.shared.heartbeat import Heartbeat
from hill_sim.sweep.spec import SweepSpec
from hill_sim.sweep.store import ResultStore

if TYPE_CHECKING:
    import psycopg

    from hill_sim.sweep.shared.study import SharedStudy

    Cursor = psycopg.Cursor[Any]

log = logging.getLogger(__name__)

SCHEMA_VERSION = "1"
_PORTION = 256  # rows that travel together
_SCHEMA = (
    "CREATE SEQUENCE IF NOT EXISTS hill_sim_order",
    "CREATE TABLE IF NOT EXISTS hill_sim_facts (sweep text, name text, value text NOT NULL, PRIMARY KEY (sweep, name))",
    "CREATE TABLE IF NOT EXISTS hill_sim_drivers"
    " (sweep text, id text, process integer NOT NULL, host text NOT NULL, workers integer NOT NULL,"
    " seen timestamptz NOT NULL,"
    " PRIMARY KEY (sweep, id))",
    "CREATE TABLE IF NOT EXISTS hill_sim_claims (sweep text, key text, driver text NOT NULL, PRIMARY KEY (sweep, key))",
    "CREATE TABLE IF NOT EXISTS hill_sim_results"
    " (sweep text, key text, number bigint NOT NULL, driver text NOT NULL, status text NOT NULL, trial text NOT NULL,"
    " outcome text NOT NULL, epochs bytea NOT NULL, predictions bytea NOT NULL, confidences bytea NOT NULL,"
    " interactions bytea[] NOT NULL, PRIMARY KEY (sweep, key))",
    "CREATE INDEX IF NOT EXISTS hill_sim_results_number ON hill_sim_results (sweep, number)",
)
_LIVES = (
    "EXISTS (SELECT 1 FROM hill_sim_drivers AS d WHERE d.sweep = c.sweep AND d.id = c.driver"
    " AND (NOT %(judging)s OR d.seen > clock_timestamp() - %(lapse)s * interval '1 second'))"
)


class SharedSweep:
    """A sweep in a database, as one driver sees it. Made by `join`.

    Attributes:
        workers: of all drivers that take part now.
    """

    def __init__(self, database: Database, spec: SweepSpec, store: ResultStore, driver: str, workers: int) -> None:
        self.database, self.name, self.driver = database, spec.name, driver
        self._store, self._spec, self._views = store, spec, spec.seeds[:1]
        self._seen = 0  # the number of the last result that was asked about
        self._heartbeat = Heartbeat(database.address, self.name, driver, workers)
        self._study: SharedStudy | None = None

    @classmethod
    @contextmanager
    def join(
        cls, database: Database, spec: SweepSpec, store: ResultStore, workers: int, *, extend: bool = False
    ) -> Iterator[SharedSweep]:
        """Take part from now on, as the driver of `store`.

        Raises:
            InvalidInput: another sweep of this name is there.
            Unavailable, HillError: as of `Database.run`.
        """
        database.run(_create)
        driver = store.meta("driver") or ""
        if not driver or database.run(lambda cursor: _lives(cursor, spec.name, driver)):
            driver = uuid.uuid4().hex
            store.set_meta({"driver": driver})
        sweep = cls(database, spec, store, driver, workers)
        sweep._enter(extend)
        sweep._heartbeat.start()
        try:
            yield sweep
        finally:
            sweep._heartbeat.stop()
            sweep._leave()

    def study(self) -> SharedStudy:
        """The search's study, in the same database."""
        from hill_sim.sweep.shared.study import SharedStudy  # late: it imports Optuna

        self._study = SharedStudy(self.database, self._spec)
        return self._study

    @property
    def workers(self) -> int:
        return self._heartbeat.workers

    def agree(self, name: str, say: Callable[[], str]) -> str:
        """What all drivers take for `name`: what was said first, by whomever. `say` is asked if nobody has yet."""

        def fact(cursor: Cursor) -> str | None:
            cursor.execute("SELECT value FROM hill_sim_facts WHERE sweep = %s AND name = %s", (self.name, name))
            row = cursor.fetchone()
            return None if row is None else str(row[0])

        if (there := self.database.run(fact)) is not None:
            return there
        said = say()

        def first(cursor: Cursor) -> str:
            cursor.execute(
                "INSERT INTO hill_sim_facts VALUES (%s, %s, %s) ON CONFLICT DO NOTHING", (self.name, name, said)
            )
            return fact(cursor) or said

        return self.database.run(first)

    def claim(self, wanted: Mapping[str, bool]) -> tuple[set[str], list[TrialResult]]:
        """Ask for trials to run.

        Args:
            wanted: keys, and of each whether the trial must run to its end: then one that was stopped does not do.

        Returns:
            The keys that are this driver's to run now, and the results of those that are finished. Others are at the
            rest.
        """

        def work(cursor: Cursor) -> tuple[set[str], list[str]]:
            self._lock(cursor)
            cursor.execute(
                "SELECT key, status FROM hill_sim_results WHERE sweep = %s AND key = ANY(%s)",
                (self.name, list(wanted)),
            )
            finished = [key for key, status in cursor if _enough(status, wanted[key])]
            cursor.execute(
                "INSERT INTO hill_sim_claims AS c SELECT %(sweep)s, unnest(%(keys)s::text[]), %(driver)s"
                " ON CONFLICT (sweep, key) DO UPDATE SET driver = EXCLUDED.driver"
                f" WHERE c.driver = EXCLUDED.driver OR NOT {_LIVES} RETURNING key",
                {"keys": [key for key in wanted if key not in set(finished)], **self._me()},
            )
            return {key for (key,) in cursor}, finished

        mine, finished = self.database.run(work)
        return mine, self._fetch(finished)

    def add(self, results: Sequence[TrialResult]) -> None:
        """Store results for all; of a trial that is there already the first counts, unless it had been stopped."""
        rows = [pack(result, views=result.trial.seed in self._views) for result in results]
        for start in range(0, len(rows), _PORTION):
            self.database.run(lambda cursor, some=rows[start : start + _PORTION]: self._add(cursor, some))  # type: ignore[misc]

    def news(self, awaited: Mapping[str, bool]) -> tuple[list[TrialResult], set[str]]:
        """What has become of trials that others are at.

        Args:
            awaited: as of `claim`.

        Returns:
            The results of those that have ended, and the keys of those that nobody is at any more.
        """

        def work(cursor: Cursor) -> tuple[set[str], list[tuple[str, str]]]:
            cursor.execute(
                f"SELECT key FROM hill_sim_claims AS c WHERE sweep = %(sweep)s AND {_LIVES}", self._me()
            )  # before the results: a claim that goes for a result is then seen as one or the other
            held = {key for (key,) in cursor}
            cursor.execute(
                "SELECT key, status, number FROM hill_sim_results WHERE sweep = %s AND number > %s ORDER BY number",
                (self.name, self._seen),
            )
            new = []
            for key, status, number in cursor:
                new.append((key, status))
                self._seen = number
            return held, new

        held, new = self.database.run(work)
        ended = [key for key, status in new if key in awaited and _enough(status, awaited[key])]
        return self._fetch(ended), set(awaited) - held - set(ended)

    def _enter(self, extend: bool) -> None:
        here = self._spec.resolved()
        there = json.loads(self.agree("spec", lambda: json.dumps(here)))
        if difference := first_difference(there, here):
            adds = only_adds(validated(SweepSpec, there, f"storage {self.database.address}"), self._spec)
            if not (adds and extend):
                ways = "--extend runs what is new, or " if adds and not extend else ""
                raise InvalidInput(
                    f"storage: {self.database.address} holds another sweep named {self.name}: {difference}; "
                    f"{ways}choose another name (--set name=...)"
                )
            change = "UPDATE hill_sim_facts SET value = %s WHERE sweep = %s AND name = 'spec'"
            self.database.run(lambda cursor: cursor.execute(change, (json.dumps(here), self.name)))

    def contribute(self) -> None:
        """Share what this folder alone knows: from before it took part, or from a call that was cut short."""

        def known(cursor: Cursor) -> set[str]:
            cursor.execute("SELECT key FROM hill_sim_results WHERE sweep = %s", (self.name,))
            return {key for (key,) in cursor}

        if alone := self._store.finished() - self.database.run(known):
            log.info("storage: sharing %d trials that only this folder had", len(alone))
            self.add([result for _, _, result in self._store.results(alone)])

    def _leave(self) -> None:
        try:
            self._say_goodbye()
        finally:
            if self._study is not None:
                self._study.close()
            self.database.close()

    def _say_goodbye(self) -> None:
        """Others need not wait until this driver's claims lapse."""

        def work(cursor: Cursor) -> None:
            cursor.execute("DELETE FROM hill_sim_claims WHERE sweep = %s AND driver = %s", (self.name, self.driver))
            cursor.execute("DELETE FROM hill_sim_drivers WHERE sweep = %s AND id = %s", (self.name, self.driver))

        try:
            self.database.run(work, patience=0.0)
        except HillError as error:  # what it would have said is said already, and the claims lapse
            log.info("%s", error)

    def _add(self, cursor: Cursor, rows: Sequence[Row]) -> None:
        self._lock(cursor)
        for row in rows:
            cursor.execute(
                "INSERT INTO hill_sim_results AS r VALUES"
                " (%s, %s, nextval('hill_sim_order'), %s, %s, %s, %s, %s, %s, %s, %s)"
                " ON CONFLICT (sweep, key) DO UPDATE SET number = EXCLUDED.number, driver = EXCLUDED.driver,"
                f" status = EXCLUDED.status, {', '.join(f'{c} = EXCLUDED.{c}' for c in (*COLUMNS, 'interactions'))}"
                " WHERE r.status = 'pruned' AND EXCLUDED.status <> 'pruned'",
                (self.name, row.key, self.driver, row.status, *row.columns, list(row.interactions)),
            )
        cursor.execute(
            "DELETE FROM hill_sim_claims WHERE sweep = %s AND (key = ANY(%s) OR driver = %s AND key = ANY(%s))",
            (self.name, [row.key for row in rows if row.status != "pruned"], self.driver, [row.key for row in rows]),
        )

    def _fetch(self, keys: Collection[str]) -> list[TrialResult]:
        """The results of finished trials."""
        wanted = list(keys)

        def work(cursor: Cursor, some: Sequence[str]) -> list[Row]:
            cursor.execute(
                f"SELECT key, interactions, status, {', '.join(COLUMNS)} FROM hill_sim_results"
                " WHERE sweep = %s AND key = ANY(%s) ORDER BY number",
                (self.name, list(some)),
            )
            return [Row(*row) for row in cursor]

        portions = [wanted[start : start + _PORTION] for start in range(0, len(wanted), _PORTION)]
        return [unpack(row) for some in portions for row in self.database.run(lambda cursor, s=some: work(cursor, s))]  # type: ignore[misc]

    def _lock(self, cursor: Cursor) -> None:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"hill-sim {self.name}",))

    def _me(self) -> dict[str, Any]:
        return {"sweep": self.name, "driver": self.driver, "judging": self._heartbeat.steady, "lapse": heartbeat.LAPSE}


def _lives(cursor: Cursor, sweep: str, driver: str) -> bool:
    """Whether a driver of this id is at work: then the folder is a copy of its folder. One that was killed a moment ago
    was this folder's own, whose claims are ours when we go by its id."""
    cursor.execute(
        "SELECT process, host FROM hill_sim_drivers WHERE sweep = %s AND id = %s"
        " AND seen > clock_timestamp() - %s * interval '1 second'",
        (sweep, driver, heartbeat.LAPSE),
    )
    row = cursor.fetchone()
    return row is not None and (row[1] != platform.node() or Path(f"/proc/{row[0]}").exists())


def _enough(status: str, to_the_end: bool) -> bool:
    return status != "pruned" or not to_the_end


def _create(cursor: Cursor) -> None:
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('hill-sim schema', 0))")
    for statement in _SCHEMA:
        cursor.execute(statement)
    cursor.execute(
        "INSERT INTO hill_sim_facts VALUES ('', 'schema_version', %s) ON CONFLICT DO NOTHING", (SCHEMA_VERSION,)
    )
    cursor.execute("SELECT value FROM hill_sim_facts WHERE sweep = '' AND name = 'schema_version'")
    (version,) = cursor.fetchone() or ("",)
    if version != SCHEMA_VERSION:
        raise InvalidInput(
            f"storage: schema version {version} there, this hill-sim reads version {SCHEMA_VERSION}; "
            "use the hill-sim that made it, or another database"
        )
