"""Group measures by counting; groups of one and groups that are not there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hill_sim.risk.groups import group_accuracies, group_gap, group_intervals, group_sizes


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 40))
def test_accuracies_by_counting(seed: int, n_groups: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    labels, predictions = rng.integers(3, size=(2, n))
    groups = rng.integers(n_groups, size=n)
    found = group_accuracies(predictions, labels, groups, n_groups)
    for g in range(n_groups):
        inside = [y == p for y, p, of in zip(labels, predictions, groups, strict=True) if of == g]
        assert found[g] == pytest.approx(np.mean(inside) if inside else np.nan, nan_ok=True)
    there = found[~np.isnan(found)]
    assert group_gap(found) == pytest.approx(there.max() - there.min())
    assert group_sizes(groups, n_groups).sum() == n


def test_a_group_of_one_and_a_group_of_none_stay_visible() -> None:
    accuracies = group_accuracies(np.array([0, 1, 1]), np.array([0, 1, 0]), np.array([0, 0, 2]), 3)
    assert accuracies.tolist()[0::2] == [1.0, 0.0]
    assert np.isnan(accuracies[1])
    low, high = group_intervals(accuracies, np.array([2, 0, 1]))
    assert low[2] == 0.0
    assert high[2] == pytest.approx(0.793, abs=1e-3), "one sample says hardly anything"
    assert np.isnan([low[1], high[1]]).all()
    assert group_gap(accuracies) == 1.0
    assert group_gap(np.array([0.5])) == 0.0
