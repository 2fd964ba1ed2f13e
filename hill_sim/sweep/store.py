"""Results on disk: SQLite in WAL mode, one transaction per finished batch, each trial under its content hash.

    meta          name, value: schema version, what the sweep pinned (backend, device, versions)
    trials        one row a finished trial: its place in the sweep, names, JSON of trial and outcome, and as compressed
                  arrays its epochs, its predictions and their confidences
    interactions  one row an interaction. The shown points are kept for trials of the sweep's first seed only: they are
                  ten times everything else, and `hill-sim replay` makes the others again. Gestures are always kept.
    batches       one row a finished batch: how many trials, epochs asked and run, seconds

Storing a trial again replaces the row, so whatever is run twice counts once.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hill_sim.engine.results import Outcome, TrialResult
from hill_sim.errors import HillError, InvalidInput
from hill_sim.sweep.expand import Planned
from hill_sim.sweep.rows import COLUMNS, Row, pack, unpack, unpack_epochs
from hill_sim.trial import Trial

SCHEMA_VERSION = 1
_SCHEMA = """
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE trials (
        key TEXT PRIMARY KEY, position INTEGER NOT NULL, case_name TEXT NOT NULL, label TEXT NOT NULL,
        status TEXT NOT NULL, trial TEXT NOT NULL, outcome TEXT NOT NULL,
        epochs BLOB NOT NULL, predictions BLOB NOT NULL, confidences BLOB NOT NULL);
    CREATE INDEX trials_position ON trials (position);
    CREATE TABLE interactions (
        key TEXT NOT NULL, number INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (key, number));
    CREATE TABLE batches (
        number INTEGER PRIMARY KEY, finished TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, trials INTEGER NOT NULL,
        epochs_asked INTEGER NOT NULL, epochs_run INTEGER NOT NULL, seconds REAL NOT NULL);
"""


class ResultStore:
    """The `results.sqlite` of one run folder. One writer; readers may look on at any time.

    Args:
        path: the file.
        readonly: open an existing file without ever changing it.

    Raises:
        InvalidInput: no such file (readonly), not a results file, or one of another schema version.
    """

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        self.path = path
        self._readonly = readonly
        if readonly and not path.is_file():
            raise InvalidInput(f"{path}: no such file")
        mode = "ro" if readonly else "rwc"
        try:
            self._db = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=30
            )
            empty = not self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if empty and not readonly:
                self._create()
            self._check_version()
            if not readonly:
                if (damage := self._db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                    raise sqlite3.DatabaseError(damage)
                self._file = path.stat()
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = NORMAL")  # no killed process loses anything, a power cut may
        except sqlite3.DatabaseError as error:
            raise InvalidInput(f"{path}: not a readable results file: {error}") from None

    def _create(self) -> None:
        version = f"INSERT INTO meta VALUES ('schema_version', '{SCHEMA_VERSION}');"
        self._db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} {version} COMMIT;")

    def _check_version(self) -> None:
        try:
            version = self.meta("schema_version")
        except sqlite3.OperationalError:
            version = None
        if version != str(SCHEMA_VERSION):
            raise InvalidInput(
                f"{self.path}: results of schema version {version}, this hill-sim reads version {SCHEMA_VERSION}; "
                "go on with the hill-sim that wrote it, or choose another --out"
            )

    def close(self) -> None:
        """A writer leaves one file that can be copied, and read where nothing may be written, without its log."""
        if not self._readonly:
            with contextlib.suppress(sqlite3.Error):  # somebody is reading: the log stays until the next writer
                self._db.execute("PRAGMA busy_timeout = 0")
                self._db.execute("PRAGMA journal_mode = DELETE")
        self._db.close()

    def __enter__(self) -> ResultStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def meta(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, values: Mapping[str, str]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values.items())

    def finished(self, status: str | None = None) -> set[str]:
        """The keys of the finished trials, or of those that ended with this status."""
        where, values = ("WHERE status = ?", (status,)) if status else ("", ())
        return {key for (key,) in self._db.execute(f"SELECT key FROM trials {where}", values)}

    def forget(self, keys: Iterable[str]) -> None:
        """Remove trials, so that they run again."""
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:
            for key in keys:
                self._db.execute("DELETE FROM trials WHERE key = ?", (key,))
                self._db.execute("DELETE FROM interactions WHERE key = ?", (key,))

    def add(
        self,
        results: Iterable[TrialResult],
        places: Mapping[str, tuple[int, Planned]],
        *,
        views: Iterable[int],
        info: Mapping[str, Any],
        meta: Mapping[str, str] | None = None,
    ) -> None:
        """Store a finished batch, all of it or nothing.

        Args:
            places: per trial key, its position in the sweep and its names.
            views: the seeds whose shown points are kept.
            info: of the batch: epochs_asked, epochs_run, seconds.
            meta: values of the meta table to set with it.
        """
        self._check_there()
        kept = set(views)
        trials, interactions = [], []
        for result in results:
            position, planned = places[result.trial.key]
            key = result.trial.key
            row = pack(result, views=result.trial.seed in kept)
            trials.append((key, position, planned.case, planned.label, row.status, *row.columns))
            interactions += [(key, number, data) for number, data in enumerate(row.interactions)]
        batch = (
            len(trials),
            int(info.get("epochs_asked", 0)),
            int(info.get("epochs_run", 0)),
            float(info.get("seconds", 0)),
        )
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO trials VALUES (?,?,?,?,?,?,?,?,?,?)", trials)
            self._db.executemany("INSERT OR REPLACE INTO interactions VALUES (?,?,?)", interactions)
            self._db.execute("INSERT INTO batches (trials, epochs_asked, epochs_run, seconds) VALUES (?,?,?,?)", batch)
            self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", (meta or {}).items())

    def _check_there(self) -> None:
        """SQLite would go on writing to a file that was deleted."""
        try:
            there = os.path.samestat(self._file, self.path.stat())
        except OSError:
            there = False
        if not there:
            raise HillError(f"{self.path}: was deleted, moved or replaced while the sweep ran; it stops here")

    def counts(self) -> dict[str, int]:
        """How many finished trials ended in which way."""
        return dict(self._db.execute("SELECT status, count(*) FROM trials GROUP BY status"))

    def failures(self) -> Iterator[tuple[str, str, Outcome]]:
        """Label, key and outcome of the trials that failed, in the order of the sweep."""
        rows = "SELECT label, key, outcome FROM trials WHERE status = 'failed' ORDER BY position"
        for label, key, outcome in self._db.execute(rows):
            yield label, key, Outcome.from_dict(json.loads(outcome))

    def last_batch(self) -> dict[str, Any] | None:
        """When the last batch was stored (UTC), how many trials it had, and the seconds of work that they took."""
        row = self._db.execute("SELECT finished, trials, seconds FROM batches ORDER BY number DESC LIMIT 1").fetchone()
        return dict(zip(("finished", "trials", "seconds"), row, strict=True)) if row else None

    def arrange(self, places: Mapping[str, tuple[int, Planned]]) -> None:
        """Give stored trials the places and names that they have in a sweep which has been extended since."""
        rows = self._db.execute("SELECT key, position, case_name, label FROM trials").fetchall()
        moved = []
        for key, *was in rows:
            if key in places:
                position, item = places[key]
                if was != [position, item.case, item.label]:
                    moved.append((position, item.case, item.label, key))
        if moved:
            self._db.execute("BEGIN IMMEDIATE")
            with self._db:
                self._db.executemany("UPDATE trials SET position = ?, case_name = ?, label = ? WHERE key = ?", moved)

    def outcomes(self) -> Iterator[tuple[str, Outcome]]:
        """Key and outcome of every finished trial, in no order, one at a time."""
        for key, outcome in self._db.execute("SELECT key, outcome FROM trials"):
            yield key, Outcome.from_dict(json.loads(outcome))

    def curve(self, key: str, column: str) -> list[float]:
        """One of `EPOCH_COLUMNS` of a finished trial, epoch by epoch."""
        (blob,) = self._db.execute("SELECT epochs FROM trials WHERE key = ?", (key,)).fetchone()
        return unpack_epochs(blob).get(column, [])

    def totals(self) -> dict[str, float]:
        """Sums over the batches so far: batches, epochs_asked, epochs_run, seconds (of work, over all workers)."""
        row = self._db.execute(
            "SELECT count(*), total(epochs_asked), total(epochs_run), total(seconds) FROM batches"
        ).fetchone()
        return {"batches": int(row[0]), "epochs_asked": int(row[1]), "epochs_run": int(row[2]), "seconds": row[3]}

    def texts(self) -> Iterator[tuple[str, str, str, str]]:
        """Case, label, and the JSON of trial and outcome, of all finished trials in the order of the sweep."""
        yield from self._db.execute("SELECT case_name, label, trial, outcome FROM trials ORDER BY position")

    def summaries(self) -> Iterator[tuple[str, str, TrialResult]]:
        """As `results`, with nothing in each but its trial and its outcome."""
        for case, label, trial, outcome in self.texts():
            yield case, label, TrialResult(Trial.from_json(trial), Outcome.from_dict(json.loads(outcome)))

    def results(self, keys: Collection[str] | None = None) -> list[tuple[str, str, TrialResult]]:
        """Case, label and result of all finished trials, or of those asked for, in the order of the sweep."""
        interactions: dict[str, list[bytes]] = {}
        for key, data in self._db.execute("SELECT key, data FROM interactions ORDER BY key, number"):
            if keys is None or key in keys:
                interactions.setdefault(key, []).append(data)
        selected = f"case_name, label, key, status, {', '.join(COLUMNS)}"
        return [
            (case, label, unpack(Row(key, interactions.get(key, []), *columns)))
            for case, label, key, *columns in self._db.execute(f"SELECT {selected} FROM trials ORDER BY position")
            if keys is None or key in keys
        ]
