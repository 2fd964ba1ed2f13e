"""The system clock set back while a sweep runs: for driver and workers, through libfaketime."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from fault_support import LONGER, TRIALS, kill_9, longer, start, stored, uninterrupted, wait_for
from sweep_support import assert_same_results, write_yaml

from hill_sim.cli import main
from hill_sim.sweep.folder import RESULTS

pytestmark = [pytest.mark.faults, pytest.mark.slow]

LIBRARY = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)


@pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed (Debian: apt-get install faketime)")
def test_the_clock_may_be_set_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By a day, then by a year; the monotonic clock goes on, as it does when an administrator sets the date."""
    dial, spec, folder = tmp_path / "dial", write_yaml(tmp_path / "longer.yaml", **LONGER), tmp_path / "run"
    environment = {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(dial),
        "FAKETIME_CACHE_DURATION": "1",  # seconds, after which it looks at the dial again
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",  # what was written before the clock was set back is of the future now
    }
    dial.write_text("+0")
    first = start(spec, folder, environment=environment)
    wait_for(lambda: stored(folder) > 0, first)
    dial.write_text("-1d")
    kept = stored(folder)
    wait_for(lambda: stored(folder) > kept, first)
    kill_9(first)
    kept = stored(folder)
    dial.write_text("-365d")
    second = start(spec, folder, environment=environment)
    out, err = second.communicate(timeout=300)
    assert second.returncode == 0, err
    assert f"{TRIALS} of {TRIALS} trials finished, {TRIALS - kept} run now" in out
    assert main(["status", str(folder)]) == 0
    assert f"{TRIALS} done" in capsys.readouterr().out
    with sqlite3.connect(folder / RESULTS) as db:
        (days,) = db.execute("SELECT julianday(max(finished)) - julianday(min(finished)) FROM batches").fetchone()
    db.close()
    assert 364 < days < 366, "the clock was never set back"
    assert_same_results(folder, uninterrupted(tmp_path / "whole", longer()))
