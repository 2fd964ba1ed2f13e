"""Paired comparisons against plain loops."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hill_sim.errors import InvalidInput
from hill_sim.risk.comparison import REFERENCES, compare, reference_values, summarise
from hill_sim.risk.significance import holm, signed_rank
from hill_sim.risk.statistics import bootstrap_interval, interquartile_mean

POLICIES = ("compactness", "separation", "hold", "random", "ce_scaled")


def table(seeds: int = 6, alphas: tuple[float, ...] = (0.3, 0.7), policies: tuple[str, ...] = POLICIES) -> pd.DataFrame:
    """Outcomes of a grid, with gains drawn at random."""
    rng = np.random.default_rng(3)
    rows = [
        {"objective": o, "policy": p, "policy_options": "{}", "user": "{}", "alpha": a, "seed": s, "gain": rng.normal()}
        for o, p, a, s in itertools.product(("hill", "paper"), policies, alphas, range(seeds))
    ]
    return pd.DataFrame(rows)


def loop_differences(outcomes: pd.DataFrame, objective: str, policy: str, alpha: float, reference: str) -> list[float]:
    """The paired differences of one group, seed by seed."""
    found = []
    for seed in sorted(outcomes["seed"].unique()):

        def gain(name: str, seed: int = seed) -> float:
            same = (outcomes["objective"] == objective) & (outcomes["alpha"] == alpha) & (outcomes["seed"] == seed)
            (value,) = outcomes[same & (outcomes["policy"] == name)]["gain"]
            return float(value)

        found.append(gain(policy) - (0.0 if reference == "twin" else gain(reference)))
    return found


@pytest.mark.parametrize("reference", REFERENCES)
def test_each_group_equals_a_plain_loop(reference: str) -> None:
    outcomes = table()
    found = compare(outcomes.sample(frac=1, random_state=0), ["objective", "policy", "alpha"], references=[reference])
    assert len(found) == 2 * len(POLICIES) * 2
    for row in found.itertuples(index=False):
        if row.policy == reference:
            assert row.n == 0
            assert row.note == f"is {reference} itself"
            continue
        values = loop_differences(outcomes, row.objective, row.policy, row.alpha, reference)
        assert row.n == len(values)
        assert row.iqm == pytest.approx(interquartile_mean(np.array(values)))
        assert (row.low, row.high) == pytest.approx(bootstrap_interval(np.sort(values)))
        assert row.better == sum(v > 0 for v in values)
        assert row.worse == sum(v < 0 for v in values)
        assert row.improvement == pytest.approx(sum(v > 0 for v in values) / len(values))
        assert row.p == pytest.approx(signed_rank(np.array(values)))


@pytest.mark.parametrize("family", [[], ["objective"], ["objective", "alpha"]])
def test_holm_corrects_within_the_family_and_the_reference(family: list[str]) -> None:
    found = compare(table(), ["objective", "policy", "alpha"], family=family)
    for _, part in found.groupby(["against", *family]):
        np.testing.assert_array_equal(part["p_holm"], holm(part["p"].to_numpy()))
    with pytest.raises(InvalidInput, match="family: 'seed' is not in by"):
        compare(table(), ["policy"], family=["seed"])


def test_what_by_does_not_name_is_averaged_within_the_seed() -> None:
    outcomes = table()
    found = compare(outcomes, ["objective", "policy"], references=["hold"]).set_index(["objective", "policy"])
    per_alpha = [loop_differences(outcomes, "paper", "separation", alpha, "hold") for alpha in (0.3, 0.7)]
    row = found.loc[("paper", "separation")]
    assert row["n"] == 6
    assert row["iqm"] == pytest.approx(interquartile_mean(np.mean(per_alpha, axis=0)))


def test_a_seed_with_a_failed_trial_is_left_out_whole() -> None:
    outcomes = table()
    lost = (outcomes["policy"] == "separation") & (outcomes["seed"] == 2) & (outcomes["alpha"] == 0.3)
    outcomes.loc[lost & (outcomes["objective"] == "hill"), "gain"] = np.nan
    found = compare(outcomes, ["objective", "policy"], references=["twin"]).set_index(["objective", "policy"])
    assert found.loc[("hill", "separation"), "n"] == 5
    kept = outcomes[(outcomes["objective"] == "hill") & (outcomes["policy"] == "separation") & (outcomes["seed"] != 2)]
    assert found.loc[("hill", "separation"), "iqm"] == pytest.approx(
        interquartile_mean(kept.groupby("seed")["gain"].mean().to_numpy())
    )
    assert found.loc[("paper", "separation"), "n"] == 6


def test_missing_controls_are_said_and_nan() -> None:
    found = compare(table(policies=("compactness",)), ["policy"], references=["hold", "twin"]).set_index("against")
    assert found.loc["hold", "note"] == "no finished pair with hold"
    assert np.isnan(found.loc["hold", ["iqm", "low", "high", "improvement"]].to_numpy(dtype=float)).all()
    assert found.loc["twin", "note"] == ""


def test_one_seed_has_a_value_and_no_interval() -> None:
    found = compare(table(seeds=1), ["objective", "policy", "alpha"], references=["twin"])
    assert found["iqm"].notna().all()
    assert found[["low", "high"]].isna().all(axis=None)
    assert set(found["note"]) == {"no interval: one seed"}


def test_random_is_the_one_matched_to_the_policy() -> None:
    rows = [
        {"policy": "compactness", "policy_options": "{}", "user": "{}", "alpha": 0.5, "seed": 0, "gain": 1.0},
        {"policy": "separation", "policy_options": "{}", "user": "{}", "alpha": 0.5, "seed": 0, "gain": 2.0},
        {"policy": "arrange", "policy_options": "{}", "user": "{}", "alpha": 0.5, "seed": 0, "gain": 3.0},
        {"policy": "random", "policy_options": "{}", "user": "{}", "alpha": 0.5, "seed": 0, "gain": 0.1},
        {"policy": "random", "policy_options": json.dumps({"match": "separation"}), "user": "{}", "alpha": 0.5,
         "seed": 0, "gain": 0.2},
    ]  # fmt: skip
    found = reference_values(pd.DataFrame(rows), "gain", "random")
    np.testing.assert_array_equal(found, [0.1, 0.2, 0.1, np.nan, np.nan])


def test_a_control_of_another_alpha_or_objective_does_not_count() -> None:
    outcomes = table(alphas=(0.3,))
    outcomes.loc[outcomes["policy"] == "hold", "alpha"] = 0.9
    assert np.isnan(reference_values(outcomes, "gain", "hold")).all()


def test_a_constant_effect_is_certain_and_ties_count_half() -> None:
    found = summarise(np.array([[0.5] * 8, [0.0] * 8, [1.0, -1.0] * 4]))
    assert found["iqm"].tolist() == [0.5, 0.0, 0.0]
    assert (found["low"][0], found["high"][0]) == (0.5, 0.5)
    assert found["improvement"].tolist() == [1.0, 0.5, 0.5]
    assert found["better"].tolist() == [8, 0, 4]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.floats(-5, 5), min_size=1, max_size=9), min_size=1, max_size=4), st.floats(-3, 3))
def test_rows_do_not_touch_each_other_and_shift_with_the_values(rows: list[list[float]], shift: float) -> None:
    width = max(map(len, rows))
    values = np.full((len(rows), width), np.nan)
    for row, given_values in zip(values, rows, strict=True):
        row[: len(given_values)] = given_values
    together, moved = summarise(values), summarise(values + shift)
    for index, own in enumerate(rows):
        alone = summarise(np.array([own]))
        for name in ("iqm", "low", "high"):
            assert alone[name][0] == pytest.approx(together[name][index], nan_ok=True, abs=1e-9)
            assert moved[name][index] == pytest.approx(together[name][index] + shift, nan_ok=True, abs=1e-9)


def test_nothing_but_nan_has_no_number() -> None:
    found = summarise(np.full((2, 3), np.nan))
    assert found["n"].tolist() == [0, 0]
    assert found[["iqm", "low", "high", "improvement"]].isna().all(axis=None)


def test_a_wrong_column_or_reference_is_named() -> None:
    with pytest.raises(InvalidInput, match="no column 'colour'"):
        compare(table(), ["colour"])
    with pytest.raises(InvalidInput, match="unknown 'nobody'"):
        compare(table(), ["policy"], references=["nobody"])
