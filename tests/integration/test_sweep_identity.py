"""Results of two sweeps, or of two versions of a user's code, never stand in one table unseen."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sweep_support import BROKEN, TRIALS, assert_same_results, tiny

from hill_sim.cli import main
from hill_sim.engine import RunSet, simulate
from hill_sim.errors import InvalidInput
from hill_sim.sweep import load_outcomes, run_sweep
from hill_sim.sweep.folder import PREFIXES, RESULTS, SPEC
from hill_sim.sweep.identity import fingerprints
from hill_sim.trial import Trial

MINE = """
class Mine:
    def edit(self, view, rng):
        from hill_sim import Edit, ScaleClass
        return Edit([ScaleClass(0, {factor})])
"""


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference") / "tiny"
    run_sweep(tiny(), folder, simulate=simulate)
    return folder


def only(count: int) -> Any:
    """An engine that runs `count` batches, then the power goes out."""
    left = iter(range(count))

    def run(trials: Sequence[Trial], **options: Any) -> RunSet:
        if next(left, None) is None:
            raise SystemExit("the power went out")
        return simulate(trials, **options)

    return run


def test_results_of_another_sweep_are_refused_and_stay(reference: Path, tmp_path: Path) -> None:
    other = tiny(seeds=[2, 3])
    run_sweep(other, tmp_path / "run", simulate=simulate)
    shutil.copy(reference / RESULTS, tmp_path / "run")
    with pytest.raises(
        InvalidInput, match=r"results.sqlite: holds the results of another sweep: seeds.0 is 0 there and 2"
    ):
        run_sweep(other, tmp_path / "run", simulate=simulate)
    assert load_outcomes(tmp_path / "run").equals(load_outcomes(reference))


def test_a_spec_edited_by_hand_is_refused(reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(reference, tmp_path / "run")
    text = (tmp_path / "run" / SPEC).read_text()
    (tmp_path / "run" / SPEC).write_text(text.replace("0.7", "0.8"))
    assert main(["sweep", str(tmp_path / "run"), "--no-report"]) == 2
    assert "holds the results of another sweep: grid.alpha.1 is 0.7 there and 0.8 here" in capsys.readouterr().err
    (tmp_path / "run" / SPEC).write_text(text)
    assert run_sweep(tiny(), tmp_path / "run", simulate=simulate).ran == 0


def test_an_extension_that_was_cut_short_goes_on(reference: Path, tmp_path: Path) -> None:
    """The folder says already that it holds the larger sweep, the results do not."""
    shutil.copytree(reference, tmp_path / "run")
    larger = tiny(seeds=3)
    run_sweep(larger, tmp_path / "larger", simulate=simulate)
    shutil.copy(tmp_path / "larger" / SPEC, tmp_path / "run" / SPEC)
    assert run_sweep(larger, tmp_path / "run", simulate=simulate).ran == TRIALS // 2
    assert_same_results(tmp_path / "run", tmp_path / "larger")


@pytest.mark.slow
def test_code_that_changed_since_is_refused(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(MINE.format(factor=0.5))
    spec = tiny(policies=["compactness", f"{mine}:Mine"], seeds=40)
    with pytest.raises(SystemExit):
        run_sweep(spec, tmp_path / "run", simulate=only(1))
    mine.write_text(MINE.format(factor=0.9))
    with pytest.raises(InvalidInput, match=r"mine.py: its code has changed since this sweep began.*--retry-failed"):
        run_sweep(spec, tmp_path / "run", simulate=simulate)
    mine.write_text(MINE.format(factor=0.5))
    run_sweep(spec, tmp_path / "run", simulate=simulate)
    run_sweep(spec, tmp_path / "whole", simulate=simulate)
    assert_same_results(tmp_path / "run", tmp_path / "whole")


def test_code_that_was_mended_runs_what_failed_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(BROKEN)
    spec = tiny(policies=["compactness", f"{mine}:Broken"], grid={"alpha": [0.5]})
    assert len(run_sweep(spec, tmp_path / "run", simulate=simulate).failed) == 2
    (tmp_path / "run" / PREFIXES).mkdir()
    mine.write_text(BROKEN.replace("if view.history", "if False"))
    os.utime(mine, ns=(0, 0))
    summary = run_sweep(spec, tmp_path / "run", simulate=simulate, retry_failed=True)
    assert (summary.ran, summary.failed) == (2, [])
    assert "mine.py: its code has changed" in caplog.text
    assert set(load_outcomes(tmp_path / "run")["status"]) == {"done"}
    assert run_sweep(spec, tmp_path / "run", simulate=simulate).ran == 0


def test_only_code_of_ones_own_has_a_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "users").mkdir()
    for name in ("users/__init__.py", "users/one.py", "single.py"):
        (tmp_path / name).write_text("x = 1")
    names = ["single.py:x", "users.one:X", "single:X", "gone.py:X", "gone:X", "..:X", "json:X", "torch.nn:Linear",
             "hill_sim.strategies.hold:Hold", "compactness", "recorded:a/b.jsonl"]  # fmt: skip
    assert set(fingerprints(names)) == {"single.py", "users.one", "single"}
