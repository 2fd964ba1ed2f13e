"""The sweep benchmark runs, and its stub leaves what the engine leaves."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from hill_sim.bench.sweep import SweepBench, grid, main, sobol, stub
from hill_sim.errors import InvalidInput
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
    assert (table[["driver_seconds", "resume_seconds", "libraries_mib", "peak_memory_mib"]] > 0).all().all()


def test_the_searched_sweep_is_one_that_can_run(tmp_path: Path) -> None:
    summary = run_sweep(sobol(100), tmp_path, workers=2, backend="bmm", simulate=stub, progress=False)
    assert (summary.trials, summary.finished, summary.failed) == (100, 100, [])


@pytest.mark.slow
def test_executors_are_compared_on_one_sweep(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    table = main(SweepBench(cases=("executors",), spread=120))
    assert table["trials"].tolist() == [120] * 3
    assert table["executor"].tolist() == ["local", "local", "ray"]
    one, two, ray = table["clock_seconds"]
    assert table["speed_ratio"].tolist()[1:] == pytest.approx([one / two, one / ray])
    assert table["overhead"].iloc[2] == pytest.approx(ray / two - 1)
    assert (table["first_batch_seconds"] < table["clock_seconds"]).all()
    assert table["not_training_seconds"].between(0, table["clock_seconds"], inclusive="neither").all()


def test_an_unknown_case_is_named() -> None:
    with pytest.raises(InvalidInput, match="unknown 'serach'; did you mean 'search'"):
        main(SweepBench(cases=("serach",)))
