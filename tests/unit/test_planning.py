"""The plan trains every distinct epoch once, and nothing else: counted by brute force on random lists of trials."""

from __future__ import annotations

import dataclasses
import itertools
import time
from typing import Any

import numpy as np
import pytest
from engine_support import FEW_DIGITS, small
from hypothesis import given, settings
from hypothesis import strategies as st

from hill_sim import registry
from hill_sim.engine import plan
from hill_sim.engine.planning import CrossEntropy, Human, Segment, base_of
from hill_sim.errors import InvalidInput
from hill_sim.tasks import resolve
from hill_sim.trial import Trial

SIX = ("compactness", "separation", "merge_similar", "resolve_overlap", "fix_outliers", "arrange")


def told(trial: Trial) -> list[tuple[int, Any]]:
    """(epoch, what holds from then on) of a trial, read off its fields."""
    options = trial.objective_options
    if trial.policy == "ce_only":
        return []
    if trial.policy == "ce_scaled":
        convex = options.mixing == "convex" and trial.alpha > 0
        return [(trial.interactions[0], ("scaled", trial.alpha))] if convex and trial.interactions else []
    if trial.alpha == 0 and (trial.lam == 0 or options.scale == "dead"):
        return []
    user = (trial.user, trial.view, options, trial.projection, trial.alpha, trial.lam)
    return [(epoch, (*trial.policy_at(i), *user)) for i, epoch in enumerate(trial.interactions)]


def brute_force(trials: list[Trial]) -> int:
    """Distinct (base, epoch, what has been told before) over all trials and their twins."""
    everyone = [resolve(trial) for trial in trials]
    everyone += [trial.twin() for trial in everyone]
    return len(
        {
            (base_of(trial), epoch, tuple(event for event in told(trial) if event[0] < epoch))
            for trial in everyone
            for epoch in range(1, trial.epochs + 1)
        }
    )


_schedules = st.sampled_from([(1,), (2,), (1, 3), (2, 3), (1, 2, 3), (3, 5), ()])
_changes = st.fixed_dictionaries(
    {},
    optional={
        "policy": st.sampled_from(["compactness", "hold", "ce_only", "ce_scaled", "random"]),
        "alpha": st.sampled_from([0.0, 0.3, 0.9]),
        "lam": st.sampled_from([0.0, 0.1]),
        "objective": st.sampled_from(["hill", "paper", {"center": 2.0}, {"preset": "paper", "scale": "active"}]),
        "interactions": _schedules,
        "epochs": st.integers(6, 8),
        "seed": st.integers(0, 1),
        "lr": st.sampled_from([1e-3, 1e-2]),
        "projection": st.sampled_from(["random", "pca"]),
        "view": st.sampled_from([{}, {"per_class": 3}]),
        "user": st.sampled_from([{}, {"effort": 2}]),
    },
)


def paths(segments: list[Segment] | tuple[Segment, ...]) -> dict[int, list[Segment]]:
    """position of a trial -> its segments, root first."""
    found: dict[int, list[Segment]] = {}

    def descend(segment: Segment, above: list[Segment]) -> None:
        here = [*above, segment]
        for trial in segment.finished:
            assert trial not in found
            found[trial] = here
        for child in segment.children:
            descend(child, here)

    for root in segments:
        descend(root, [])
    return found


@settings(max_examples=200, deadline=None)
@given(st.lists(_changes, min_size=1, max_size=12))
def test_as_many_epochs_as_there_are_distinct_ones(changes: list[dict[str, Any]]) -> None:
    trials = [small(**{"epochs": 6, **change}) for change in changes]
    assert plan(trials).epochs_to_run == brute_force(trials)


@settings(max_examples=100, deadline=None)
@given(st.lists(_changes, min_size=1, max_size=8), st.booleans())
def test_each_trial_meets_exactly_what_it_asked_for(changes: list[dict[str, Any]], share: bool) -> None:
    planned = plan([small(**{"epochs": 6, **change}) for change in changes], share=share)
    found = paths(planned.roots)
    assert sorted(found) == list(range(len(planned.unique)))
    for position, segments in found.items():
        trial = planned.unique[position]
        assert [segments[0].start, *(s.end for s in segments)] == [s.start for s in segments] + [trial.epochs]
        assert all(segment.base == base_of(trial) for segment in segments)
        edits = [(s.start, s.regime.policy) for s in segments if s.edited and isinstance(s.regime, Human)]
        human = [(epoch, what[0]) for epoch, what in told(trial) if what[0] != "scaled"]
        assert edits == human
        for segment in segments:
            events = [what for epoch, what in told(trial) if epoch <= segment.start]
            if not events:
                assert segment.regime == CrossEntropy(1.0)
            elif events[-1][0] == "scaled":
                assert segment.regime == CrossEntropy(1.0 - trial.alpha)
            else:
                assert isinstance(segment.regime, Human)
                assert segment.regime.policy == events[-1][0]
                assert segment.regime.alpha == trial.alpha
        twin = planned.unique[planned.twins[position]]
        assert twin == trial or twin == trial.twin()
        assert twin.is_twin
    if not share:
        assert planned.epochs_to_run == planned.epochs_asked == sum(t.epochs for t in planned.unique)


def strategy_tree() -> list[Trial]:
    return [Trial(task_options=FEW_DIGITS, policy=policies) for policies in itertools.product(SIX, repeat=4)]


@pytest.mark.slow
def test_the_full_tree_of_six_strategies() -> None:
    planned = plan(strategy_tree())
    assert len(planned.unique) == 1297
    assert planned.epochs_asked == 1297 * 45
    tree = 25 + 5 * (6 + 6**2 + 6**3 + 6**4)
    assert planned.epochs_to_run == tree + 20 == 7795 + 20  # the twin shares the first 25 of its 45 epochs


@pytest.mark.slow
def test_ten_thousand_trials_are_planned_in_no_time() -> None:
    """A sanity bound, forty times what it takes: the planner must not become quadratic."""
    alphas = np.linspace(0.0, 0.9, 8)
    trials = [t.replace(alpha=alpha) for t in strategy_tree() for alpha in alphas]
    plan(trials[:1])
    start = time.perf_counter()
    planned = plan(trials)
    assert time.perf_counter() - start < 60
    assert len(planned.trials) == 8 * 1296
    assert planned.epochs_to_run == 7 * (7795 - 25) + 7795 + 20


def test_a_plan_can_be_read_before_anything_runs() -> None:
    planned = plan([small(), small(), small(policy="hold"), small(policy="ce_only", seed=1)])
    text = str(planned)
    assert "\n" not in text
    assert text.startswith("4 trials and 1 twins; ")
    assert f"{planned.epochs_asked:,} epochs asked, {planned.epochs_to_run:,} to run" in text
    assert f"populations of up to {planned.pmax}" in text
    assert "MiB" in text
    assert str(plan([])).startswith("0 trials and 0 twins; 0 epochs asked, 0 to run (0% shared)")


def test_memory_grows_with_the_population_and_the_depth_not_with_the_trials() -> None:
    def memory(trials: list[Trial], pmax: int) -> int:
        return plan(trials, pmax=pmax).memory_bytes

    few, many = [small()], [small(seed=seed, alpha=a) for seed in range(20) for a in (0.1, 0.5, 0.9)]
    assert memory(few, 8) == memory(many, 8)
    assert memory(many, 16) == 2 * memory(many, 8)
    assert memory([small(interactions=(1, 2, 3))], 8) > memory(few, 8)


def test_the_automatic_population_is_smaller_for_larger_models() -> None:
    sizes = [plan([small(model_options={"hidden": hidden})]).pmax for hidden in ((8,), (512, 256), (4096, 4096))]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1] >= 1


@pytest.mark.parametrize("pmax", [0, -1, 1.5, True, "many", None])
def test_pmax_is_checked(pmax: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^pmax: .* is not an integer >= 1 or 'auto'$"):
        plan([small()], pmax=pmax)


def test_the_trial_that_cannot_run_is_named() -> None:
    def refused(match: str, *changes: dict[str, Any]) -> None:
        with pytest.raises(InvalidInput, match=match) as caught:
            plan([small(**change) for change in changes])
        assert "\n" not in str(caught.value)

    refused(r"^trial 2 of 2: .*effrt.*did you mean 'effort'", {}, {"user": {"effrt": 3}})
    refused(r"^trial 1 of 1: policy_options of 'compactness': unknown 'facto'", {"policy_options": {"facto": 1}})
    refused(r"^trial 1 of 1: task_options of digits: unknown 'noise'", {"task_options": {"noise": 0.1}})
    refused(r"^trial 1 of 1: task: .*nowhere", {"task": "nowhere:load", "task_options": {}})
    refused(r"^trial 1 of 1: model_options of mlp: unknown .hiden.; did you mean", {"model_options": {"hiden": [3]}})
    refused(r"^trial 1 of 1: model_options.hidden: .* is not a list of widths", {"model_options": {"hidden": [0]}})
    refused(r"^trial 3 of 3: policy: .*no file", {}, {}, {"policy": "/nowhere/mine.py:Mine"})
    refused(r"^trial 1 of 1: policy_options", {"policy": ("hold", "hold"), "policy_options": ({}, {"x": 1})})
    with pytest.raises(InvalidInput, match=r"^trial 1: str is not a hill_sim\.Trial$"):
        plan(["compactness"])  # type: ignore[list-item]


def test_only_a_list_of_trials_is_a_list_of_trials() -> None:
    with pytest.raises(InvalidInput, match=r"^trials: Trial is not a list"):
        plan(small())  # type: ignore[arg-type]
    assert len(plan(small(seed=s) for s in range(3)).trials) == 3  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="trial 1 of 1: "):
        plan(trial for trial in [small(user={"effrt": 3})])  # type: ignore[arg-type]


def test_buckets_hold_what_fits_into_one_population() -> None:
    def bucket(**changes: Any) -> Any:
        return base_of(resolve(small(**changes))).bucket

    assert bucket() == bucket(seed=3, lr=1.0, optimizer="sgd", weight_decay=0.5, policy="hold", objective="paper")
    for other in (
        {"batch_size": 7},
        {"model_options": {"hidden": (3,)}},
        {"task_options": {"train_per_class": 3}},
        {"task_options": {**FEW_DIGITS, "label_noise": 0.2}},
    ):
        assert bucket(**other) != bucket()


def test_every_field_of_a_trial_decides_something() -> None:
    """A field added to `Trial` and forgotten here would let two different trials share what they must not."""
    values: dict[str, Any] = {
        "task_options": {"train_per_class": 3}, "model_options": {"hidden": (5,)}, "policy": "separation",
        "policy_options": {}, "user": {"effort": 1}, "view": {"per_class": 2}, "objective": "paper",
        "alpha": 0.7, "lam": 0.7, "interactions": (2,), "epochs": 9, "batch_size": 3, "optimizer": "sgd", "lr": 0.3,
        "weight_decay": 0.3, "projection": "lda", "seed": 9, "trust": "linear",
    }  # fmt: skip
    plain = plan([small()]).epochs_to_run
    for name, value in values.items():
        if name == "policy_options":
            value = {next(iter(_options_of("compactness"))): 0.3}
        assert plan([small(), small(**{name: value})]).epochs_to_run > plain, name
    assert {f.name for f in dataclasses.fields(Trial)} - set(values) <= {"task", "model", "augment"}


def _options_of(policy: str) -> list[str]:
    return [f.name for f in dataclasses.fields(registry.load("policy", policy))]


def test_a_trial_may_interact_more_often_than_python_recurses() -> None:
    trial = small(interactions=tuple(range(1, 1500)), epochs=1500)
    planned = plan([trial])
    assert planned.epochs_to_run == 1500 + 1499
    assert sum(1 for root in planned.roots for _ in root.walk()) == 1 + 1 + 1499
