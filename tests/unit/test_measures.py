"""Measures of predictions equal scikit-learn's where it has them, and plain counting where it has not."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from hill_sim.risk import measures

_labels = st.integers(1, 5).flatmap(
    lambda c: st.tuples(
        st.just(c), st.lists(st.tuples(*[st.integers(0, c - 1)] * 3), min_size=1, max_size=40).map(np.array)
    )
)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(_labels)
def test_recalls_and_f1_equal_scikit_learn(problem: tuple[int, np.ndarray]) -> None:
    n_classes, (labels, predictions, _) = problem[0], problem[1].T
    recalls = measures.class_recalls(predictions, labels, n_classes)
    there = np.unique(labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = metrics.recall_score(labels, predictions, labels=range(n_classes), average=None)
        f1 = metrics.f1_score(labels, predictions, average="macro")  # over the classes that occur in either
    assert np.allclose(recalls[there], expected[there])
    assert np.isnan(np.delete(recalls, there)).all()
    assert measures.macro_f1(predictions, labels, n_classes) == pytest.approx(f1)
    spread = max(expected[there]) - min(expected[there])
    assert measures.recall_disparity(recalls) == pytest.approx(spread)


@settings(max_examples=200, deadline=None)
@given(_labels)
def test_flips_by_counting(problem: tuple[int, np.ndarray]) -> None:
    triples = problem[1]
    labels, predictions, twin = triples.T
    n = len(triples)
    negative = sum(1 for y, p, t in triples if t == y and p != y) / n
    positive = sum(1 for y, p, t in triples if t != y and p == y) / n
    assert measures.negative_flips(predictions, twin, labels) == pytest.approx(negative)
    assert measures.positive_flips(predictions, twin, labels) == pytest.approx(positive)
    assert measures.churn(predictions, twin) == pytest.approx(sum(1 for _, p, t in triples if p != t) / n)
    gain = float(np.mean(predictions == labels) - np.mean(twin == labels))
    assert positive - negative == pytest.approx(gain)  # what accuracy hides, flips show
    assert measures.churn(predictions, twin) >= max(positive, negative) - 1e-15


def test_by_hand() -> None:
    labels, predictions = np.array([0, 0, 0, 1, 1, 3]), np.array([0, 0, 1, 1, 2, 3])
    recalls = measures.class_recalls(predictions, labels, 5)
    assert recalls.tolist()[:2] == [2 / 3, 1 / 2]
    assert math.isnan(recalls[2])
    assert recalls[3] == 1.0
    assert math.isnan(recalls[4])
    # F1: 4/5, 2/4, 0/1 (predicted, never right), 1; class 4 does not occur
    assert measures.macro_f1(predictions, labels, 5) == pytest.approx((0.8 + 0.5 + 0.0 + 1.0) / 4)
    assert measures.recall_disparity(recalls) == 0.5
