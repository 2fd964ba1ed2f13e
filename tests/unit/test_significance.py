"""The signed-rank test equals scipy's and a sum over all signs; Holm's correction equals the loop in his paper."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hill_sim.risk.significance import MOST_EXACT, holm, signed_rank


@settings(max_examples=60, deadline=None)
@given(st.integers(2, MOST_EXACT), st.integers(0, 2**32), st.floats(-1, 1))
def test_without_ties_it_equals_scipy(n: int, seed: int, shift: float) -> None:
    values = np.random.default_rng(seed).normal(shift, size=n)
    assert signed_rank(values) == pytest.approx(stats.wilcoxon(values, method="exact").pvalue, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=2, max_size=9))
def test_with_ties_and_zeros_it_equals_the_sum_over_all_signs(given_values: list[int]) -> None:
    values = np.array(given_values) / 360
    ranks = stats.rankdata(np.abs(given_values))
    ranks[values == 0] = 0.0
    observed = ranks[values > 0].sum()
    sums = np.array([np.dot(ranks, signs) for signs in itertools.product((0, 1), repeat=len(values))])
    expected = min(1.0, 2 * min(np.mean(sums <= observed + 1e-9), np.mean(sums >= observed - 1e-9)))
    assert signed_rank(values) == pytest.approx(expected, abs=1e-12)


def test_many_differences_are_approximated_well() -> None:
    values = np.random.default_rng(0).normal(0.25, size=MOST_EXACT + 1)
    assert signed_rank(values) == pytest.approx(stats.wilcoxon(values, method="exact").pvalue, abs=1e-3)


def test_edges() -> None:
    assert math.isnan(signed_rank(np.array([])))
    assert math.isnan(signed_rank(np.array([0.5])))
    assert signed_rank(np.zeros(7)) == 1.0
    assert signed_rank(np.full(6, 0.1)) == pytest.approx(2 / 2**6)
    assert signed_rank(np.full(5, -0.1)) > 0.05, "five seeds cannot reach 0.05"
    assert signed_rank(np.array([0.1, np.nan, 0.2])) == signed_rank(np.array([0.1, 0.2]))
    assert signed_rank(np.array([0.1, 0.1 + 1e-17, -0.1])) == signed_rank(np.array([1.0, 1.0, -1.0]))


def test_under_no_effect_it_rejects_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    found = np.array([signed_rank(rng.standard_t(2, size=12)) for _ in range(2000)])
    assert 0.03 < np.mean(found <= 0.05) <= 0.06


@given(st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), max_size=12))
def test_holm_equals_a_loop(given_values: list[float]) -> None:
    p = np.array(given_values)
    found = holm(p)
    tested = sorted((value, index) for index, value in enumerate(given_values) if not math.isnan(value))
    before = 0.0
    for place, (value, index) in enumerate(tested):
        before = max(before, min(1.0, value * (len(tested) - place)))
        assert found[index] == pytest.approx(before)
    assert np.isnan(found).sum() == len(given_values) - len(tested)
    assert (found[~np.isnan(found)] >= p[~np.isnan(p)] - 1e-15).all()
