"""The sweep benchmark runs, and its stub leaves what the engine leaves."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from hill_sim.bench.sweep import SweepBench, grid, main, stub
from hill_sim.sweep import load_results, run_sweep


def test_the_stub_leaves_results_of_the_usual_kind(tmp_path: Path) -> None:
    summary = run_sweep(grid(120), tmp_path, workers=2, backend="bmm", simulate=stub, progress=False)
    assert (summary.trials, summary.ran, summary.failed) == (120, 120, [])
    result = load_results(tmp_path).results[0]
    assert len(result.epochs["test_loss"]) == 45
    assert len(result.interactions) == 4
    assert len(result.predictions) == 360


@pytest.mark.slow
def test_scale_is_measured_and_written(tmp_path: Path) -> None:
    main(SweepBench(cases=("scale",), trials=(120, 240), out=tmp_path / "sweep.csv"))
    table = pd.read_csv(tmp_path / "sweep.csv")
    assert table["trials"].tolist() == [120, 240]
    assert (table[["seconds", "resume_seconds", "peak_memory_mib"]] > 0).all().all()
