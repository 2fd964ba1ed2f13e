"""A task's data on their way through runs and sweeps: changed files are noticed, other data refused, notes said."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from hill_sim import Trial, simulate
from hill_sim.cli.main import main
from hill_sim.engine import plan
from hill_sim.errors import InvalidInput
from hill_sim.report import leaderboard_text
from hill_sim.sweep import SweepSpec, load_results, run_sweep
from hill_sim.tasks import load_task
from hill_sim.trial import Options

LOADER = """
import numpy as np, torch
from hill_sim.tasks import Card, Recipe, Split, Task
from hill_sim.tasks.user_file import user_file

def load(path):
    x = torch.from_numpy(np.load(user_file(path, "path"))).float()
    split = Split(x, torch.arange(len(x)) % 2)
    card = Card(title="Blobs", input="2 numbers", note="made up, proves nothing")
    return Task("blobs", split, split, split, ("a", "b"), Recipe(model_options={"hidden": (4,)}), card=card)
"""


@pytest.fixture
def blobs(tmp_path: Path) -> Trial:
    (tmp_path / "blobs.py").write_text(LOADER)
    _write(tmp_path / "x.npy", 0)
    options = {"path": str(tmp_path / "x.npy")}
    return Trial(task=f"{tmp_path / 'blobs.py'}:load", task_options=options, epochs=2, interactions=(1,))


def _write(path: Path, seed: int) -> None:
    """Same size, another content, and a time that differs however coarse the clock is."""
    np.save(path, np.random.default_rng(seed).normal(size=(20, 2)))
    os.utime(path, ns=(seed, seed))


def _file(trial: Trial) -> Path:
    return Path(trial.task_options["path"])


def test_a_file_that_changes_between_two_calls_is_read_again(blobs: Trial, caplog: pytest.LogCaptureFixture) -> None:
    first = simulate([blobs]).results[0]
    task = load_task(blobs.task, Options(blobs.task_options))
    plan([blobs])
    assert load_task(blobs.task, Options(blobs.task_options)) is task
    assert "has changed" not in caplog.text
    _write(_file(blobs), 1)
    assert load_task(blobs.task, Options(blobs.task_options)) is task, "a run under way keeps its data"
    second = simulate([blobs]).results[0]
    assert f"{_file(blobs)} has changed, loaded again" in caplog.text
    assert first.epochs["train_loss"] != second.epochs["train_loss"]
    _write(_file(blobs), 0)
    assert simulate([blobs]).results[0].epochs["train_loss"] == first.epochs["train_loss"]


def test_a_file_that_grows_between_two_calls_is_checked_again(blobs: Trial) -> None:
    """Its columns are new as well, so whatever was found out about the model has to be found out again."""
    simulate([blobs])
    np.save(_file(blobs), np.random.default_rng(0).normal(size=(30, 5)))
    result = simulate([blobs]).results[0]
    assert (result.outcome.status, len(result.predictions)) == ("done", 30)
    _file(blobs).unlink()
    with pytest.raises(InvalidInput, match="no file"):
        simulate([blobs])


def test_a_sweep_refuses_to_go_on_with_other_data(blobs: Trial, tmp_path: Path) -> None:
    given = {name: value for name, value in blobs.to_dict().items() if name in ("task", "task_options", "epochs")}
    sweep = SweepSpec.model_validate(
        {"question": "?", "name": "blobs", "seeds": 2, "policies": ["hold"], "fixed": {**given, "interactions": [1]}}
    )
    folder = tmp_path / "run"
    run_sweep(sweep, folder, workers=1, progress=False, simulate=simulate)
    assert run_sweep(sweep, folder, workers=1, progress=False, simulate=simulate).ran == 0
    _write(_file(blobs), 1)
    with pytest.raises(
        InvalidInput, match=r"task .*blobs\.py:load .*: other data \(fingerprint \w{16}\) than"
    ) as caught:
        run_sweep(sweep, folder, workers=1, progress=False, simulate=simulate)
    assert "\n" not in str(caught.value)
    _write(_file(blobs), 0)
    assert run_sweep(sweep, folder, workers=1, progress=False, simulate=simulate).ran == 0
    assert "made up, proves nothing" in " ".join(leaderboard_text(load_results(folder)).split())


def test_a_tasks_note_is_said_beside_its_numbers(blobs: Trial, capsys: pytest.CaptureFixture[str]) -> None:
    path = blobs.task_options["path"]
    arguments = ["run", "--task", blobs.task, "--set", f"task_options.path={path}", "--epochs", "2", "--seeds", "1"]
    assert main([*arguments, "--set", "interactions=[1]"]) == 0
    assert f"about the data of {blobs.task}: made up, proves nothing" in capsys.readouterr().out
    assert simulate([Trial(epochs=1, interactions=())]).info["notes"] == {}
