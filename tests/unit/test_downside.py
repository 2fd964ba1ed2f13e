"""Risk and shortfall against plain loops, and the intervals against scipy."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hill_sim.errors import InvalidInput
from hill_sim.risk.comparison import compare
from hill_sim.risk.downside import downside
from hill_sim.risk.statistics import bootstrap_interval, expected_shortfall, stratified_interval, wilson_interval


def table(gains: dict[str, list[float]]) -> pd.DataFrame:
    rows = [{"policy": p, "seed": s, "gain": g} for p, values in gains.items() for s, g in enumerate(values)]
    return pd.DataFrame(rows)


def test_risk_and_shortfall_by_hand() -> None:
    gains = [-0.05, -0.02, -0.01, 0.0, 0.01, 0.02, 0.03, 0.04]
    (row,) = downside(table({"a": gains}), ["policy"], eps=0.01, tail=0.25).itertuples(index=False)
    assert row.risk == 2 / 8, "a fall by exactly eps is not more than eps"
    assert row.shortfall == pytest.approx(-0.035)
    expected = stats.binomtest(2, 8).proportion_ci(0.95, method="wilson")
    assert (row.risk_low, row.risk_high) == pytest.approx((expected.low, expected.high))
    assert row.shortfall_low <= row.shortfall <= row.shortfall_high
    assert row.n == 8


def test_no_loss_in_few_seeds_is_no_proof_of_safety() -> None:
    (row,) = downside(table({"a": [0.01] * 5}), ["policy"]).itertuples(index=False)
    assert row.risk == row.risk_low == 0.0
    assert row.risk_high == pytest.approx(0.434, abs=1e-3)


def test_several_trials_of_a_seed_are_one() -> None:
    outcomes = pd.concat([table({"a": [-0.05, 0.0, 0.0]}), table({"a": [0.03, 0.0, np.nan]})])
    (row,) = downside(outcomes, ["policy"], tail=0.5).itertuples(index=False)
    assert row.n == 2, "the seed that lacks a trial is left out"
    assert row.risk == pytest.approx((0.5 + 0.0) / 2)
    assert row.shortfall == pytest.approx(-0.01)


def test_one_seed_has_no_interval_of_the_shortfall() -> None:
    (row,) = downside(table({"a": [-0.05]}), ["policy"]).itertuples(index=False)
    assert row.risk == 1.0
    assert 0.0 < row.risk_low < 0.25
    assert math.isnan(row.shortfall_low)
    (none,) = downside(table({"a": [math.nan]}), ["policy"]).itertuples(index=False)
    assert none.n == 0
    assert math.isnan(none.risk)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30), st.floats(0.01, 1.0))
def test_shortfall_is_the_integral_of_the_quantile_function(values: list[float], tail: float) -> None:
    left, total = tail * len(values), 0.0
    for value in sorted(values):
        total += value * min(left, 1.0)
        left -= min(left, 1.0)
    assert float(expected_shortfall(np.array(values), tail)) == pytest.approx(total / (tail * len(values)), abs=1e-9)
    assert float(expected_shortfall(np.array(values), 1.0)) == pytest.approx(np.mean(values), abs=1e-9)


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (0, 20), (7, 20), (20, 20), (499, 1000)])
def test_wilson_equals_scipy(hits: int, n: int) -> None:
    expected = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert tuple(map(float, wilson_interval(hits, n))) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert np.isnan(wilson_interval(0, 0)).all()


def test_strata_keep_their_share() -> None:
    """Two tasks whose effects differ by far: resampling within each leaves no doubt about their mean."""
    rng = np.random.default_rng(0)
    low_task, high_task = rng.normal(0, 0.1, 20), rng.normal(10, 0.1, 20)
    low, high = stratified_interval([low_task, high_task], np.mean)
    assert 4.9 < low < high < 5.1
    pooled = bootstrap_interval(np.concatenate([low_task, high_task]), np.mean)
    assert pooled[1] - pooled[0] > 10 * (high - low)
    assert np.isnan(stratified_interval([low_task, high_task[:1]], np.mean)).all()


def test_bad_input() -> None:
    good = table({"a": [0.1, 0.2]})
    with pytest.raises(InvalidInput, match=r"tail: 0 is not in \(0, 1\]"):
        downside(good, ["policy"], tail=0)
    with pytest.raises(InvalidInput, match="eps: -1 is not a number >= 0"):
        downside(good, ["policy"], eps=-1)
    with pytest.raises(InvalidInput, match="no column 'colour'"):
        downside(good, ["colour"])


def test_trials_without_twins_are_refused_with_the_command_that_makes_them() -> None:
    lost = table({"hold": [math.nan] * 3}).assign(status="done", twin_test_accuracy=math.nan)
    for function in (downside, compare):
        with pytest.raises(
            InvalidInput, match=r"none of the 3 finished trials has a twin.*hill-sim run --policy ce_only"
        ):
            function(lost, ["policy"])
