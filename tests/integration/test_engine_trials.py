"""What a trial means: identical to its twin until the first edit is felt, equal to a control where it must be.

And what a user is shown, what is recorded, and how results come out.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from engine_support import differences, small
from sklearn import metrics

from hill_sim.engine import RunSet, TrialResult, plan, simulate
from hill_sim.engine.results import EPOCH_COLUMNS
from hill_sim.engine.simulation import same_result
from hill_sim.tasks import load_task
from hill_sim.trial import Options, Trial
from hill_sim.types import Edit, LatentView, MoveCenter

CURVES = EPOCH_COLUMNS[:6]


@pytest.fixture
def plugin() -> Iterator[ModuleType]:
    """A module of a user's own, to put policies, tasks and models in."""
    module = ModuleType("plugin_of_a_test")
    sys.modules[module.__name__] = module
    yield module
    del sys.modules[module.__name__]


def run(*trials: Trial, **options: Any) -> tuple[TrialResult, ...]:
    return simulate(trials, **{"backend": "chain", **options}).results


def curves(result: TrialResult, epochs: int | None = None) -> dict[str, list[float]]:
    return {name: result.epochs[name][:epochs] for name in CURVES}


@pytest.mark.parametrize("objective", ["hill", "paper", "hill-samples"])
@pytest.mark.parametrize("first", [1, 3])
def test_a_trial_and_its_twin_are_identical_through_the_first_interaction_epoch(objective: str, first: int) -> None:
    trial = small(objective=objective, alpha=0.9, interactions=(first, 4))
    result, twin = run(trial, trial.replace(policy="ce_only"))
    assert curves(result, first) == curves(twin, first)
    assert result.epochs["train_loss"][first] != twin.epochs["train_loss"][first]
    assert np.isnan(result.epochs["human_loss"][:first]).all()
    assert np.isfinite(result.epochs["human_loss"][first:]).all()
    assert np.isnan(twin.epochs["human_loss"]).all()


def _nothing_against_the_twin(result: TrialResult) -> None:
    outcome = result.outcome
    measures = [outcome.gain, outcome.churn, outcome.negative_flips, outcome.positive_flips, outcome.macro_f1_change]
    measures += [outcome.worst_recall_change, outcome.recall_disparity_change, outcome.generalisation_gap_change]
    assert measures == [0.0] * len(measures)
    assert set(outcome.class_gain) == {0.0}
    assert outcome.test_accuracy == outcome.twin_test_accuracy


@pytest.mark.parametrize(
    "changes",
    [
        {"policy": "ce_only"},
        {"policy": "ce_only", "objective": "paper", "alpha": 1.0},
        {"policy": "ce_scaled", "alpha": 0.9},
        {"policy": "ce_scaled", "objective": "paper", "alpha": 0.0},
        {"alpha": 0.0, "lam": 0.0},
        {"alpha": 0.0, "lam": 5.0, "objective": "paper"},
        {"interactions": ()},
    ],
    ids=str,
)
def test_who_never_reaches_the_model_is_the_twin(changes: dict[str, Any]) -> None:
    trial = small(**changes)
    planned = plan([trial])
    assert planned.epochs_to_run == trial.epochs
    (result,) = run(trial)
    _nothing_against_the_twin(result)
    assert not result.interactions
    plain = run(trial.twin())[0]
    assert curves(plain) == curves(result)
    assert np.array_equal(plain.predictions, result.predictions)


@pytest.mark.parametrize(
    "changes",
    [
        {"policy": "ce_scaled", "objective": "paper"},
        {"policy": "hold"},
        {"alpha": 0.0, "lam": 5.0},
        {"alpha": 1.0, "objective": "paper"},
    ],
    ids=str,
)
def test_who_does_reach_the_model_is_not(changes: dict[str, Any]) -> None:
    result, twin = run(small(**changes), small(policy="ce_only"))
    assert curves(result) != curves(twin)


def test_ce_scaled_depends_on_no_user_and_no_projection() -> None:
    trial = small(policy="ce_scaled", objective="paper")
    a, b, c = run(trial, trial.replace(lam=9.0, projection="pca"), trial.replace(alpha=0.9))
    assert curves(a) == curves(b)
    assert curves(a) != curves(c)


def test_trials_given_twice_are_trained_once_and_returned_twice() -> None:
    trial = small()
    results = run(trial, trial.replace(seed=1), trial)
    assert len(results) == 3
    assert same_result(results[0], results[2])
    assert plan([trial, trial]).epochs_to_run == plan([trial]).epochs_to_run
    seen: list[str] = []
    simulate([trial, trial], backend="chain", on_result=lambda r: seen.append(r.outcome.key))
    assert seen == [results[0].outcome.key]


def test_a_different_spelling_of_the_defaults_is_the_same_training() -> None:
    plain, spelt = small(), small(objective={"preset": "hill", "center": 1}, projection="first-epoch")
    assert plan([plain, spelt]).epochs_to_run == plan([plain]).epochs_to_run
    a, b = run(plain, spelt)
    assert curves(a) == curves(b)


def test_the_twin_is_the_same_whatever_trial_it_belongs_to() -> None:
    """Its key does not depend on user, objective or schedule, so that stored results find it."""
    trials = [
        small(),
        small(objective="paper", alpha=1.0, projection="pca"),
        small(interactions=(2,), user={"effort": 1}),
    ]
    assert len({result.outcome.twin_key for result in run(*trials)}) == 1
    assert len(plan(trials).unique) == 4


class Watching:
    """A policy that keeps what it was shown, for tests only."""

    views: list[LatentView]

    def __init__(self) -> None:
        self.views = []

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        self.views.append(view)
        return Edit([MoveCenter(1, (2.0, 0.5 * view.epoch))])


@pytest.mark.parametrize(("view", "source"), [({}, "train"), ({"source": "validation", "per_class": 0}, "validation")])
def test_a_user_sees_training_points_and_validation_only_when_asked(
    plugin: ModuleType, view: dict[str, Any], source: str
) -> None:
    plugin.user = watching = Watching()  # type: ignore[attr-defined]
    trial = small(policy=f"{plugin.__name__}:user", view=view, interactions=(1, 2, 4))
    (result,) = run(trial)
    task = load_task(trial.task, Options(trial.task_options))
    split = getattr(task, source)
    for seen in watching.views:
        assert seen.sample_ids.tolist() == watching.views[0].sample_ids.tolist()
        assert seen.labels.tolist() == split.y[seen.sample_ids.tolist()].tolist()
        assert np.bincount(seen.labels).tolist() == ([10] * 10 if not view else np.bincount(split.y).tolist())
        assert len(set(seen.sample_ids.tolist())) == len(seen.sample_ids)
        assert np.allclose(seen.points.mean(axis=0), 0.0, atol=1e-12)
        assert np.isclose(np.sqrt((seen.points**2).sum(axis=1).mean()), 1.0)
        assert seen.validation_accuracy == result.epochs["validation_accuracy"][seen.epoch - 1]
    assert [seen.epoch for seen in watching.views] == [1, 2, 4]


def test_nothing_of_the_test_split_reaches_a_user_or_the_training() -> None:
    """With another test split, only what is measured on it changes."""
    judged = {"rule": "twin", "every": "epoch", "per": "class"}
    trials = [small(view={"source": "validation"}), small(), small(trust=judged, policy="swap", alpha=0.9)]
    before = run(*trials)
    task = load_task("digits", Options(trials[0].task_options))
    generator = torch.Generator().manual_seed(0)
    x, y = task.test.x.clone(), task.test.y.clone()
    task.test.x.copy_(torch.rand(x.shape, generator=generator))
    task.test.y.copy_(y.flip(0))
    try:
        after = run(*trials)
    finally:
        task.test.x.copy_(x)
        task.test.y.copy_(y)
    measured = {"test_accuracy", "test_loss"}
    for a, b in zip(before, after, strict=True):
        changed = set(differences(a, b))
        assert measured <= changed
        for name in (
            "train_loss",
            "validation_loss",
            "train_accuracy",
            "validation_accuracy",
            "human_loss",
            "kappa at 1",
        ):
            assert name not in changed
        assert not any(name.startswith(("before", "after", "achieved", "edit ", "kappa", "trust")) for name in changed)


def test_a_users_file_that_has_changed_is_read_again(tmp_path: Path) -> None:
    """Between two runs of one process, as in a notebook."""
    file = tmp_path / "mine.py"
    text = """
from hill_sim.types import Edit, MoveCenter

class Mine:
    def edit(self, view, rng):
        return Edit([MoveCenter(0, (PLACE, 0.0))])
"""
    found = []
    for number, place in enumerate(("1.0", "2.0")):
        file.write_text(text.replace("PLACE", place))
        os.utime(file, ns=(number * 10**9, number * 10**9))
        (result,) = run(small(policy=f"{file}:Mine"))
        found.append(result.interactions[0].edit.gestures[0].to[0])
    assert found == [1.0, 2.0]


def test_the_history_holds_what_was_edited_before(plugin: ModuleType) -> None:
    plugin.user = watching = Watching()  # type: ignore[attr-defined]
    (result,) = run(small(policy=f"{plugin.__name__}:user", interactions=(1, 2, 4)))
    assert [len(view.history) for view in watching.views] == [0, 1, 2]
    for memory, item in zip(watching.views[2].history, result.interactions, strict=False):
        assert memory.epoch == item.epoch
        assert memory.edit == item.edit
        assert memory.validation_accuracy == item.validation_accuracy
        assert np.array_equal(memory.layout.points, item.after)


def test_what_is_recorded_of_an_interaction(plugin: ModuleType) -> None:
    plugin.user = Watching()  # type: ignore[attr-defined]
    trial = small(policy=f"{plugin.__name__}:user", interactions=(1, 2, 4))
    (result,) = run(trial)
    first, second, last = result.interactions
    members = first.labels == 1
    assert [item.epoch for item in result.interactions] == [1, 2, 4]
    assert np.allclose(first.after[members].mean(axis=0), (2.0, 0.5))
    assert np.array_equal(first.after[~members], first.before[~members])
    assert np.flatnonzero(first.touched).tolist() == [1]
    assert first.kappa > 0
    assert first.seconds >= 0
    # `achieved` is in the first view's own coordinates: the same points, before the second edit, moved and rescaled.
    a, b = first.achieved - first.achieved.mean(axis=0), second.before
    scale = np.sqrt((a**2).sum(axis=1).mean())
    assert np.allclose(a / scale, b, atol=1e-10)
    assert not np.allclose(last.achieved, last.before)
    assert result.outcome.edited_interactions == 3
    assert result.outcome.gestures == 3


def test_an_edit_pulls_the_class_to_where_the_user_put_it(plugin: ModuleType) -> None:
    """The one thing the whole engine is for: with a loud user the moved class arrives, in every preset."""

    class Far:
        def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
            return Edit([MoveCenter(0, (3.0, 3.0))])

    plugin.user = Far()  # type: ignore[attr-defined]
    for objective in ("hill", "hill-samples"):
        trial = small(policy=f"{plugin.__name__}:user", objective=objective, interactions=(2,), epochs=12, alpha=0.9)
        (item,) = run(trial)[0].interactions
        members = item.labels == 0
        goal = np.array([3.0, 3.0])
        before, after = (np.linalg.norm(p[members].mean(axis=0) - goal) for p in (item.before, item.achieved))
        assert after < 0.3 * before


def test_outcomes_are_what_scikit_learn_says_of_the_predictions() -> None:
    trial = small(alpha=0.9, policy="merge_distinct", epochs=8)
    result, twin = run(trial, trial.replace(policy="ce_only"))
    outcome, y = result.outcome, load_task(trial.task, Options(trial.task_options)).test.y.numpy()
    mine, theirs = result.predictions, twin.predictions
    recalls, twin_recalls = (metrics.recall_score(y, p, average=None) for p in (mine, theirs))
    expected = {
        "test_accuracy": metrics.accuracy_score(y, mine),
        "twin_test_accuracy": metrics.accuracy_score(y, theirs),
        "gain": metrics.accuracy_score(y, mine) - metrics.accuracy_score(y, theirs),
        "macro_f1": metrics.f1_score(y, mine, average="macro"),
        "macro_f1_change": metrics.f1_score(y, mine, average="macro") - metrics.f1_score(y, theirs, average="macro"),
        "worst_recall": recalls.min(),
        "worst_recall_change": recalls.min() - twin_recalls.min(),
        "recall_disparity": np.ptp(recalls),
        "recall_disparity_change": np.ptp(recalls) - np.ptp(twin_recalls),
        "churn": sum(a != b for a, b in zip(mine, theirs, strict=True)) / len(y),
        "negative_flips": sum(b == t != a for a, b, t in zip(mine, theirs, y, strict=True)) / len(y),
        "positive_flips": sum(a == t != b for a, b, t in zip(mine, theirs, y, strict=True)) / len(y),
        "test_loss": result.epochs["test_loss"][-1],
        "validation_accuracy": result.epochs["validation_accuracy"][-1],
        "generalisation_gap": outcome.train_accuracy - metrics.accuracy_score(y, mine),
    }
    for name, value in expected.items():
        assert getattr(outcome, name) == pytest.approx(value, abs=1e-12), name
    assert outcome.worst_class == int(recalls.argmin())
    assert outcome.class_gain == pytest.approx(recalls - twin_recalls)
    assert outcome.negative_flips != outcome.positive_flips
    assert (result.epochs["test_accuracy"][-1], len(mine)) == (outcome.test_accuracy, len(y))
    assert ((result.confidences > 0.1) & (result.confidences <= 1)).all()


def test_tables_are_tidy_and_survive_json() -> None:
    trials = [small(), small(policy="ce_only"), small(policy=("hold", "compactness"), epochs=7)]
    runs = simulate(trials, backend="chain")
    outcomes, epochs, edits = runs.outcomes, runs.epochs, runs.edits
    assert outcomes["key"].tolist() == [r.trial.key for r in runs.results]
    assert outcomes["policy"].tolist() == ["compactness", "ce_only", "hold > compactness"]
    assert outcomes["seed"].tolist() == [0, 0, 0]
    assert len(epochs) == 5 + 5 + 7
    assert epochs.groupby("key")["epoch"].apply(list).tolist() == [
        list(range(1, r.trial.epochs + 1)) for r in sorted(runs.results, key=lambda r: r.trial.key)
    ]
    assert len(edits) == 4
    assert edits["gestures"].tolist() == [len(i.edit) for r in runs.results for i in r.interactions]
    again = RunSet.from_json(runs.to_json())
    assert again.info == runs.info
    for a, b in zip(again.results, runs.results, strict=True):
        assert a.trial == b.trial
        assert a.outcome.to_dict().keys() == b.outcome.to_dict().keys()
        assert not [d for d in differences(a, b) if " at " not in d]
        for x, y in zip(a.interactions, b.interactions, strict=True):
            assert x.edit == y.edit
            assert np.abs(x.after - y.after).max() <= 0.5e-4 + 1e-12
            assert x.sample_ids.tolist() == y.sample_ids.tolist()


def test_nothing_to_do() -> None:
    runs = simulate([])
    assert runs.results == ()
    assert len(runs.outcomes) == len(runs.epochs) == len(runs.edits) == 0


def test_callers_random_state_and_threads_are_left_alone() -> None:
    torch.manual_seed(5)
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    run(small())
    assert torch.equal(torch.random.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["chain", "loop"])
def test_threads_do_not_disturb_each_other(backend: str) -> None:
    """As when several people sit at one studio: each in a thread, on equal models."""
    trials = [small(seed=seed) for seed in range(4)]
    alone = [run(trial, backend=backend)[0] for trial in trials]
    for _ in range(3):
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda trial: run(trial, backend=backend)[0], trials))
        for a, b in zip(together, alone, strict=True):
            assert same_result(a, b), differences(a, b)
