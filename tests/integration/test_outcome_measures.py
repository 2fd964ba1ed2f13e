"""What simulate says of a trial is what its predictions and its twin's say, counted anew; odd test splits included."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from engine_support import small

from hill_sim.engine import RunSet, TrialResult, simulate
from hill_sim.engine.results import Outcome
from hill_sim.risk.confusion import directed_confusion, pair_confusion, pulled_pairs
from hill_sim.tasks import load_task
from hill_sim.trial import Options, Trial
from hill_sim.types import layout_of

GROUPED = """
import numpy as np
import torch

from hill_sim.tasks import Recipe, Split, Task


def load(lost_class: bool = False, scale: float = 1.0) -> Task:
    rng = np.random.default_rng(0)

    def split(n, groups, classes):
        y = np.arange(n) % classes
        x = scale * (rng.normal(size=(n, 4)) + 1.5 * np.eye(4)[y])
        given = torch.from_numpy(rng.choice(groups, size=n) if len(groups) > 1 else np.full(n, groups[0]))
        return Split(torch.from_numpy(x).float(), torch.from_numpy(y), given)

    test = split(41, [0, 1], 3 if lost_class else 4)
    test.groups[0] = 3  # a group of one; group 2 has no test sample
    return Task("grouped", split(80, [2], 4), split(20, [2], 4), test, ("a", "b", "c", "d"), Recipe(),
                group_names=("ann", "bob", "cem", "dee"))
"""


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("tasks") / "grouped.py"
    path.write_text(GROUPED)
    return f"{path}:load"


def run(*trials: Trial) -> dict[str, TrialResult]:
    """The trials and their twin, by policy."""
    results = simulate([*trials, trials[0].twin()], backend="chain").results
    return {result.trial.policy_name: result for result in results}


def test_groups_by_counting(grouped: str) -> None:
    found = run(Trial(task=grouped, epochs=6, interactions=(2, 4), policy="merge_distinct", alpha=0.9))
    own, twin = found["merge_distinct"], found["ce_only"]
    test = load_task(grouped, Options()).test
    assert test.groups is not None
    for g in range(4):
        inside = (test.groups == g).numpy()
        y = test.y.numpy()[inside]
        right = np.mean(own.predictions[inside] == y) if len(y) else math.nan
        before = np.mean(twin.predictions[inside] == y) if len(y) else math.nan
        assert own.outcome.group_accuracy[g] == pytest.approx(right, nan_ok=True)
        assert own.outcome.group_gain[g] == pytest.approx(right - before, nan_ok=True)
    there = [a for a in own.outcome.group_accuracy if not math.isnan(a)]
    assert len(there) == 3
    assert own.outcome.worst_group == min(there)
    assert own.outcome.group_gap == pytest.approx(max(there) - min(there))
    assert own.outcome.group_gap_change == pytest.approx(own.outcome.group_gap - twin.outcome.group_gap)
    assert RunSet.from_json(RunSet((own,)).to_json()).results[0].outcome.group_gain[0] == own.outcome.group_gain[0]


def test_a_class_absent_from_the_test_split_has_no_number_and_spoils_none(grouped: str) -> None:
    found = run(Trial(task=grouped, task_options={"lost_class": True}, epochs=6, interactions=(2, 4), alpha=0.9))
    outcome = found["compactness"].outcome
    assert math.isnan(outcome.class_recall[3])
    assert math.isnan(outcome.class_gain[3])
    for name in ("worst_recall", "recall_disparity", "macro_f1", "ece", "brier", "imprint", "human_fit_gap"):
        assert math.isfinite(getattr(outcome, name)), name


def test_constant_predictions_are_measured(grouped: str) -> None:
    found = run(Trial(task=grouped, task_options={"scale": 1e-6}, epochs=3, interactions=(1, 2), lr=1e-9))
    outcome = found["compactness"].outcome
    assert len(np.unique(found["compactness"].predictions)) == 1
    assert outcome.recall_disparity == 1.0
    assert outcome.worst_recall == outcome.churn == outcome.gain == 0.0
    assert math.isfinite(outcome.ece)


def test_directed_confusion_is_of_the_pairs_that_the_edits_pulled() -> None:
    found = run(small(policy="merge_distinct", alpha=0.9, epochs=6, policy_options={"pairs": 1}), small(policy="hold"))
    own, twin = found["merge_distinct"], found["ce_only"]
    labels = load_task("digits", Options(own.trial.task_options)).test.y.numpy()
    seen = np.stack([layout_of(item.before, item.labels, 10)[0] for item in own.interactions])
    pulled = pulled_pairs(seen, np.stack([item.centers for item in own.interactions]))
    confusions = [pair_confusion(result.predictions, labels, 10) for result in (own, twin)]
    assert pulled.any()
    assert own.outcome.directed_confusion == directed_confusion(*confusions, pulled)
    assert math.isnan(found["hold"].outcome.directed_confusion), "nothing was pulled together"


def test_who_asks_for_nothing_leaves_no_imprint_and_who_takes_it_back_is_in_conflict() -> None:
    users = [small(policy=p, alpha=0.8, epochs=9, interactions=(2, 4, 6)) for p in ("compactness", "flip_flop", "hold")]
    found = run(*users)
    assert found["compactness"].outcome.conflict_index < -0.8
    assert found["flip_flop"].outcome.conflict_index > 0.8
    assert found["compactness"].outcome.imprint > 0.1
    for name in ("hold", "ce_only"):
        assert math.isnan(found[name].outcome.imprint)
        assert math.isnan(found[name].outcome.conflict_index)
    assert math.isnan(found["ce_only"].outcome.human_fit_gap)
    assert found["ce_only"].outcome.brier_change == found["ce_only"].outcome.churn == 0.0


def test_the_scores_of_calibration_are_of_the_softmax() -> None:
    own = run(small(alpha=0.9))["compactness"]
    labels = load_task("digits", Options(own.trial.task_options)).test.y.numpy()
    right, confidence = own.predictions == labels, own.confidences.astype(float)
    bins = np.ceil(confidence * 15)
    gaps = [abs(np.sum((right - confidence)[bins == m])) for m in range(1, 16)]
    assert own.outcome.ece == pytest.approx(sum(gaps) / len(labels), abs=1e-6)


def test_outcomes_of_older_files_load_with_what_they_lack_as_nan() -> None:
    stored = run(small())["compactness"].outcome.to_dict()
    new = ("ece", "brier_change", "imprint", "conflict_index", "human_fit_gap", "directed_confusion", "group_gap")
    older = Outcome.from_dict({name: value for name, value in stored.items() if name not in (*new, "group_gain")})
    assert older.gain == stored["gain"]
    assert all(math.isnan(getattr(older, name)) for name in new)
    assert older.group_gain == ()
