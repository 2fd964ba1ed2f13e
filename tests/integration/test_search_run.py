"""Searches: the same table whatever happened on the way, and a study that Optuna's own tools can read."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from search_support import Formula, journal_of, same_table, searched

from hill_sim.errors import HillError, InvalidInput
from hill_sim.sweep import load_outcomes, run_sweep
from hill_sim.sweep.folder import RESULTS
from hill_sim.sweep.search.study import JOURNAL, read_study
from hill_sim.sweep.status import status
from hill_sim.sweep.store import ResultStore

SAMPLERS = ("random", "qmc", "tpe", "nsga2", "nsga3")


def run(folder: Path, formula: Formula | None = None, workers: int = 1, **changes: Any) -> Formula:
    formula = formula or Formula()
    run_sweep(searched(**changes), folder, workers=workers, simulate=formula, progress=False)
    return formula


def run_cut_short(folder: Path, cuts: Sequence[int], workers: int, **changes: Any) -> list[str]:
    """The same search until it ends, the power going out after so many calls each time; the keys of what it trained."""
    trained: list[str] = []
    for calls in cuts:
        formula = Formula(calls=calls)
        try:
            run(folder, formula, workers=workers, **changes)
        except SystemExit:
            trained += formula.trained
        else:
            trained += formula.trained
            break
    return trained


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference") / "searched"
    run(folder)
    return folder


def test_every_candidate_is_recorded_with_what_it_came_to(reference: Path) -> None:
    study = read_study(reference)
    assert study.directions == [optuna.study.StudyDirection.MAXIMIZE]
    assert [trial.number for trial in study.trials] == list(range(40))
    assert [trial.user_attrs["generation"] for trial in study.trials] == [i // 10 for i in range(40)]
    outcomes = load_outcomes(reference).set_index("key")
    for trial in study.trials:
        gains = outcomes.loc[trial.user_attrs["trials"], "gain"]
        assert trial.state == optuna.trial.TrialState.COMPLETE
        assert trial.value == pytest.approx(gains.mean(), abs=1e-15)  # the iqm of two seeds
        assert trial.params["alpha"] + trial.params["lam"] < 1.2
        assert list(trial.intermediate_values) == json.loads(trial.params["interactions"])
    assert outcomes["alpha"].between(0.1, 0.9).all()
    assert all(list(seeds) == [0, 1] for _, seeds in outcomes.groupby(["alpha", "lam"])["seed"])


def test_the_search_finds_the_optimum(reference: Path) -> None:
    late = [trial.params["alpha"] for trial in read_study(reference).trials[20:]]
    assert sum(0.45 < alpha < 0.75 for alpha in late) >= 12  # 6 of 20 by chance


def test_optunas_own_tools_read_the_study(reference: Path) -> None:
    study = read_study(reference)
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    importances = optuna.importance.get_param_importances(study, evaluator=evaluator)
    assert set(importances) == {"alpha", "lam", "interactions", "user.effort"}
    assert max(importances, key=importances.__getitem__) == "alpha"
    table = study.trials_dataframe()
    assert len(table) == 40
    assert study.best_trial.value == table["value_gain" if "value_gain" in table else "value"].max()


@pytest.mark.parametrize("sampler", [pytest.param(s, marks=() if s == "tpe" else pytest.mark.slow) for s in SAMPLERS])
def test_workers_and_packing_change_nothing(sampler: str, tmp_path: Path) -> None:
    several = ["gain", "negative_flips"] if sampler.startswith("nsga") else ["gain"]
    for name, workers in (("one", 1), ("seven", 7)):
        run(tmp_path / name, workers=workers, sampler=sampler, objectives=several, feasible=["churn <= 0.5"])
    assert same_table(tmp_path / "one", tmp_path / "seven")


@pytest.mark.slow
def test_a_gaussian_process_proposes_the_same_again(tmp_path: Path) -> None:
    pytest.importorskip("greenlet", reason="without greenlet Optuna's GP takes a minute a candidate")
    for name, workers in (("one", 1), ("two", 2)):
        run(tmp_path / name, workers=workers, sampler="gp", candidates=13, batch=10)
    assert same_table(tmp_path / "one", tmp_path / "two")


@pytest.mark.parametrize("sampler", ["qmc", *(pytest.param(s, marks=pytest.mark.slow) for s in ("tpe", "nsga2"))])
def test_a_search_cut_short_anywhere_ends_in_the_same_table(sampler: str, tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", workers=3, sampler=sampler)
    folder = tmp_path / "cut"
    trained = run_cut_short(folder, [1] * 60, workers=3, sampler=sampler)
    assert same_table(tmp_path / "whole", folder)
    assert sorted(trained) == sorted(whole.trained)  # none twice, none missing
    pairs = zip(read_study(tmp_path / "whole").trials, read_study(folder).trials, strict=True)
    assert all((a.number, a.params, a.values, a.state) == (b.number, b.params, b.values, b.state) for a, b in pairs)


@pytest.mark.parametrize("keep", [0.3, *(pytest.param(keep, marks=pytest.mark.slow) for keep in (0.0, 0.7, 0.999))])
def test_a_journal_cut_mid_line_is_completed(reference: Path, tmp_path: Path, keep: float) -> None:
    folder = tmp_path / "cut"
    run(folder)
    content = journal_of(folder)
    (folder / JOURNAL).write_bytes(content[: int(keep * len(content))])
    run(folder, Formula(calls=0))
    assert [t.values for t in read_study(folder).trials] == [t.values for t in read_study(reference).trials]
    assert [t.intermediate_values for t in read_study(folder).trials] == [
        t.intermediate_values for t in read_study(reference).trials
    ]


def test_a_damaged_journal_is_put_aside_and_written_again(
    reference: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "damaged"
    run(folder)
    lines = journal_of(folder).splitlines(keepends=True)
    damaged = b"".join([*lines[:10], b"\0\0\0 not json\n", *lines[11:]])
    (folder / JOURNAL).write_bytes(damaged)
    with caplog.at_level(logging.WARNING, logger="hill_sim"):
        run(folder, Formula(calls=0))
    assert "study.journal.damaged" in caplog.text
    assert (folder / "study.journal.damaged").read_bytes() == damaged
    assert [t.values for t in read_study(folder).trials] == [t.values for t in read_study(reference).trials]


def test_a_lock_that_optuna_left_behind_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").touch()
    run(tmp_path / "run", candidates=10)
    (tmp_path / "run" / f"{JOURNAL}.lock").symlink_to(tmp_path / "run" / JOURNAL)
    run(tmp_path / "run", Formula(calls=0), candidates=10)


def test_a_journal_of_another_search_is_refused(reference: Path, tmp_path: Path) -> None:
    run(tmp_path / "other", seed=5)
    (tmp_path / "other" / JOURNAL).write_bytes(journal_of(reference))
    with pytest.raises(HillError, match=r"study.journal: is the record of another search; move it away"):
        run(tmp_path / "other", Formula(calls=0), seed=5)
    assert journal_of(tmp_path / "other") == journal_of(reference)


def test_a_journal_that_tells_of_other_values_is_refused(tmp_path: Path) -> None:
    run(tmp_path / "run")
    content = journal_of(tmp_path / "run")
    values = json.dumps(read_study(tmp_path / "run").trials[3].values, separators=(",", ":")).encode()
    (tmp_path / "run" / JOURNAL).write_bytes(content.replace(values, b"[12345.0]"))
    with pytest.raises(HillError, match=r"study.journal: candidate 3 is another there; .* move it away"):
        run(tmp_path / "run", Formula(calls=0))


@pytest.mark.parametrize("cut", [False, True])
def test_a_journal_that_is_deleted_while_the_search_runs_is_written_again(
    reference: Path, tmp_path: Path, cut: bool
) -> None:
    class Deleting(Formula):
        def __call__(self, *arguments: Any, **options: Any) -> Any:
            if len(self.trained) == 40:
                (tmp_path / "run" / JOURNAL).unlink()
                if cut:
                    (tmp_path / "run" / JOURNAL).write_bytes(b"{")
            return super().__call__(*arguments, **options)

    run(tmp_path / "run", Deleting())
    assert [t.values for t in read_study(tmp_path / "run").trials] == [t.values for t in read_study(reference).trials]


def test_a_search_may_be_renamed(reference: Path, tmp_path: Path) -> None:
    """The folder's name for it stays, in its study too."""
    with pytest.raises(SystemExit):
        run(tmp_path / "run", Formula(calls=2))
    spec = searched().model_copy(update={"name": "renamed"})
    run_sweep(spec, tmp_path / "run", simulate=Formula(), progress=False)
    assert [t.values for t in read_study(tmp_path / "run").trials] == [t.values for t in read_study(reference).trials]


def test_what_a_generation_proposes_is_stored_before_it_runs(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        run(tmp_path / "run", Formula(calls=0))
    with ResultStore(tmp_path / "run" / RESULTS, readonly=True) as store:
        assert len(json.loads(store.meta("generation 0") or "")["params"]) == 10
        assert store.meta("generation 1") is None


def test_a_failed_seed_fails_its_candidate_and_no_other(tmp_path: Path) -> None:
    class Breaking(Formula):
        def _run(self, trial: Any, thresholds: Any) -> Any:
            result = super()._run(trial, thresholds)
            if trial.seed == 1 and trial.alpha > 0.6:
                object.__setattr__(result.outcome, "status", "failed")
                object.__setattr__(result.outcome, "gain", float("nan"))
            return result

    run(tmp_path / "run", Breaking())
    for trial in read_study(tmp_path / "run").trials:
        assert (trial.state == optuna.trial.TrialState.FAIL) == (trial.params["alpha"] > 0.6)
        assert (trial.values is None) == (trial.params["alpha"] > 0.6)


def test_bounds_on_outcomes_reach_the_study(tmp_path: Path) -> None:
    run(tmp_path / "run", feasible=["worst(negative_flips) <= 0.04"])
    study = read_study(tmp_path / "run")
    for trial in study.trials:
        (excess,) = trial.constraints.values()
        assert excess == pytest.approx(trial.params["alpha"] / 10 - 0.04)
    assert study.best_trial.params["alpha"] <= 0.4


def test_several_objectives_have_a_front(tmp_path: Path) -> None:
    run(tmp_path / "run", sampler="nsga2", objectives=["gain", {"measure": "negative_flips", "statistic": "worst"}])
    study = read_study(tmp_path / "run")
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.metric_names == ["gain", "worst(negative_flips)"]
    assert 2 <= len(study.best_trials) < 40


def test_equal_candidates_train_once(tmp_path: Path) -> None:
    space = {"alpha": [0.3, 0.6], "interactions": [[2, 4], [1, 3, 5]]}
    formula = run(tmp_path / "run", sampler="random", space=space, constraints=None)
    assert len(formula.trained) == 8  # four candidates of two seeds, however often they were drawn
    assert len(read_study(tmp_path / "run").trials) == 40


def test_a_candidate_is_worth_its_mean_over_users_and_cases(tmp_path: Path) -> None:
    spec = searched(candidates=10)
    fixed = {**spec.fixed}
    del fixed["policy"]
    spec = spec.model_copy(update={"fixed": fixed, "policies": None})
    spec = type(spec).model_validate(
        {**spec.resolved(), "policies": ["compactness", "separation"],
         "cases": [{"name": "a", "fixed": {"batch_size": 32}}, {"name": "b"}]}
    )  # fmt: skip
    run_sweep(spec, tmp_path / "run", simulate=Formula(), progress=False)
    outcomes = load_outcomes(tmp_path / "run").set_index("key")
    assert len(outcomes) == 10 * 2 * 2 * 2
    for trial in read_study(tmp_path / "run").trials:
        assert len(trial.user_attrs["trials"]) == 8
        assert trial.value == pytest.approx(outcomes.loc[trial.user_attrs["trials"], "gain"].mean())


def test_failed_trials_of_a_design_can_run_again_and_those_of_an_adaptive_search_cannot(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"retry_failed: .* later candidates were proposed knowing"):
        run_sweep(searched(), tmp_path / "a", simulate=Formula(), retry_failed=True)
    run(tmp_path / "b", sampler="qmc")
    run_sweep(searched(sampler="qmc"), tmp_path / "b", simulate=Formula(calls=0), retry_failed=True)
    assert len(read_study(tmp_path / "b").trials) == 40


PRUNED = {"prune": {"percentile": 50, "startup": 10}, "seeds": 3, "candidates": 60}


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["qmc", "tpe"])
def test_hopeless_candidates_are_pruned_and_the_table_stays_the_same(sampler: str, tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", workers=1, sampler=sampler, **PRUNED)
    folder = tmp_path / "cut"
    cuts = [1 + calls % 3 for calls in range(1, 90)]
    trained = run_cut_short(folder, cuts, workers=2, sampler=sampler, **PRUNED)
    assert same_table(tmp_path / "whole", folder)
    assert sorted(trained) == sorted(whole.trained)
    study, outcomes = read_study(folder), load_outcomes(folder).set_index("key")
    states = [trial.state.name for trial in study.trials]
    assert set(states[:10]) == {"COMPLETE"}  # nobody is stopped before enough have ended
    assert 5 <= states.count("PRUNED") <= 40
    for trial in study.trials:
        stopped = (outcomes.loc[trial.user_attrs["trials"], "status"] == "pruned").sum()
        assert stopped >= 2 if trial.state.name == "PRUNED" else stopped == 0
    kept = [t.params["alpha"] for t in study.trials if t.state.name == "COMPLETE"]
    gone = [t.params["alpha"] for t in study.trials if t.state.name == "PRUNED"]
    assert sum((a - 0.6) ** 2 for a in kept) / len(kept) < sum((a - 0.6) ** 2 for a in gone) / len(gone)


def test_a_search_that_stopped_trials_is_finished_for_status_too(tmp_path: Path) -> None:
    run(tmp_path / "run", prune={"percentile": 50, "startup": 10, "warmup": 0})
    found = status(tmp_path / "run")
    assert found.pruned > 0
    assert (found.left, found.resume, found.done + found.pruned) == (0, "", found.trials)
