"""Harm curves and where they cross, against scikit-learn, plain loops and curves whose crossing is known."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import isotonic_regression

from hill_sim.errors import InvalidInput
from hill_sim.risk.statistics import interquartile_mean
from hill_sim.risk.threshold import isotonic, threshold, thresholds

ALPHAS = np.array([0.1, 0.3, 0.5, 0.7, 0.9])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.floats(-5, 5), min_size=6, max_size=6), min_size=1, max_size=4))
def test_isotonic_equals_scikit_learn(curves: list[list[float]]) -> None:
    expected = np.array([isotonic_regression(np.array(curve)) for curve in curves])
    np.testing.assert_allclose(isotonic(np.array(curves)), expected, atol=1e-9)


def loop_crossing(alphas: np.ndarray, curve: np.ndarray, eps: float) -> float:
    x = [0.0, *alphas]
    y = [0.0, *np.maximum(isotonic_regression(curve), 0.0)]
    for k in range(1, len(x)):
        if y[k] > eps:
            return x[k - 1] + (eps - y[k - 1]) / (y[k] - y[k - 1]) * (x[k] - x[k - 1])
    return math.inf


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 12), st.floats(0.002, 0.05))
def test_the_estimate_equals_a_loop_and_lies_in_its_interval(seed: int, n: int, eps: float) -> None:
    rng = np.random.default_rng(seed)
    harm = 0.04 * ALPHAS * rng.normal(0.5, 1.0) + rng.normal(0, 0.01, size=(n, 5))
    found = threshold(ALPHAS, harm, eps, resamples=200)
    assert found.alpha == pytest.approx(loop_crossing(ALPHAS, interquartile_mean(harm, axis=0), eps))
    assert found.low <= found.high
    assert 0 <= found.never <= 1
    assert found.n == n


def test_a_known_line_crosses_where_it_should() -> None:
    harm = np.tile(0.05 * ALPHAS, (8, 1))
    found = threshold(ALPHAS, harm, 0.01)
    assert found.alpha == found.low == found.high == pytest.approx(0.2)
    assert found.never == 0.0
    assert found.sure_from == 0.3
    assert threshold(ALPHAS, harm, 0.04).alpha == pytest.approx(0.8)


def test_never_is_an_answer() -> None:
    found = threshold(ALPHAS, np.tile(0.05 * ALPHAS, (8, 1)), 0.1)
    assert found.alpha == found.low == found.high == found.sure_from == math.inf
    assert found.never == 1.0
    assert found.last == 0.9
    assert threshold(ALPHAS, -np.ones((5, 5)), 0.01).alpha == math.inf, "a gain is no harm"


def test_where_half_the_seeds_never_cross_the_interval_is_open() -> None:
    rng = np.random.default_rng(0)
    found = threshold(ALPHAS, rng.normal(0.01, 0.02, size=(12, 5)), 0.012)
    assert found.high == math.inf
    assert 0.1 < found.never < 0.9


@pytest.mark.slow
def test_the_interval_covers_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(200):
        harm = 0.05 * ALPHAS + rng.normal(0, 0.008, size=(15, 1)) + rng.normal(0, 0.008, size=(15, 5))
        found = threshold(ALPHAS, harm, 0.02, resamples=300)
        covered += found.low <= 0.4 <= found.high
    assert 0.86 <= covered / 200 <= 0.99


def test_sure_from_holds_for_every_louder_alpha() -> None:
    harm = np.tile([0.05, 0.0, 0.05, 0.05, 0.05], (6, 1))
    assert threshold(ALPHAS, harm, 0.01).sure_from == 0.5


def test_one_seed_has_no_interval_and_none_no_number() -> None:
    one = threshold(ALPHAS, 0.05 * ALPHAS[None], 0.01)
    assert one.alpha == pytest.approx(0.2)
    assert math.isnan(one.low)
    assert math.isnan(one.sure_from)
    none = threshold(ALPHAS, np.full((3, 5), np.nan), 0.01)
    assert none.n == 0
    assert math.isnan(none.alpha)


def table() -> pd.DataFrame:
    rows = [
        {"policy": policy, "alpha": alpha, "seed": seed, "gain": -slope * alpha, "gap": 0.1 * alpha}
        for policy, slope in (("a", 0.05), ("b", 0.0))
        for alpha in (0.9, 0.0, 0.1, 0.5)
        for seed in range(5)
    ]
    return pd.DataFrame(rows)


def test_a_table_has_a_row_a_group() -> None:
    found = thresholds(table(), ["policy"]).set_index("policy")
    assert found.loc["a", "alpha"] == pytest.approx(0.2)
    assert found.loc["b", "alpha"] == math.inf
    assert found["n"].tolist() == [5, 5]
    rising = thresholds(table(), ["policy"], "gap", worse=1, eps=0.05)
    assert rising["alpha"].tolist() == pytest.approx([0.5, 0.5])


def test_a_seed_that_lacks_an_alpha_is_left_out() -> None:
    outcomes = table()
    outcomes.loc[(outcomes["seed"] == 3) & (outcomes["alpha"] == 0.5), "gain"] = np.nan
    assert thresholds(outcomes, ["policy"])["n"].tolist() == [4, 4]


@pytest.mark.parametrize(
    ("alphas", "eps", "message"),
    [
        ([0.5, 0.1], 0.01, "ascending and > 0"),
        ([0.0, 0.5], 0.01, "ascending and > 0"),
        ([0.1], 0.01, r"are not \[A\] and \[n,A\]"),
        ([0.1, 0.5], 0.0, "eps: 0.0 is not > 0"),
    ],
)
def test_bad_input(alphas: list[float], eps: float, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        threshold(np.array(alphas), np.zeros((3, 2)), eps)


def test_bad_columns() -> None:
    with pytest.raises(InvalidInput, match="no column 'losses'"):
        thresholds(table(), ["policy"], "losses")
    with pytest.raises(InvalidInput, match="worse: 0 is not -1 or 1"):
        thresholds(table(), ["policy"], worse=0)
