"""Branches of a trial, what they cost, and what their outcomes say of each interaction."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hill_sim import Trial, simulate
from hill_sim.engine import attribution_cost, plan
from hill_sim.errors import InvalidInput
from hill_sim.risk.attribution import KINDS, LEAVE_ONE_OUT, MEASURES, ONLY_ONE, attribution, branches, effects
from hill_sim.trial import Options

FULL = Trial(interactions=(25, 30, 35, 40))


def test_every_interaction_is_left_out_once_and_left_alone_once() -> None:
    found = {branch.name: branch.trial.interactions for branch in branches(FULL)}
    assert found == {
        "without 25": (30, 35, 40), "without 30": (25, 35, 40), "without 35": (25, 30, 40), "without 40": (25, 30, 35),
        "only 25": (25,), "only 30": (30,), "only 35": (35,), "only 40": (40,),
    }  # fmt: skip
    changed = {name for name in FULL.to_dict() if any(
        getattr(branch.trial, name) != getattr(FULL, name) for branch in branches(FULL))}  # fmt: skip
    assert changed == {"interactions"}


def test_a_sequence_loses_its_entry_and_the_entrys_options() -> None:
    sequence = FULL.replace(
        policy=("compactness", "swap", "random", "hold"), policy_options=({"factor": 0.5}, {}, {"match": "swap"}, {})
    )
    found = {branch.name: branch.trial for branch in branches(sequence)}
    assert found["without 30"].policy == ("compactness", "random", "hold")
    assert found["without 30"].policy_at(1) == ("random", Options(match="swap"))
    assert found["only 25"].policy == ("compactness",)
    assert found["only 25"].policy_at(0) == ("compactness", Options(factor=0.5))
    shared = sequence.replace(policy_options={})
    assert branches(shared)[0].trial.policy_options == Options()


@pytest.mark.parametrize(
    "trial", [FULL.twin(), FULL.replace(policy="ce_scaled"), FULL.replace(interactions=(25,)),
              FULL.replace(interactions=())]
)  # fmt: skip
def test_nothing_to_attribute(trial: Trial) -> None:
    assert branches(trial) == []


def test_unknown_kind() -> None:
    with pytest.raises(InvalidInput, match="did you mean 'only_one'"):
        branches(FULL, ["only_on"])


def test_the_cost_is_the_planners() -> None:
    trials = [FULL.replace(seed=seed) for seed in range(3)]
    cost = attribution_cost(trials)
    everything = [*trials, *(branch.trial for trial in trials for branch in branches(trial))]
    assert (cost.trials, cost.branches) == (3, 24)
    assert cost.epochs + cost.extra == plan(everything).epochs_to_run
    # By hand, a seed: "only 25" goes on from epoch 30 under its first edit (15 epochs), "without 30" leaves it at 35
    # (10), "without 35" leaves the full trial at 35 and is edited at 40 (10), "without 40" at 40 (5); "only 30",
    # "only 35" and "only 40" leave the twin (15, 10, 5); "without 25" leaves "only 30" at 35 (10).
    assert cost.extra == 3 * (15 + 10 + 10 + 5 + 15 + 10 + 5 + 10)
    assert cost.alone == 24 * 45
    assert "24 branches of 3 trials, 240 extra epochs" in str(cost)


def outcomes(trials: list[Trial], gain) -> pd.DataFrame:  # type: ignore[no-untyped-def]
    rows = []
    for trial in trials:
        value = gain(trial)
        rows.append({"key": trial.key, "status": "failed" if np.isnan(value) else "done",
                     **dict.fromkeys(MEASURES, value), "class_gain": (value, -value)})  # fmt: skip
    return pd.DataFrame(rows)


def with_branches(seeds: int) -> list[Trial]:
    full = [FULL.replace(seed=seed) for seed in range(seeds)]
    return [*full, *(branch.trial for trial in full for branch in branches(trial))]


WORTH = {25: 0.01, 30: 0.02, 35: -0.04, 40: 0.0}


def additive(trial: Trial) -> float:
    """Each interaction adds its worth, whatever the others do; a seed shifts all trials of that seed."""
    return 0.1 * trial.seed + sum(WORTH[epoch] for epoch in trial.interactions)


def test_additive_effects_come_out_as_they_are() -> None:
    trials = with_branches(4)
    found = effects(trials, outcomes(trials, additive))
    left = found[found["kind"] == LEAVE_ONE_OUT]
    for row in left[left["measure"] == "negative_flips"].itertuples():
        assert row.effect == pytest.approx(WORTH[row.epoch]), "the seed's shift cancels"
    alone = found[(found["kind"] == ONLY_ONE) & (found["measure"] == "gain") & (found["seed"] == 2)]
    assert dict(zip(alone["epoch"], alone["effect"], strict=True)) == pytest.approx(
        {e: 0.2 + w for e, w in WORTH.items()}
    )
    classes = left[(left["measure"] == "class_gain") & (left["epoch"] == 35)]
    assert set(classes["class"]) == {0, 1}
    np.testing.assert_allclose(classes[classes["class"] == 1]["effect"], 0.04)
    table = attribution(found)
    row = table[(table["kind"] == LEAVE_ONE_OUT) & (table["epoch"] == 30) & (table["measure"] == "gain")].iloc[0]
    assert (row["n"], row["lost"]) == (4, 0)
    assert row["iqm"] == pytest.approx(0.02)
    assert row["low"] == pytest.approx(0.02)
    assert row["high"] == pytest.approx(0.02)


def test_a_failed_branch_costs_its_seed_and_is_counted() -> None:
    trials = with_branches(3)
    broken = branches(trials[1])[2].trial  # without 35, seed 1
    table = outcomes(trials, lambda trial: float("nan") if trial == broken else additive(trial))
    found = attribution(effects(trials, table))
    at = found[(found["kind"] == LEAVE_ONE_OUT) & (found["measure"] == "gain")].set_index("epoch")
    assert at.loc[35, ["n", "lost"]].tolist() == [2, 1]
    assert at.loc[30, ["n", "lost"]].tolist() == [3, 0]


def test_one_seed_has_no_interval() -> None:
    trials = with_branches(1)
    found = attribution(effects(trials, outcomes(trials, additive)))
    assert found["n"].eq(1).all()
    assert found["low"].isna().all()


def test_without_branches_there_is_nothing() -> None:
    some = [FULL, FULL.replace(interactions=(25,)), FULL.replace(interactions=(25, 30))]  # a grid of schedules
    found = effects(some, outcomes(some, additive))
    assert set(found["key"]) <= {some[2].key}, "two of a kind may be told of (25, 30), of the longer one nothing"
    assert attribution(effects([FULL], outcomes([FULL], additive))).empty


def test_a_branch_is_not_attributed_itself_unless_asked() -> None:
    """Three interactions: "only 30" and "only 35" are the branches of "without 25" as well."""
    full = FULL.replace(interactions=(25, 30, 35))
    trials = [full, *(branch.trial for branch in branches(full))]
    table = outcomes(trials, additive)
    assert set(effects(trials, table)["key"]) == {full.key}
    asked = effects(trials, table, of=[branches(full)[0].trial])
    assert set(asked["epoch"]) == {30, 35}


def test_groups_keep_apart_and_persons_are_averaged() -> None:
    trials = with_branches(2)
    found = effects(trials, outcomes(trials, additive)).assign(user="a")
    twice = pd.concat([found, found.assign(user="b", effect=0.0), found.assign(effect=found["effect"] + 0.1)])
    table = attribution(twice, ["user"])
    at = table[(table["kind"] == LEAVE_ONE_OUT) & (table["epoch"] == 25) & (table["measure"] == "gain")]
    np.testing.assert_allclose(at.set_index("user")["iqm"].loc[["a", "b"]], [0.01 + 0.05, 0.0])


def test_mismatches_are_refused() -> None:
    table = outcomes([FULL], additive)
    with pytest.raises(InvalidInput, match="2 for 1"):
        effects([FULL, FULL], table)
    with pytest.raises(InvalidInput, match="no column 'gian'"):
        effects([FULL], table, ["gian"])


def test_of_a_real_run() -> None:
    full = Trial(task_options={"train_per_class": 20}, epochs=6, interactions=(2, 3, 4), batch_size=64, alpha=0.7)
    runs = simulate([full, *(branch.trial for branch in branches(full))])
    trials = [result.trial for result in runs.results]
    gain = runs.outcomes["gain"]
    found = effects(trials, runs.outcomes)
    assert set(found["kind"]) == set(KINDS)
    left = found[(found["measure"] == "gain") & (found["kind"] == LEAVE_ONE_OUT)].set_index("epoch")["effect"]
    assert left[3] == gain[0] - gain[2]
    assert len(found[found["measure"] == "class_gain"]) == 10 * 6
