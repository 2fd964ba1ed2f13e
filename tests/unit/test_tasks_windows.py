"""Runs, holes and windows against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from hill_sim.tasks.windows import Windows, fill_holes, run_ids, summarised


def test_runs_begin_where_anything_changes() -> None:
    person = np.array([1, 1, 1, 1, 2, 2, 2])
    activity = np.array([5, 5, 6, 6, 6, 6, 6])
    breaks = np.array([True, False, False, True, False, False, True])
    assert run_ids(person, activity, breaks=breaks).tolist() == [0, 0, 1, 2, 3, 3, 4]


def test_holes_are_filled_from_the_same_run_only() -> None:
    nan = np.nan
    values = np.array([[0.0, nan], [nan, 1.0], [nan, nan], [3.0, nan], [nan, 10.0], [100.0, nan], [nan, nan]])
    runs = np.array([0, 0, 0, 0, 1, 1, 2])
    filled = fill_holes(values.copy(), runs)
    expected = [[0, 1], [1, 1], [2, 1], [3, 1], [100, 10], [100, 10], [nan, nan]]
    assert_allclose(filled, expected)


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.floats(0, 1))
def test_holes_against_a_plain_loop(seed: int, rows: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, 2)).astype(np.float32)
    values[rng.random((rows, 2)) < share] = np.nan
    runs = np.cumsum(rng.random(rows) < 0.2)
    expected = values.copy()
    for i in range(rows):
        for k in range(2):
            if np.isnan(values[i, k]):
                before = [j for j in range(i) if runs[j] == runs[i] and not np.isnan(values[j, k])]
                after = [j for j in range(i, rows) if runs[j] == runs[i] and not np.isnan(values[j, k])]
                if before and after:
                    a, b = before[-1], after[0]
                    expected[i, k] = values[a, k] + (values[b, k] - values[a, k]) * (i - a) / (b - a)
                elif before or after:
                    expected[i, k] = values[before[-1] if before else after[0], k]
    assert_allclose(fill_holes(values, runs), expected, rtol=1e-5, atol=1e-6)


@given(st.integers(0, 2**32 - 1), st.integers(1, 80), st.integers(1, 12), st.integers(1, 9))
def test_windows_against_a_plain_loop(seed: int, rows: int, length: int, step: int) -> None:
    rng = np.random.default_rng(seed)
    runs = np.cumsum(rng.random(rows) < 0.1)
    usable = rng.random(rows) < 0.95
    expected = []
    for run in np.unique(runs):
        members = np.flatnonzero(runs == run)
        for start in range(members[0], members[-1] + 2 - length, step):
            if usable[start : start + length].all():
                expected.append(start)
    windows = Windows.inside(runs, usable, length, step)
    assert windows.starts.tolist() == expected
    if not expected:
        return
    values = rng.normal(3.0, 2.0, size=(rows, 2)).astype(np.float32)
    held = sorted({row for start in expected for row in range(start, start + length)})
    mean, deviation = windows.statistics(values)
    assert_allclose(mean, values[held].astype(np.float64).mean(axis=0), rtol=1e-6, atol=1e-7)
    assert_allclose(deviation, values[held].astype(np.float64).std(axis=0), rtol=1e-6, atol=1e-7)
    cut = windows.cut(values, mean, np.ones(2))
    assert cut.shape == (len(expected), 2, length)
    for row, start in enumerate(expected):
        assert_allclose(cut[row].numpy(), (values[start : start + length] - mean).T, atol=1e-6)


def test_summary() -> None:
    windows = torch.tensor([[[1.0, 2.0, 3.0], [0.0, 0.0, 6.0]]])
    expected = [2.0, 2.0, (2 / 3) ** 0.5, 8.0**0.5, 1.0, 0.0, 3.0, 6.0]
    assert summarised(windows).tolist() == [pytest.approx(expected)]
