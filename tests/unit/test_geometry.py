"""Geometry of the view equals scikit-learn's measures; memory does not grow with the square of the points."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import silhouette_samples
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from hill_sim.errors import InvalidInput
from hill_sim.risk.geometry import geometry


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 6), st.integers(8, 60), st.floats(0, 3))
def test_it_equals_scikit_learn(seed: int, n_classes: int, n: int, apart: float) -> None:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(n_classes), rng.integers(n_classes, size=n - n_classes)])
    points = rng.normal(size=(n, 2)) + apart * rng.normal(size=(n_classes, 2))[labels]
    found = geometry(points, labels)
    assert found.silhouette == pytest.approx(silhouette_samples(points, labels).mean(), abs=1e-9)
    knn = KNeighborsClassifier(1, algorithm="brute").fit(points, labels)
    neighbours = knn.kneighbors(return_distance=False)[:, 0]  # of the points themselves, itself left out
    assert found.neighbour_agreement == pytest.approx(np.mean(labels[neighbours] == labels))
    wrong = NearestCentroid().fit(points, labels).predict(points) != labels
    assert found.overlap == pytest.approx(wrong.mean())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 6), st.floats(0.1, 10))
def test_it_does_not_change_with_names_order_turns_and_scale(seed: int, angle: float, scale: float) -> None:
    rng = np.random.default_rng(seed)
    labels, points = rng.integers(4, size=30), rng.normal(size=(30, 2))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    order = rng.permutation(30)
    before = geometry(points, labels)
    after = geometry((scale * points @ turn + [3, -2])[order], np.array([7, 3, 11, 5])[labels][order])
    assert vars(after) == pytest.approx(vars(before), abs=1e-9)


def test_edges() -> None:
    apart = geometry(np.array([[0, 0], [0, 1], [9, 0], [9, 1.0]]), np.array([0, 0, 1, 1]))
    assert apart.neighbour_agreement == 1.0
    assert apart.overlap == 0.0
    assert apart.silhouette > 0.85
    together = geometry(np.zeros((4, 2)), np.array([0, 1, 0, 1]))
    assert together.silhouette == 0.0
    assert together.overlap == 1.0, "as near to the other center as to the own one"
    alone = geometry(np.array([[0, 0], [0, 1], [5, 5.0]]), np.array([0, 0, 1]))
    assert alone.silhouette == pytest.approx(
        silhouette_samples(np.array([[0, 0], [0, 1], [5, 5.0]]), np.array([0, 0, 1])).mean()
    )
    one_class = geometry(np.array([[0, 0], [1, 0.0]]), np.array([2, 2]))
    assert one_class.neighbour_agreement == 1.0
    assert math.isnan(one_class.silhouette)
    assert math.isnan(one_class.overlap)
    assert all(math.isnan(value) for value in vars(geometry(np.zeros((1, 2)), np.array([0]))).values())


def test_ten_thousand_points_need_no_matrix() -> None:
    rng = np.random.default_rng(0)
    points, labels = rng.normal(size=(10_000, 2)), rng.integers(10, size=10_000)
    geometry(points[:10], labels[:10])  # compiled
    tracemalloc.start()
    geometry(points, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6, "all distances would take 800 MB"


@pytest.mark.parametrize(
    ("points", "labels", "message"),
    [
        (np.zeros((3, 3)), np.zeros(3), r"are not \[n,2\] and \[n\]"),
        (np.zeros((3, 2)), np.zeros(2), r"are not \[n,2\] and \[n\]"),
        (np.full((3, 2), np.nan), np.zeros(3), "3 of 3 are not finite"),
    ],
)
def test_bad_input(points: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        geometry(points, labels)
