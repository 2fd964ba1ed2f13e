"""Sweeps for real: worker processes, run folders, resuming, and the same table whatever happened on the way."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sweep_support import BROKEN, TINY, TRIALS, assert_same_results, assert_same_runs, tiny

from hill_sim.engine import RunSet, simulate
from hill_sim.errors import HillError, InvalidInput, Unavailable
from hill_sim.report import leaderboard_text, write_report, write_report_from
from hill_sim.report.study import Study
from hill_sim.sweep import load_outcomes, load_results, run_sweep
from hill_sim.sweep.commit import commit
from hill_sim.sweep.executors import Batch, BatchEnded, LocalWorkers, count
from hill_sim.sweep.folder import PREFIXES, RESULTS, SPEC, TABLE, RunFolder
from hill_sim.sweep.store import ResultStore
from hill_sim.trial import Trial


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny sweep, run in this process without a break."""
    folder = tmp_path_factory.mktemp("reference") / "tiny"
    summary = run_sweep(tiny(), folder, simulate=simulate)
    assert (summary.trials, summary.ran, summary.failed, summary.interrupted) == (TRIALS, TRIALS, [], False)
    assert 0 < summary.epochs_run < summary.epochs_asked
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "log.txt"}


def test_a_run_folder_holds_what_the_design_says(reference: Path) -> None:
    assert {path.name for path in reference.iterdir()} == {SPEC, RESULTS, TABLE, "log.txt", ".lock"}
    table = pd.read_parquet(reference / TABLE)
    assert list(table["label"].value_counts().sort_index().items()) == [
        ("ce_only", 2),
        ("compactness", 4),
        ("separation", 4),
    ]
    assert table["key"].is_unique
    assert table["test_accuracy"].between(0.2, 1).all()
    assert (table.loc[table["label"] == "ce_only", "gain"] == 0).all()
    info = load_results(reference).info
    assert info["spec"] == tiny().resolved()
    assert info["pinned"]["device"] in ("cpu", "cuda")
    assert info["epochs_run"] < info["epochs_asked"]
    assert info["commit"] == commit()


def test_the_leaderboard_needs_no_details(reference: Path) -> None:
    whole, lean = load_results(reference), load_results(reference, details=False)
    pd.testing.assert_frame_equal(lean.outcomes, whole.outcomes, check_exact=True)
    assert lean.info == whole.info
    assert leaderboard_text(lean) == leaderboard_text(whole)
    assert not any(result.epochs or result.interactions or len(result.predictions) for result in lean.results)


def test_details_of_some_trials(reference: Path) -> None:
    whole = load_results(reference)
    keys = {result.outcome.key for result in whole.results[1:4]}
    some = load_results(reference, details=lambda runs: keys)
    pd.testing.assert_frame_equal(some.outcomes, whole.outcomes, check_exact=True)
    for one, other in zip(some.results, whole.results, strict=True):
        if one.outcome.key in keys:
            assert str(one) == str(other)
        else:
            assert one.epochs == {}
            assert len(one.interactions) == len(one.predictions) == 0


@pytest.mark.slow
def test_the_report_of_a_folder_is_that_of_all_details(reference: Path, tmp_path: Path) -> None:
    """It reads only those that it shows."""
    assert 0 < len(Study.of(load_results(reference, details=False)).detailed) < len(load_results(reference).results)
    write_report_from(load_results(reference), tmp_path)
    write_report(shutil.copytree(reference, tmp_path / "copy"))
    of_all, of_some = contents(tmp_path / "figures"), contents(tmp_path / "copy" / "figures")
    assert of_some == of_all
    assert {"latents.png", "validation.png"} <= of_all.keys()


def test_the_sweep_gives_what_simulate_gives(reference: Path) -> None:
    runs = load_results(reference)
    (backend,) = set(runs.info["pinned"]["backends"].values())
    direct = simulate([result.trial for result in runs.results], backend=backend, device=runs.info["pinned"]["device"])
    columns = list(direct.outcomes.columns)
    pd.testing.assert_frame_equal(load_outcomes(reference)[columns], direct.outcomes, check_exact=True)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_worker_processes_give_the_same_to_the_bit(reference: Path, tmp_path: Path, workers: int) -> None:
    run_sweep(tiny(), tmp_path / "new", workers=workers)
    assert_same_results(tmp_path / "new", reference)


def test_a_driver_killed_while_it_made_the_folder_leaves_nothing_in_the_way(reference: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / ".lock").write_text("1")
    (folder / f"{SPEC}.part").write_text("name: ti")
    with pytest.raises(SystemExit):
        run_sweep(tiny(), folder, simulate=CutShort(0))
    (folder / RESULTS).write_bytes(b"")  # as SQLite leaves it before its first transaction
    run_sweep(tiny(), folder, simulate=simulate)
    assert_same_results(folder, reference)


class CutShort:
    """The engine, until it has been called `calls` times: then the process seems to die."""

    def __init__(self, calls: int) -> None:
        self.left = calls
        self.trained: list[str] = []

    def __call__(self, trials: Sequence[Trial], **options: Any) -> RunSet:
        if self.left == 0:
            raise SystemExit("the power went out")
        self.left -= 1
        self.trained += [trial.key for trial in trials]
        return simulate(trials, **options)


def test_a_sweep_cut_short_goes_on_and_trains_nothing_twice(reference: Path, tmp_path: Path) -> None:
    folder, first, second = tmp_path / "resumed", CutShort(1), CutShort(9)
    with pytest.raises(SystemExit):
        run_sweep(tiny(), folder, workers=2, simulate=first)
    assert 0 < len(load_outcomes(folder)) < TRIALS
    summary = run_sweep(tiny(), folder, workers=2, simulate=second)
    assert summary.ran == TRIALS - len(first.trained)
    assert set(first.trained).isdisjoint(second.trained)
    assert_same_results(folder, reference)


def test_later_batches_start_from_what_earlier_ones_trained(reference: Path, tmp_path: Path) -> None:
    """One trial a call: the cross-entropy part of each seed is trained once, and found again later."""
    folder, epochs = tmp_path / "new", dict[int, list[int]]()

    def one_by_one(trials: list[Trial], **options: Any) -> RunSet:
        runs = [simulate([trial], **options) for trial in trials]
        for trial, run in zip(trials, runs, strict=True):
            epochs.setdefault(trial.seed, []).append(run.info["epochs_run"])
        assert any((folder / PREFIXES).iterdir())
        return RunSet(tuple(run.results[0] for run in runs), runs[0].info)

    run_sweep(tiny(), folder, workers=1, simulate=one_by_one)
    assert_same_results(folder, reference)
    # First 2 epochs to the first interaction, 4 edited and 4 of the twin; later only the edited. A twin that nobody
    # looks at has no projection, so its state is another's.
    assert epochs == {0: [10, 4, 4, 4, 6], 1: [10, 4, 4, 4, 6]}
    assert not (folder / PREFIXES).exists()


def test_a_finished_sweep_calls_nobody(reference: Path) -> None:
    before = load_results(reference)
    summary = run_sweep(tiny(), reference, simulate=CutShort(0))
    assert (summary.ran, summary.finished) == (0, TRIALS)
    assert_same_runs(load_results(reference), before)


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"seeds": 3}, "seeds is [0, 1] there and [0, 1, 2] here"),
        ({"grid": {"alpha": [0.3, 0.8]}}, "grid.alpha.1 is 0.7 there and 0.8 here"),
        ({"policies": ["compactness"]}, "policies is "),
        ({"fixed": {**TINY["fixed"], "lam": 0.0}}, "fixed.lam is absent there and 0.0 here"),
    ],
)
def test_a_folder_of_another_sweep_is_refused_and_untouched(
    reference: Path, changes: dict[str, Any], difference: str
) -> None:
    before = contents(reference)
    with pytest.raises(InvalidInput) as caught:
        run_sweep(tiny(**changes), reference, simulate=CutShort(0))
    assert str(caught.value).startswith(f"{reference}: holds another sweep: {difference}")
    assert str(caught.value).endswith("choose another --out")
    assert contents(reference) == before


def test_the_question_may_be_reworded(reference: Path) -> None:
    assert run_sweep(tiny(question="Why?"), reference, simulate=CutShort(0)).ran == 0


def test_a_folder_of_something_else_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(InvalidInput, match=r"is not a run folder \(it holds thesis.tex\)"):
        run_sweep(tiny(), tmp_path, simulate=CutShort(0))
    with pytest.raises(InvalidInput, match="is a file, not a folder for results"):
        run_sweep(tiny(), tmp_path / "thesis.tex", simulate=CutShort(0))
    assert contents(tmp_path) == {"thesis.tex": b"precious"}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"device": "tpu"}, InvalidInput, "device: unknown 'tpu'"),
        ({"backend": "bm"}, InvalidInput, "backend: unknown 'bm'; did you mean 'bmm'?"),
        ({"workers": 0}, InvalidInput, "workers: 0 is not 'auto' or an integer >= 1"),
        ({"workers": True}, InvalidInput, "workers: True is not 'auto' or an integer >= 1"),
        ({"pmax": 0}, InvalidInput, "pmax: 0 is not an integer >= 1 or 'auto'"),
    ],
)
def test_options_that_cannot_be_are_one_line(
    tmp_path: Path, options: dict[str, Any], error: type[HillError], message: str
) -> None:
    with pytest.raises(error) as caught:
        run_sweep(tiny(), tmp_path / "new", simulate=CutShort(0), **options)
    assert str(caught.value).startswith(message)
    assert not (tmp_path / "new").exists()


def test_trials_that_no_task_can_run_are_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    spec = tiny(fixed={**TINY["fixed"], "task_options": {"train_per_clas": 20}})
    with pytest.raises(InvalidInput, match="task_options of digits: unknown 'train_per_clas'"):
        run_sweep(spec, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_what_a_sweep_began_with_stays_pinned(reference: Path, tmp_path: Path) -> None:
    pinned = load_results(reference).info["pinned"]
    (backend,) = set(pinned["backends"].values())
    other = next(name for name in ("loop", "bmm") if name != backend)
    with pytest.raises(InvalidInput, match=f"backend: '{other}' is not {backend}, with which this sweep began"):
        run_sweep(tiny(), reference, backend=other, simulate=CutShort(0))
    run_sweep(tiny(seeds=1), tmp_path / "loop", backend="loop", simulate=simulate)
    assert set(load_results(tmp_path / "loop").info["pinned"]["backends"].values()) == {"loop"}


def test_a_change_of_versions_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SystemExit):
        run_sweep(tiny(), tmp_path, simulate=CutShort(0))
    with ResultStore(tmp_path / RESULTS) as store:
        pinned = json.loads(store.meta("pinned") or "")
        store.set_meta({"pinned": json.dumps({**pinned, "torch": "2.11.0"})})
    with pytest.raises(SystemExit):
        run_sweep(tiny(), tmp_path, simulate=CutShort(0))
    assert "this sweep began under torch 2.11.0, here is " in caplog.text


def test_a_second_driver_is_refused_by_name(tmp_path: Path) -> None:
    with (
        RunFolder.claim(tmp_path / "new", tiny()),
        pytest.raises(Unavailable, match=rf"another hill-sim \(process {os.getpid()} on .+\) is running this sweep"),
    ):
        run_sweep(tiny(), tmp_path / "new", simulate=CutShort(0))


def test_results_that_cannot_be_written_are_one_line(reference: Path, tmp_path: Path) -> None:
    def fails(trials: Sequence[Trial], **options: Any) -> RunSet:
        with ResultStore(tmp_path / "new" / RESULTS) as store:
            store._db.execute("DROP TABLE batches")  # what a damaged disk does, as far as SQLite can see
        return simulate(trials, **options)

    with pytest.raises(HillError, match=r"results\.sqlite: cannot be written: no such table: batches; what was stored"):
        run_sweep(tiny(), tmp_path / "new", simulate=fails)


@pytest.mark.slow
def test_a_user_who_falls_over_is_recorded_and_the_sweep_goes_on(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    spec = tiny(policies=["compactness", {"label": "broken", "policy": f"{tmp_path}/broken.py:Broken"}])
    summary = run_sweep(spec, tmp_path / "new", workers=2)
    assert (summary.finished, summary.interrupted) == (8, False)
    assert [label for label, _, _ in summary.failed] == ["broken"] * 4
    assert {reason for _, _, reason in summary.failed} == {"RuntimeError: my hand slipped"}
    table = load_outcomes(tmp_path / "new")
    failed = table[table["status"] == "failed"]
    assert failed["error"].str.contains("Traceback").all()
    assert failed["test_accuracy"].isna().all()
    assert table.loc[table["label"] == "compactness", "status"].eq("done").all()
    assert run_sweep(spec, tmp_path / "new", simulate=CutShort(0)).ran == 0, "a failure is a finished trial"
    (tmp_path / "broken.py").write_text(BROKEN.replace("if view.history:", "if False:"))
    assert run_sweep(spec, tmp_path / "new", workers=1, retry_failed=True).failed == []
    assert load_outcomes(tmp_path / "new")["status"].eq("done").all()


def test_auto_workers_are_the_cores_this_process_may_use() -> None:
    assert count("auto") == len(os.sched_getaffinity(0))
    assert count("auto", "cuda") == 1
    assert count(3, "cuda") == 3


@pytest.mark.slow
def test_an_error_that_no_trial_survives_is_raised_in_the_driver() -> None:
    workers = LocalWorkers(1, {"device": "cpu"})
    batch = Batch((Trial(epochs=2, interactions=(1,)),), {"backend": "bm"})
    waiting = iter([batch])
    try:
        with pytest.raises(InvalidInput, match=r"backend: unknown 'bm'; did you mean 'bmm'\?"):
            list(workers.run(lambda: next(waiting, None), lambda: False))
    finally:
        workers.close()


@pytest.mark.slow
def test_a_worker_has_its_next_batch_before_the_last_one_is_stored() -> None:
    """And what has ended is not lost where there can be no next one."""
    workers = LocalWorkers(1, {"device": "cpu", "backend": "bmm"})
    fed: list[int] = []

    def feed() -> Batch:
        if len(fed) == 2:
            raise Unavailable("the database is gone")
        fed.append(len(fed))
        return Batch((Trial(epochs=2, interactions=(1,), seed=fed[-1]),), {})

    ended = []

    def drive() -> None:
        for event in workers.run(feed, lambda: False):
            if isinstance(event, BatchEnded):
                ended.append([result.trial.seed for result in event.results])
                assert fed == [0, 1]

    try:
        with pytest.raises(Unavailable, match="the database is gone"):
            drive()
    finally:
        workers.close()
    assert ended == [[0], [1]]
