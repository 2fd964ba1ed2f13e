"""The folder of one sweep: what stands in it, whose it is, and how it is read.

runs/quickstart/  sweep.yaml        the sweep, resolved: what the folder holds, and what a resume must equal
                  results.sqlite    one row a finished trial (`store`)
                  results.parquet   the outcomes as one tidy table, written when the sweep ends
                  report.html, figures/     (`hill_sim.report`)
                  log.txt           what driver and workers had to say (`logbook`)
                  prefixes/         states that trials start from, until the sweep has ended (`engine.prefixes`)
                  study.journal     of a search: the study that Optuna's own tools read (`search.study`)
                  .lock             held by the driver that writes here
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import IO, Any

import pandas as pd

from hill_sim.config import dump_yaml, load_yaml, validated
from hill_sim.engine.results import RunSet
from hill_sim.errors import HillError, InvalidInput, Unavailable
from hill_sim.sweep.expand import expand
from hill_sim.sweep.extend import only_adds
from hill_sim.sweep.spec import SweepSpec
from hill_sim.sweep.store import ResultStore
from hill_sim.sweep.table import outcomes_table, write_table

SPEC, RESULTS, TABLE, LOCK, PREFIXES = "sweep.yaml", "results.sqlite", "results.parquet", ".lock", "prefixes"
_HEADER = "# What this folder holds, written by hill-sim. To go on where it stopped: hill-sim sweep THIS_FOLDER\n"


class RunFolder:
    """A run folder that one driver writes to, within `with RunFolder.claim(path, spec):`."""

    def __init__(self, path: Path, lock: IO[str]) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def claim(cls, path: Path, spec: SweepSpec, *, extend: bool = False) -> RunFolder:
        """Make the folder for `spec`, or enter the one that already holds exactly this sweep.

        Args:
            extend: the folder may also hold a part of this sweep; from now on it holds the whole.

        Raises:
            InvalidInput: the folder holds something else; nothing in it has been touched.
            Unavailable: another driver is writing there.
        """
        check(path, spec, extend=extend)
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = (path / LOCK).open("a+", encoding="utf-8")
        except OSError as error:
            raise InvalidInput(f"{path}: cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # let go by the system when the process dies, however
        except OSError:
            holder = _holder(lock)
            lock.close()
            raise Unavailable(f"{path}: another hill-sim (process {holder}) is running this sweep") from None
        try:
            check(path, spec, extend=extend)  # again: another driver may have begun, and ended, since
        except HillError:
            lock.close()
            raise
        lock.truncate(0)
        lock.write(f"{os.getpid()} on {platform.node()}")
        lock.flush()
        if extend or not (path / SPEC).exists():
            write_atomically(path / SPEC, (_HEADER + dump_yaml(spec.resolved())).encode())
        return cls(path, lock)

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()


def _holder(lock: IO[str]) -> str:
    """Who holds it: a driver that began at the same instant may not have written its name yet."""
    for _ in range(100):
        lock.seek(0)
        if holder := lock.read().strip():
            return holder
        time.sleep(0.01)
    return "unknown"


def writer(path: Path) -> str | None:
    """Who holds the folder's lock, as "PROCESS on HOST"; None if nobody does. Takes no lock, so it is in nobody's way.

    The kernel's own list of locks decides; a lock held on another machine is taken for held.
    """
    try:
        holder, inode = (path / LOCK).read_text(encoding="utf-8").strip(), (path / LOCK).stat().st_ino
    except OSError:
        return None
    if holder.partition(" on ")[2] not in ("", platform.node()):
        return holder
    try:
        held = any(line.split()[5].endswith(f":{inode}") for line in Path("/proc/locks").read_text().splitlines())
    except (OSError, IndexError):
        return None
    return holder if held else None


def check(path: Path, spec: SweepSpec, *, extend: bool = False) -> None:
    """Raise InvalidInput unless `path` is free for `spec`, holds it already, or (`extend`) a part of it. Reads only."""
    try:
        there = path.exists()
    except OSError as error:  # a name that is too long, a parent that may not be entered
        raise InvalidInput(f"{path}: cannot be a run folder: {error.strerror}") from None
    if there and not path.is_dir():
        raise InvalidInput(f"{path}: is a file, not a folder for results")
    if not there:
        return
    if not (path / SPEC).is_file():
        strangers = sorted(
            item.name for item in path.iterdir() if item.name != LOCK and not item.name.endswith(".part")
        )
        if strangers:
            raise InvalidInput(
                f"{path}: is not a run folder (it holds {', '.join(strangers[:3])}); choose another --out"
            )
        return
    held = read_spec(path)
    if difference := first_difference(held.resolved(), spec.resolved()):
        adds = only_adds(held, spec)
        if adds and extend:
            return
        ways = "--extend runs what is new, or " if adds else ""
        if extend:
            ways = "it does not only add, so --extend is no way; "
        raise InvalidInput(f"{path}: holds another sweep: {difference}; {ways}choose another --out")


def first_difference(there: Any, here: Any, place: str = "") -> str:
    """The first place in which two sweeps differ, in words; empty if they run the same. The question's wording and
    the name do not count."""
    if isinstance(there, dict) and isinstance(here, dict):
        for name in dict.fromkeys([*there, *here]):
            inner = f"{place}.{name}" if place else str(name)
            if inner in ("question", "name"):
                continue
            if difference := first_difference(there.get(name), here.get(name), inner):
                return difference
        return ""
    if isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        for number, (one, other) in enumerate(zip(there, here, strict=True)):
            if difference := first_difference(one, other, f"{place}.{number}"):
                return difference
        return ""
    same = there == here and isinstance(there, bool) == isinstance(here, bool)
    return "" if same else f"{place} is {_shown(there)} there and {_shown(here)} here"


def read_spec(path: Path) -> SweepSpec:
    """The sweep that a run folder holds."""
    if not (path / SPEC).is_file():
        raise InvalidInput(f"{path}: not a run folder (no {SPEC} in it)")
    return validated(SweepSpec, load_yaml(path / SPEC), str(path / SPEC))


def load_results(path: Path | str, *, details: bool | Callable[[RunSet], Collection[str]] = True) -> RunSet:
    """The finished trials of a run folder, in the order of its sweep; also while the sweep is still running.

    Args:
        details: whether to read epochs, interactions and predictions as well, which are most of the memory; or what
            says, given the rest, of which trials (their keys).

    `info` holds what the sweep recorded: `spec` (the resolved sweep), `cases`, `labels` and `roles` (one per result;
    see `Planned`), `pinned` (backend, device, versions), the `commit` it last ran at, and the totals of the batches so
    far (epochs_asked, epochs_run, seconds).

    Raises:
        InvalidInput: not a run folder, or results that cannot be read.
    """
    path = Path(path)
    spec = read_spec(path)
    with ResultStore(path / RESULTS, readonly=True) as store:
        rows = store.results() if details is True else list(store.summaries())
        roles = {(item.case, item.label): item.role for item in expand(spec)} if spec.has_roles else {}
        pinned = json.loads(store.meta("pinned") or "{}")
        info: dict[str, Any] = {
            "spec": spec.resolved(),
            "cases": [case for case, _, _ in rows],
            "labels": [label for _, label, _ in rows],
            "roles": [roles.get((case, label), "user") for case, label, _ in rows],
            "pinned": pinned,
            "notes": pinned.get("notes", {}),
            "commit": store.meta("commit") or "",
            **store.totals(),
            **({"candidates": _candidates(spec, store)} if spec.search else {}),
        }
        runs = RunSet(tuple(result for _, _, result in rows), info)
        if callable(details) and (keys := details(runs)):
            whole = {result.outcome.key: result for _, _, result in store.results(keys)}
            runs = RunSet(tuple(whole.get(result.outcome.key, result) for result in runs.results), info)
    return runs


def load_candidates(path: Path | str) -> pd.DataFrame:
    """One row a finished candidate of a search: state, values with intervals, parameters (see `candidate_table`)."""
    path = Path(path)
    spec = read_spec(path)
    if spec.search is None:
        raise InvalidInput(f"{path}: no search ran here, so there are no candidates")
    with ResultStore(path / RESULTS, readonly=True) as store:
        return _candidates(spec, store)


def _candidates(spec: SweepSpec, store: ResultStore) -> pd.DataFrame:
    from hill_sim.sweep.search.table import candidate_table  # late: it imports Optuna

    return candidate_table(spec, store)


def load_outcomes(path: Path | str) -> pd.DataFrame:
    """One row a finished trial: case and label, the trial's fields, its key, its measures; in the sweep's order."""
    path = Path(path)
    read_spec(path)
    with ResultStore(path / RESULTS, readonly=True) as store:
        return outcomes_table(store.texts())


def export(path: Path) -> int:
    """Write `results.parquet`, whole or not at all; returns how many trials are in it."""
    part = path / f"{TABLE}.part"
    with ResultStore(path / RESULTS, readonly=True) as store:
        finished = write_table(store.texts(), part)
    os.replace(part, path / TABLE)
    return finished


def write_atomically(target: Path, content: bytes) -> None:
    """The file appears whole or not at all, also if the process is killed or the disk is full."""
    part = target.with_name(f"{target.name}.part")
    with part.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(part, target)


def _shown(value: Any) -> str:
    text = "absent" if value is None else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
