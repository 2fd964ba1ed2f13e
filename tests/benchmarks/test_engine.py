"""`hill-sim bench engine`: its baselines train, its cases are what they are called, its input is checked."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from hill_sim.bench import baselines
from hill_sim.bench.engine import CASES
from hill_sim.cli.main import main
from hill_sim.registry import STRATEGIES
from hill_sim.tasks import Recipe, Split, Task
from hill_sim.trial import Trial

FEW = ["--set", "train_per_class=2", "--strategies", "1"]


@pytest.mark.slow
def test_cases_are_as_large_as_they_say() -> None:
    sizes = {name: len(make(Trial(), list(STRATEGIES))) for name, make in CASES.items()}
    assert sizes == {"population": 64, "grid": 216, "tree": 1296, "planning": 10_000}
    assert len(CASES["tree"](Trial(), ["hold", "swap"])) == 16


@pytest.mark.slow
def test_a_short_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "engine.csv"
    assert main(["bench", "engine", *FEW, "--cases", "tree", "--out", str(out)]) == 0
    table = pd.read_csv(out)
    assert table["task"].tolist() == ["digits train_per_class=2"]
    assert (table[["usual_ratio", "lean_ratio", "seconds", "epochs_run"]] > 0).all(axis=None)
    assert (table["trials"].item(), table["epochs_asked"].item(), table["epochs_run"].item()) == (1, 45, 65)
    assert "x usual" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cases", "gird"], "cases: unknown 'gird'; did you mean 'grid'?"),
        (["--strategies", "7"], "strategies: 7 is not in 1..6"),
        (["--set", "label_noise"], "--set: 'label_noise' is not of the form a.b=value"),
        (["--set", "label_nois=0.1"], "unknown 'label_nois'; did you mean 'label_noise'?"),
        (["--task", "digit"], "task: unknown 'digit'; did you mean 'digits'?"),
    ],
    ids=str,
)
def test_bad_input_is_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "engine", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("loop", [baselines.usual, baselines.lean])
def test_baselines_train_images_with_crops_and_flips(loop: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red, green and blue, which no crop or flip can hide."""
    g = torch.Generator().manual_seed(0)
    y = torch.arange(48) % 3
    colours = torch.eye(3)[y][:, :, None, None]
    split = Split(0.3 * torch.randn(48, 3, 8, 8, generator=g) + colours, y)
    recipe = Recipe("small_cnn", batch_size=16, lr=1e-2, augment="crop-flip")
    task = Task("blots", split, split, split, ("a", "b", "c"), recipe)
    trial = Trial(model="small_cnn", batch_size=16, lr=1e-2, augment="crop-flip")
    made = []
    build = baselines.build_model
    monkeypatch.setattr(baselines, "build_model", lambda *given: made.append(build(*given)) or made[-1])
    torch.manual_seed(0)
    loop(trial, task, 10)  # type: ignore[operator]
    with torch.no_grad():
        assert float((made[0](split.x)[0].argmax(1) == y).double().mean()) > 0.9
