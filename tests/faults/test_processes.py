"""Drivers and workers killed, stopped and poisoned: the same command goes on, and the table is the same to the bit."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest
from fault_support import (
    FULL,
    LONGER,
    TRIALS,
    children,
    kill_again_and_again,
    longer,
    start,
    stored,
    times_stored,
    uninterrupted,
    wait_for,
    wait_for_death,
)
from sweep_support import assert_same_results, tiny, write_yaml

from hill_sim.cli import main
from hill_sim.engine import simulate
from hill_sim.sweep import load_outcomes, run_sweep

pytestmark = [pytest.mark.faults, pytest.mark.slow]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return uninterrupted(tmp_path_factory.mktemp("whole") / "tiny", longer())


def test_kill_9_of_the_driver_again_and_again(tmp_path: Path) -> None:
    changes = {**LONGER, "seeds": 24 if FULL else 6}
    spec, folder, total = write_yaml(tmp_path / "longer.yaml", **changes), tmp_path / "killed", 64 * changes["seeds"]
    kill_again_and_again(spec, folder, kills=20 if FULL else 3, last=total - 192)
    kept = stored(folder)
    summary = run_sweep(tiny(**changes), folder, backend="bmm", workers=2)
    assert summary.ran == total - kept
    assert times_stored(folder) == total
    assert_same_results(folder, uninterrupted(tmp_path / "whole", tiny(**changes)))


@pytest.mark.parametrize("killed", [1, 2] if FULL else [2])
def test_kill_9_of_one_or_all_workers_costs_only_their_batches(killed: int, tmp_path: Path, whole: Path) -> None:
    driver = start(write_yaml(tmp_path / "longer.yaml", **LONGER), tmp_path / "killed")
    wait_for(lambda: stored(tmp_path / "killed") > 0, driver)
    for worker in children(driver.pid)[:killed]:
        os.kill(worker, signal.SIGKILL)
    out, err = driver.communicate(timeout=120)
    assert driver.returncode == 0, err
    assert f"{TRIALS} of {TRIALS} trials finished" in out
    assert_same_results(tmp_path / "killed", whole)


def test_ctrl_c_ends_the_batch_in_flight_and_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    driver = start(write_yaml(tmp_path / "longer.yaml", **LONGER), tmp_path / "stopped", workers=1)
    wait_for(lambda: stored(tmp_path / "stopped") > 0, driver)
    before = stored(tmp_path / "stopped")
    driver.send_signal(signal.SIGINT)
    out, err = driver.communicate(timeout=120)
    assert driver.returncode == 130, err
    assert f"to go on: hill-sim sweep {tmp_path / 'stopped'}" in err
    assert "Traceback" not in err
    done = int(re.search(rf"(\d+) of {TRIALS} trials finished", out)[1])  # type: ignore[index]
    assert before <= done < TRIALS
    assert done == stored(tmp_path / "stopped")
    assert main(["sweep", str(tmp_path / "stopped"), "--no-report", "--json", "--workers", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["ran"] == TRIALS - done


def test_ctrl_c_twice_stops_at_once_and_leaves_no_process(tmp_path: Path) -> None:
    driver = start(write_yaml(tmp_path / "longer.yaml", **LONGER), tmp_path / "stopped")
    wait_for(lambda: stored(tmp_path / "stopped") > 0, driver)
    workers = children(driver.pid)
    driver.send_signal(signal.SIGINT)
    assert driver.stderr is not None
    while "Ctrl-C again stops at once" not in (line := driver.stderr.readline()):
        assert line, "it never said so"
    driver.send_signal(signal.SIGINT)
    _, err = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert f"to go on: hill-sim sweep {tmp_path / 'stopped'}" in err or "goes on with the same command" in err
    wait_for_death(workers)


POISON = """
import os
class Deadly:
    def edit(self, view, rng):
        os._exit(3)
"""


def test_a_trial_that_kills_its_workers_is_named_and_the_rest_is_done(tmp_path: Path) -> None:
    (tmp_path / "poison.py").write_text(POISON)
    deadly = {"label": "deadly", "policy": f"{tmp_path}/poison.py:Deadly"}
    spec = tiny(policies=["compactness", "separation", deadly], grid={"alpha": [0.5]}, seeds=1)
    summary = run_sweep(spec, tmp_path / "new", backend="bmm", workers=1)
    assert (summary.finished, summary.interrupted) == (3, False)
    ((label, _, why),) = summary.failed
    assert (label, why) == ("deadly", "3 workers died over this trial, the last one exit status 3")
    without = tiny(policies=["compactness", "separation"], grid={"alpha": [0.5]}, seeds=1)
    healthy = uninterrupted(tmp_path / "healthy", without)
    table, expected = load_outcomes(tmp_path / "new"), load_outcomes(healthy)
    done = table[table["status"] == "done"].set_index("key")["test_loss"]
    assert done.to_dict() == expected.set_index("key")["test_loss"].to_dict()


FAULTY = """
from torch import nn

class Faulty(nn.Sequential):
    '''Raises after a while, whoever trains it.'''

    def __init__(self, input_shape, n_classes):
        super().__init__(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, n_classes))
        self.calls = 0

    def forward(self, x):
        self.calls += self.training
        if self.calls > 40:
            raise ArithmeticError("a sensor broke")
        return super().forward(x)
"""


def test_an_exception_in_training_ends_its_trials_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text(FAULTY)
    cases = [{"name": "ours"}, {"name": "theirs", "fixed": {"model": f"{tmp_path}/faulty.py:Faulty"}}]
    spec = tiny(policies=["compactness"], grid={"alpha": [0.5]}, seeds=2, cases=cases)
    summary = run_sweep(spec, tmp_path / "new", backend="loop", workers=1)
    table = load_outcomes(tmp_path / "new")
    assert table.groupby("case")["status"].unique().map(list).to_dict() == {"ours": ["done"], "theirs": ["failed"]}
    assert {why for _, _, why in summary.failed} == {"ArithmeticError: a sensor broke"}
    assert run_sweep(spec, tmp_path / "new", simulate=simulate).ran == 0, "a failure is a finished trial"
