"""A sweep long enough to be hit, and what it takes to hit it at a moment that was seen, not waited for."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sweep_support import TINY, tiny

from hill_sim.engine import simulate
from hill_sim.errors import HillError, InvalidInput
from hill_sim.sweep import SweepSpec, run_sweep
from hill_sim.sweep.folder import RESULTS
from hill_sim.sweep.store import ResultStore

FULL = os.environ.get("HILL_SIM_FAULTS") == "full"
"""`make test-faults`; a short form otherwise."""

LONGER: dict[str, Any] = {
    "grid": {"alpha": [0.3, 0.7], "lam": [i / 10 for i in range(16)]},
    "policies": ["compactness", "separation"],
    "seeds": 8,
    "fixed": {**TINY["fixed"], "epochs": 4, "interactions": [1]},
}
TRIALS = 512  # in eight batches: two workers have four of them when the first is seen to be stored


def longer(**changes: Any) -> SweepSpec:
    return tiny(**{**LONGER, **changes})


def uninterrupted(folder: Path, spec: SweepSpec) -> Path:
    """The same sweep in one go, in this process. A backend by name: "auto" chooses by time, and so other last bits."""
    run_sweep(spec, folder, backend="bmm", simulate=simulate)
    return folder


def start(
    spec: Path, out: Path, *arguments: str, workers: int = 2, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """The command line, in a process group of its own, as a terminal starts it."""
    command = [sys.executable, "-m", "hill_sim.cli", "sweep", str(spec), "--out", str(out), "--no-report"]
    command += ["--backend", "bmm", "--workers", str(workers), *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip


FORKS = multiprocessing.get_context("forkserver")
"""Drivers that need no command line: each is a process of its own, forked from one that has imported everything."""
FORKS.set_forkserver_preload(
    ["hill_sim.engine.simulation", "hill_sim.sweep.run", "pyarrow.parquet", "sklearn.datasets"]
)


def drive(folder: Path, changes: Mapping[str, Any]) -> None:
    """The target of such a process: a sweep whose batches it trains itself. A refusal is its exit status."""
    spec = tiny(**changes)
    try:
        run_sweep(spec, folder, backend="bmm", simulate=simulate, progress=False)
    except HillError as error:
        sys.exit(str(error))


def kill_9(driver: subprocess.Popen[str]) -> None:
    """The driver is gone; its workers follow by themselves."""
    workers = children(driver.pid)
    driver.kill()
    driver.communicate()
    wait_for_death(workers)


def kill_again_and_again(spec: Path, folder: Path, kills: int, last: int) -> None:
    """Each kill comes a random moment after a random number of trials, up to `last`, was seen in the store."""
    rng = np.random.default_rng(0)
    for target in sorted(rng.integers(0, last, kills).tolist()):
        driver = start(spec, folder, workers=1 + int(rng.integers(2)))
        wait_for(partial(_holds, folder, target), driver)
        with contextlib.suppress(subprocess.TimeoutExpired):
            driver.wait(timeout=rng.uniform(0, 1.5))
        kill_9(driver)


def _holds(folder: Path, target: int) -> bool:
    return stored(folder) >= target


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str] | None, seconds: float = 300) -> None:
    """Until something is seen; the process may not end before."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.01)


def stored(folder: Path) -> int:
    """How many trials the folder holds by now."""
    if not (folder / RESULTS).exists():
        return 0
    try:
        with ResultStore(folder / RESULTS, readonly=True) as store:
            return len(store.finished())
    except InvalidInput:  # being made at this moment
        return 0


def times_stored(folder: Path) -> int:
    """How many trials all batches had together: a trial that was stored twice counts twice."""
    with sqlite3.connect(f"file:{folder / RESULTS}?mode=ro", uri=True) as db:
        (count,) = db.execute("SELECT sum(trials) FROM batches").fetchone()
    db.close()
    return int(count)


def children(pid: int) -> list[int]:
    """None once it has ended."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(child) for child in found.split()]


def wait_for_death(pids: Sequence[int], seconds: float = 60) -> None:
    """Workers end by themselves when their driver is gone, in the middle of a batch too."""
    deadline = time.monotonic() + seconds
    for pid in pids:
        while _lives(pid):
            assert time.monotonic() < deadline, f"worker {pid} lives on without its driver"
            time.sleep(0.01)


def _lives(pid: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
