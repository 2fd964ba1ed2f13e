"""What a search found, as a table, on a page and in a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from search_support import Formula, searched

from hill_sim.errors import InvalidInput
from hill_sim.report import leaderboard_text, write_report
from hill_sim.risk.statistics import bootstrap_interval, interquartile_mean
from hill_sim.sweep import load_candidates, load_outcomes, load_results, run_sweep
from hill_sim.sweep.search.study import read_study
from hill_sim.sweep.search.table import best, importances


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("single") / "searched"
    spec = searched(seeds=4, prune={"startup": 10}, feasible=["negative_flips <= 0.07"])
    run_sweep(spec, folder, simulate=Formula(), progress=False)
    return folder


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("several") / "searched"
    spec = searched(seeds=1, sampler="nsga2", objectives=["gain", "negative_flips"])
    run_sweep(spec, folder, simulate=Formula(), progress=False)
    return folder


@pytest.mark.slow
def test_the_table_says_what_the_study_says(single: Path) -> None:
    table, study = load_candidates(single), read_study(single)
    outcomes = load_outcomes(single).set_index("key")
    assert len(table) == 40
    for row, trial in zip(table.to_dict("records"), study.trials, strict=True):
        assert (row["candidate"], row["generation"]) == (trial.number, trial.user_attrs["generation"])
        assert row["state"] == {"COMPLETE": "complete", "PRUNED": "pruned"}[trial.state.name]
        assert {place: row[place] for place in trial.params} == trial.params
        if row["state"] == "complete":
            gains = outcomes.loc[trial.user_attrs["trials"], "gain"].to_numpy()
            assert row["gain"] == trial.value == interquartile_mean(gains)
            assert (row["gain low"], row["gain high"]) == pytest.approx(bootstrap_interval(np.sort(gains)))
            assert row["feasible"] == (row["alpha"] <= 0.7)
        else:
            assert np.isnan([row["gain"], row["gain low"]]).all()


@pytest.mark.slow
def test_the_best_are_feasible_and_in_order(single: Path) -> None:
    search = searched(feasible=["negative_flips <= 0.07"]).search
    assert search is not None
    found = best(load_candidates(single), search)
    assert found["gain"].is_monotonic_decreasing
    assert (found["alpha"] <= 0.7).all()
    shares = importances(load_candidates(single), search)
    assert shares["importance"].sum() == pytest.approx(1)


def test_the_front_is_what_optuna_says(several: Path) -> None:
    search = searched(sampler="nsga2", objectives=["gain", "negative_flips"]).search
    assert search is not None
    front = best(load_candidates(several), search)
    theirs = {json.dumps(trial.params, sort_keys=True) for trial in read_study(several).best_trials}
    ours = {json.dumps(row, sort_keys=True) for row in front[list(search.space)].to_dict("records")}
    assert ours == theirs


@pytest.mark.slow
def test_page_and_terminal(single: Path, several: Path) -> None:
    page = write_report(single).read_text()
    for heading in (
        "How did the search go?",
        "Which parameters matter?",
        "Where are the good ones?",
        "part of it is luck",
    ):
        assert heading in page
    assert "Who helps, and" not in page
    assert "What can be had at the price of what?" in write_report(several).read_text()
    text = leaderboard_text(load_results(single))
    assert text.isascii()
    assert all(len(line) <= 100 for line in text.splitlines())
    assert "Best: candidate" in text
    assert "[one seed]" in leaderboard_text(load_results(several))


@pytest.mark.slow
def test_a_search_that_found_nothing_says_so(tmp_path: Path) -> None:
    run_sweep(searched(candidates=10, feasible=["gain >= 0.9"]), tmp_path / "run", simulate=Formula(), progress=False)
    assert "No candidate is feasible: none keeps the bounds." in leaderboard_text(load_results(tmp_path / "run"))
    assert "No candidate is feasible" in write_report(tmp_path / "run").read_text()


def test_a_grid_has_no_candidates(tmp_path: Path) -> None:
    spec = searched()
    grid = type(spec).model_validate({"name": "grid", "fixed": dict(spec.fixed) | {"interactions": [2, 4]}})
    run_sweep(grid, tmp_path / "run", simulate=Formula(), progress=False)
    with pytest.raises(InvalidInput, match="no search ran here"):
        load_candidates(tmp_path / "run")
