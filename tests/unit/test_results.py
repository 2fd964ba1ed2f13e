"""Records of trials survive JSON, and become tables with one observation a row, also where a trial failed."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest

from hill_sim.engine.results import EPOCH_COLUMNS, Interaction, Outcome, RunSet, TrialResult, summary
from hill_sim.trial import Trial
from hill_sim.types import CollapseClass, Edit, MovePoint


def interaction(epoch: int = 3) -> Interaction:
    rng = np.random.default_rng(epoch)
    points = [rng.normal(size=(4, 2)) for _ in range(3)]
    return Interaction(
        epoch, "mine.py:Mine", Edit([CollapseClass(1), MovePoint(2, (0.5, -1.0))]), 0.75, *points,
        labels=np.array([0, 0, 1, 1]), predictions=np.array([0, 1, 1, 1]), sample_ids=np.array([5, 9, 11, 2]),
        centers=np.array([[1.0, 2.0], [math.nan, math.nan]]), spreads=np.array([0.3, 0.0]),
        touched=np.array([False, True]), kappa=1.5, seconds=0.01,
    )  # fmt: skip


def done(trial: Trial, accuracy: float = 0.9) -> TrialResult:
    outcome = Outcome(trial.key, trial.twin().key, test_accuracy=accuracy, gain=0.1, class_recall=(1.0, math.nan))
    epochs = {name: [float(i)] * 2 for i, name in enumerate(EPOCH_COLUMNS)}
    epochs["human_loss"] = [math.nan, 2.0]
    return TrialResult(trial, outcome, epochs, (interaction(),), np.array([1, 0]), np.array([0.9, 0.6], np.float32))


def failed(trial: Trial, epochs: int) -> TrialResult:
    outcome = Outcome(trial.key, trial.twin().key, status="failed", error="Traceback ...\nKeyError: 1")
    return TrialResult(trial, outcome, {name: [0.5] * epochs for name in EPOCH_COLUMNS})


def test_json_round_trip() -> None:
    runs = RunSet((done(Trial()), failed(Trial(seed=1), 1), failed(Trial(seed=2), 0)), {"seconds": 1.5, "torch": "x"})
    again = RunSet.from_json(runs.to_json())
    assert again.info == runs.info
    for a, b in zip(again.results, runs.results, strict=True):
        assert a.trial == b.trial
        assert json.dumps(a.to_dict()) == json.dumps(b.to_dict())
        assert a.predictions.dtype == np.int64
        assert a.confidences.dtype == np.float32
    one, other = again.results[0].interactions[0], runs.results[0].interactions[0]
    assert one.edit == other.edit
    assert one.touched.dtype == np.bool_
    assert np.allclose(one.after, other.after, atol=0.5e-4)
    assert np.isnan(one.centers[1]).all()
    assert Outcome.from_dict({**done(Trial()).outcome.to_dict(), "of_a_later_version": 3}).gain == 0.1


def test_outcomes_have_one_row_a_trial() -> None:
    results = (
        done(Trial(policy=("hold", "random"), interactions=(1, 2), user={"effort": 2})),
        failed(Trial(seed=1), 0),
    )
    table = RunSet(results).outcomes
    assert table["key"].tolist() == [r.trial.key for r in results]
    assert table["policy"].tolist() == ["hold > random", "compactness"]
    assert json.loads(table["user"][0]) == {"effort": 2}
    assert table["status"].tolist() == ["done", "failed"]
    assert math.isnan(table["gain"][1])
    assert table.drop(columns=["class_recall", "class_gain"]).groupby("user")["gain"].mean().shape == (2,)


def test_epochs_and_edits_have_one_row_each() -> None:
    runs = RunSet((done(Trial()), failed(Trial(seed=1), 1), failed(Trial(seed=2), 0)))
    epochs, edits = runs.epochs, runs.edits
    assert epochs["epoch"].tolist() == [1, 2, 1]
    assert [c for c in epochs.columns if c not in ("key", "epoch")] == list(EPOCH_COLUMNS)
    assert all(pd.api.types.is_numeric_dtype(epochs[name]) for name in EPOCH_COLUMNS)
    assert edits["gestures"].tolist() == [2]
    assert json.loads(edits["edit"][0])[0] == {"gesture": "collapse_class", "cls": 1}
    assert summary(runs.results) == {"done": 1, "failed": 2}


@pytest.mark.parametrize("results", [(), (failed(Trial(), 0),)])
def test_empty_tables_keep_their_columns(results: tuple[TrialResult, ...]) -> None:
    runs = RunSet(results)
    assert {"key", "epoch", *EPOCH_COLUMNS} <= set(runs.epochs.columns)
    assert {"key", "epoch", "policy", "edit", "gestures"} <= set(runs.edits.columns)
    assert len(runs.epochs) == len(runs.edits) == 0


def test_an_interaction_stored_before_the_twin_was_recorded_still_loads() -> None:
    stored = interaction().to_dict()
    del stored["unedited"]
    again = Interaction.from_dict(json.loads(json.dumps(stored)))
    assert again.unedited.shape == again.before.shape
    assert np.isnan(again.unedited).all()
