"""Calibration equals plain loops over bins and scikit-learn's score."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss

from hill_sim.risk.calibration import brier_score, calibration_error

problems = st.tuples(st.integers(0, 2**32), st.integers(2, 6), st.integers(1, 80))


def draw(seed: int, n_classes: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(n_classes, 0.5), size=n), rng.integers(n_classes, size=n)


@settings(max_examples=80, deadline=None)
@given(problems, st.integers(1, 20))
def test_equal_widths_by_a_loop(problem: tuple[int, int, int], bins: int) -> None:
    probabilities, labels = draw(*problem)
    total = 0.0
    for m in range(bins):
        inside = [i for i, p in enumerate(probabilities) if m / bins < p.max() <= (m + 1) / bins]
        if inside:
            right = np.mean([probabilities[i].argmax() == labels[i] for i in inside])
            total += len(inside) / len(labels) * abs(right - np.mean([probabilities[i].max() for i in inside]))
    assert calibration_error(probabilities, labels, bins) == pytest.approx(total, abs=1e-12)


@settings(max_examples=80, deadline=None)
@given(problems, st.integers(1, 20))
def test_equal_counts_by_a_loop(problem: tuple[int, int, int], bins: int) -> None:
    probabilities, labels = draw(*problem)
    n = len(labels)
    order = sorted(range(n), key=lambda i: probabilities[i].max())
    members: dict[int, list[int]] = {}
    for place, i in enumerate(order):
        members.setdefault(place * bins // n, []).append(i)
    total = 0.0
    for inside in members.values():
        right = np.mean([probabilities[i].argmax() == labels[i] for i in inside])
        total += len(inside) / n * abs(right - np.mean([probabilities[i].max() for i in inside]))
    assert calibration_error(probabilities, labels, bins, adaptive=True) == pytest.approx(total, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(problems)
def test_brier_equals_scikit_learn(problem: tuple[int, int, int]) -> None:
    probabilities, labels = draw(*problem)
    expected = brier_score_loss(labels, probabilities, labels=list(range(problem[1])), scale_by_half=False)
    assert brier_score(probabilities, labels) == pytest.approx(expected)


def test_by_hand() -> None:
    sure = np.eye(3)[[0, 1, 2, 0]]
    assert calibration_error(sure, np.array([0, 1, 2, 0])) == brier_score(sure, np.array([0, 1, 2, 0])) == 0.0
    assert calibration_error(sure, np.array([1, 2, 0, 1])) == 1.0
    assert brier_score(sure, np.array([1, 2, 0, 1])) == 2.0
    constant = np.tile([0.5, 0.25, 0.25], (8, 1))
    assert calibration_error(constant, np.array([0, 0, 1, 1, 2, 2, 1, 2])) == pytest.approx(0.25)
