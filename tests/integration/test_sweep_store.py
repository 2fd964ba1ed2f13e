"""Results on disk: exact, all or nothing, and refused rather than damaged."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sweep_support import assert_same_runs, tiny

from hill_sim.engine import simulate
from hill_sim.engine.results import RunSet
from hill_sim.errors import InvalidInput
from hill_sim.sweep import Planned, expand
from hill_sim.sweep.store import SCHEMA_VERSION, ResultStore
from hill_sim.sweep.table import outcomes_table, write_table


@pytest.fixture(scope="module")
def runs() -> RunSet:
    return simulate([item.trial for item in expand(tiny())])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ResultStore]:
    with ResultStore(tmp_path / "results.sqlite") as opened:
        yield opened


def places(runs: RunSet) -> dict[str, tuple[int, Planned]]:
    return {r.trial.key: (i, Planned(r.trial, "case", f"user {i}")) for i, r in enumerate(runs.results)}


def test_results_come_back_exactly_and_in_the_sweeps_order(store: ResultStore, runs: RunSet) -> None:
    half = len(runs.results) // 2
    for part in (runs.results[half:], runs.results[:half]):
        store.add(part, places(runs), views=[0, 1], info={})
    rows = store.results()
    assert [(case, label) for case, label, _ in rows] == [("case", f"user {i}") for i in range(len(rows))]
    assert_same_runs(RunSet(tuple(result for _, _, result in rows)), runs)
    for (_, _, stored), original in zip(rows, runs.results, strict=True):
        assert stored.epochs.keys() == original.epochs.keys()
        assert (stored.confidences.dtype, stored.predictions.dtype) == (np.float32, np.int64)


def test_storing_twice_counts_once_and_the_last_one_stays(store: ResultStore, runs: RunSet) -> None:
    first = runs.results[0]
    changed = replace(first, outcome=replace(first.outcome, gain=0.25))
    store.add(runs.results, places(runs), views=[0], info={})
    store.add([changed], places(runs), views=[0], info={})
    assert len(store.results()) == len(runs.results)
    assert store.results({first.trial.key})[0][2].outcome.gain == 0.25


def test_only_the_first_seeds_shown_points_are_kept_and_every_gesture(store: ResultStore, runs: RunSet) -> None:
    store.add(runs.results, places(runs), views=[0], info={})
    for (_, _, stored), original in zip(store.results(), runs.results, strict=True):
        assert [item.edit for item in stored.interactions] == [item.edit for item in original.interactions]
        for item, before in zip(stored.interactions, original.interactions, strict=True):
            assert len(item.before) == (len(before.before) if original.trial.seed == 0 else 0)
            assert np.array_equal(item.touched, before.touched)


def test_a_batch_that_breaks_half_way_leaves_nothing(store: ResultStore, runs: RunSet) -> None:
    store.add(runs.results[:3], places(runs), views=[0], info={"epochs_run": 5})
    incomplete = {key: value for key, value in places(runs).items() if key != runs.results[-1].trial.key}
    with pytest.raises(KeyError):
        store.add(runs.results[3:], incomplete, views=[0], info={})
    unstorable = replace(runs.results[4], outcome=replace(runs.results[4].outcome, status=None))  # type: ignore[arg-type]
    with pytest.raises(sqlite3.IntegrityError):
        store.add([*runs.results[3:4], unstorable], places(runs), views=[0], info={})
    assert store.finished() == {result.trial.key for result in runs.results[:3]}
    assert store.totals()["batches"] == 1
    store.add(runs.results[3:], places(runs), views=[0], info={"epochs_run": 7})
    assert store.totals() == {"batches": 2, "epochs_asked": 0, "epochs_run": 12, "seconds": 0.0}


def test_forgotten_trials_are_gone_with_their_edits(store: ResultStore, runs: RunSet) -> None:
    store.add(runs.results, places(runs), views=[0], info={})
    gone = runs.results[0].trial.key
    store.forget([gone])
    assert gone not in store.finished()
    assert store.results({gone}) == []
    store.add(runs.results[:1], places(runs), views=[0], info={})
    assert len(store.results({gone})[0][2].interactions) == len(runs.results[0].interactions)


def test_a_reader_sees_whole_batches_while_the_writer_writes(store: ResultStore, runs: RunSet) -> None:
    store.add(runs.results[:2], places(runs), views=[0], info={})
    with ResultStore(store.path, readonly=True) as reader:
        assert len(reader.finished()) == 2
        store.add(runs.results[2:], places(runs), views=[0], info={})
        assert len(reader.finished()) == len(runs.results)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.set_meta({"a": "b"})


def test_the_table_from_texts_is_the_table_from_results(store: ResultStore, runs: RunSet) -> None:
    store.add(runs.results, places(runs), views=[0], info={})
    table = outcomes_table(store.texts())
    assert table["case"].eq("case").all()
    assert table["label"].tolist() == [f"user {i}" for i in range(len(runs.results))]
    pd.testing.assert_frame_equal(table.drop(columns=["case", "label"]), runs.outcomes, check_exact=True)


def test_a_table_written_in_chunks_is_the_table(
    store: ResultStore, runs: RunSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hill_sim.sweep.table._CHUNK", 2)
    assert write_table(store.texts(), tmp_path / "none.parquet") == 0
    assert pd.read_parquet(tmp_path / "none.parquet").columns.tolist() == outcomes_table([]).columns.tolist()
    store.add(runs.results, places(runs), views=[0], info={})
    assert write_table(store.texts(), tmp_path / "all.parquet") == len(runs.results)
    outcomes_table(store.texts()).to_parquet(tmp_path / "whole.parquet", index=False)
    written, whole = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("all", "whole"))
    pd.testing.assert_frame_equal(written, whole, check_exact=True)


def test_the_table_gives_what_an_older_hill_sim_did_not_know_its_default() -> None:
    trial = {"task": "digits", "policy": ["hold", "compactness"], "interactions": [1, 2], "epochs": 3}
    table = outcomes_table([("", "both", json.dumps(trial), '{"key": "a", "twin_key": "b", "dropped": 1}')])
    row = table.iloc[0]
    assert (row["policy"], row["interactions"], row["lam"], row["status"]) == (
        "hold > compactness",
        "[1, 2]",
        0.1,
        "done",
    )
    assert np.isnan(row["gain"])
    assert "dropped" not in table


def test_a_file_of_another_schema_says_which(store: ResultStore) -> None:
    store.set_meta({"schema_version": "99"})
    message = f"results of schema version 99, this hill-sim reads version {SCHEMA_VERSION}"
    for readonly in (True, False):
        with pytest.raises(InvalidInput, match=message):
            ResultStore(store.path, readonly=readonly)


def test_a_damaged_or_foreign_file_is_refused_and_left_as_it_is(
    store: ResultStore, runs: RunSet, tmp_path: Path
) -> None:
    store.add(runs.results, places(runs), views=[0], info={})
    store.close()
    whole = store.path.read_bytes()
    for name, content in (("cut", whole[: len(whole) // 2]), ("foreign", b"not a database at all" * 100)):
        path = tmp_path / f"{name}.sqlite"
        path.write_bytes(content)
        with pytest.raises(InvalidInput, match=f"{name}.sqlite: not a readable results file"):
            ResultStore(path)
        assert path.read_bytes() == content
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE theirs (x)")
    db.close()
    with pytest.raises(InvalidInput, match="schema version None"):
        ResultStore(other)


def test_reading_what_is_not_there_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no such file"):
        ResultStore(tmp_path / "none.sqlite", readonly=True)
    assert list(tmp_path.iterdir()) == []
