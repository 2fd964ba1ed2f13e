"""Drivers that are killed while they make or close their folder, or that start at the same instant."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fault_support import FORKS, FULL, drive, stored, uninterrupted
from sweep_support import TRIALS, assert_same_results, tiny

from hill_sim.engine import RunSet, simulate
from hill_sim.errors import HillError
from hill_sim.sweep import run_sweep
from hill_sim.sweep.folder import RESULTS, SPEC, TABLE
from hill_sim.trial import Trial

pytestmark = [pytest.mark.faults, pytest.mark.slow]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return uninterrupted(tmp_path_factory.mktemp("whole") / "tiny", tiny())


@pytest.mark.parametrize("seen", [".", f"{SPEC}.part", SPEC, RESULTS, f"{RESULTS}-wal", f"{TABLE}.part", TABLE])
def test_kill_9_while_the_folder_is_made_or_the_table_written(seen: str, tmp_path: Path, whole: Path) -> None:
    """A random moment after a file was seen for the first time."""
    rng = np.random.default_rng(0)
    for number in range(20 if FULL else 2):
        folder = tmp_path / str(number)
        driver = FORKS.Process(target=drive, args=(folder, {}))
        driver.start()
        while not (folder / seen).exists() and driver.is_alive():
            time.sleep(0.0005)
        time.sleep(rng.exponential(0.005))
        driver.kill()
        driver.join()
        run_sweep(tiny(), folder, backend="bmm", simulate=simulate, progress=False)
        assert stored(folder) == TRIALS
        assert_same_results(folder, whole)
        assert (folder / TABLE).is_file()


def one_of_three(folder: Path, together: Any, refused: Any, note: Path) -> None:
    """A driver that begins with two others, and trains when both of them have been refused."""

    def patient(trials: Sequence[Trial], **options: Any) -> RunSet:
        if not trained:
            assert refused.acquire(timeout=120)
            assert refused.acquire(timeout=120)
        trained.append(len(trials))
        return simulate(trials, **options)

    trained: list[int] = []
    together.wait()
    try:
        run_sweep(tiny(), folder, backend="bmm", simulate=patient, progress=False)
    except HillError as error:
        note.write_text(str(error))
        refused.release()
        sys.exit(2)


def test_of_drivers_that_start_at_the_same_instant_one_runs(tmp_path: Path, whole: Path) -> None:
    for attempt in range(20 if FULL else 3):
        folder = tmp_path / f"run {attempt}"
        together, refused = FORKS.Barrier(3), FORKS.Semaphore(0)
        drivers = [
            FORKS.Process(target=one_of_three, args=(folder, together, refused, tmp_path / f"{attempt} {number}"))
            for number in range(3)
        ]
        for driver in drivers:
            driver.start()
        for driver in drivers:
            driver.join()
        (first,) = [driver for driver in drivers if driver.exitcode == 0]
        refusals = [path.read_text() for path in tmp_path.glob(f"{attempt} *")]
        assert (
            refusals
            == [f"{folder}: another hill-sim (process {first.pid} on {platform.node()}) is running this sweep"] * 2
        )
        assert_same_results(folder, whole)
