"""How a sweep stands, read from its folder alone: while it runs, after it has ended, and from another machine."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hill_sim.sweep.expand import expand
from hill_sim.sweep.folder import RESULTS, read_spec, writer
from hill_sim.sweep.spec import SweepSpec
from hill_sim.sweep.store import ResultStore


@dataclass(frozen=True)
class Status:
    """A moment of a sweep.

    Attributes:
        trials: of the whole sweep; `done` ended well, `failed` did not, `pruned` were stopped; `left` are yet to end.
        driver: who writes here (process and host), or None: the sweep has ended or was cut short.
        per_minute: trials that the last driver finished, by its own monotonic clock; None before its first batch.
        seconds_left: at that rate.
        epochs_saved: share of the epochs asked that sharing has made needless.
        best: gain and policy of the best trial of the last driver's call.
        last_batch: when it was stored (UTC), its trials and its seconds of work.
        pinned: device, backends and versions that a resume keeps.
        storage: the database through which the last driver shared the sweep with others, without its password.
        commit: of hill-sim at the last start, if it ran from a checkout.
        resume: the command that goes on; empty if nothing is left to do.
    """

    folder: str
    trials: int
    done: int
    failed: int
    pruned: int
    left: int
    driver: str | None
    per_minute: float | None
    seconds_left: float | None
    epochs_saved: float | None
    best: dict[str, Any] | None
    last_batch: dict[str, Any] | None
    pinned: dict[str, Any]
    storage: str
    commit: str
    resume: str


def status(folder: Path) -> Status:
    """Read how a sweep stands; changes nothing.

    Raises:
        InvalidInput: not a run folder, or results that cannot be read.
    """
    spec = read_spec(folder)
    driver = writer(folder)
    if not (folder / RESULTS).is_file():
        return _status(folder, _trials(spec), {}, driver, {}, {}, None)
    with ResultStore(folder / RESULTS, readonly=True) as store:
        total = store.meta("total")
        names = ("progress", "pinned", "storage", "commit")
        notes = {name: store.meta(name) or "" for name in names}
        trials = int(total) if total else _trials(spec)
        return _status(folder, trials, store.counts(), driver, notes, store.totals(), store.last_batch())


def _trials(spec: SweepSpec) -> int:
    """Of a sweep that no driver has counted yet."""
    return spec.search.candidates * len(spec.seeds) if spec.search else len(expand(spec))


def _status(
    folder: Path,
    trials: int,
    counts: dict[str, int],
    driver: str | None,
    notes: dict[str, str],
    totals: dict[str, float],
    last: dict[str, Any] | None,
) -> Status:
    left = trials - sum(counts.values())
    progress = json.loads(notes.get("progress") or "{}")
    rate = progress["ran"] / progress["seconds"] if progress.get("ran") and progress.get("seconds") else None
    asked = totals.get("epochs_asked")
    return Status(
        folder=str(folder),
        trials=trials,
        done=counts.get("done", 0),
        failed=counts.get("failed", 0),
        pruned=counts.get("pruned", 0),
        left=left,
        driver=driver,
        per_minute=60 * rate if rate else None,
        seconds_left=left / rate if rate and left > 0 else None,
        epochs_saved=1 - totals["epochs_run"] / asked if asked else None,
        best=progress.get("best"),
        last_batch=last,
        pinned=json.loads(notes.get("pinned") or "{}"),
        storage=notes.get("storage", ""),
        commit=notes.get("commit", ""),
        resume=f"hill-sim sweep {shlex.quote(str(folder))}{_option(notes)}" if left > 0 and driver is None else "",
    )


def _option(notes: dict[str, str]) -> str:
    return f" --storage {notes['storage']}" if notes.get("storage") else ""
