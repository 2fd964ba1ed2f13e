"""Edit-directed confusion by counting, and what it must not react to."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hill_sim.policy import build_policy
from hill_sim.risk.confusion import directed_confusion, pair_confusion, pulled_pairs
from hill_sim.testing import example_views

VIEW = example_views()["ordinary"]


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 6), st.integers(1, 60))
def test_pairs_by_counting(seed: int, n_classes: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    labels, predictions = rng.integers(n_classes, size=(2, n))
    found = pair_confusion(predictions, labels, n_classes)
    for a, b in itertools.combinations(range(n_classes), 2):
        swapped = sum((y, p) in ((a, b), (b, a)) for y, p in zip(labels, predictions, strict=True))
        both = sum(y in (a, b) for y in labels)
        expected = swapped / both if both else math.nan
        assert found[a, b] == pytest.approx(expected, nan_ok=True)
        assert found[b, a] == pytest.approx(expected, nan_ok=True)


def pulled_by(policy: str, **options: object) -> set[tuple[int, int]]:
    layout = build_policy(policy, options).edit(VIEW, np.random.default_rng(0)).apply(VIEW)
    found = pulled_pairs(VIEW.centers[None], layout.centers[None])
    assert (found == found.T).all()
    return {(int(a), int(b)) for a, b in zip(*np.nonzero(np.triu(found, 1)), strict=True)}


def test_what_pulls_and_what_does_not() -> None:
    assert pulled_by("compactness") == pulled_by("separation") == pulled_by("hold") == set()
    merged = pulled_by("merge_distinct", pairs=1, pull=0.8)
    assert len(merged) >= 1
    layout = build_policy("merge_distinct", {"pairs": 1, "pull": 0.8}).edit(VIEW, np.random.default_rng(0)).apply(VIEW)
    assert tuple(np.flatnonzero(layout.touched)) in merged
    assert pulled_by("merge_distinct", pairs=1, pull=0.4) == set(), "not even half of the way"


def test_one_edit_of_several_is_enough_and_coincident_centers_are_not_pulled() -> None:
    before = np.array([[[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]]] * 2)
    asked = before.copy()
    asked[1, 0] = [0.9, 0.0]
    assert pulled_pairs(before, asked).tolist() == [[False, True, True], [True, False, False], [True, False, False]]
    before[:, 1] = np.nan
    assert pulled_pairs(before, asked).sum() == 2, "a class that is not shown is not pulled"


def test_a_rise_of_confusion_everywhere_is_not_directed() -> None:
    labels = np.repeat(np.arange(4), 30)
    twin = labels.copy()
    everywhere = labels.copy()
    everywhere[::3] = (labels[::3] + np.tile([1, 2, 3, 1], 10)) % 4
    pulled = np.zeros((4, 4), dtype=bool)
    pulled[0, 1] = pulled[1, 0] = True
    own = pair_confusion(everywhere, labels, 4)
    assert abs(directed_confusion(own, pair_confusion(twin, labels, 4), pulled)) < 0.1
    confused = labels.copy()
    confused[:15] = 1
    found = directed_confusion(pair_confusion(confused, labels, 4), pair_confusion(twin, labels, 4), pulled)
    assert found == pytest.approx(15 / 60)
    assert directed_confusion(own, own, pulled) == 0.0


def test_nothing_to_compare_is_no_number() -> None:
    some = np.zeros((3, 3))
    assert math.isnan(directed_confusion(some, some, np.zeros((3, 3), dtype=bool)))
    assert math.isnan(directed_confusion(some, some, ~np.eye(3, dtype=bool)))
    unknown = np.full((3, 3), np.nan)
    unknown[0, 1] = unknown[1, 0] = 0.2
    pulled = np.zeros((3, 3), dtype=bool)
    pulled[1, 2] = pulled[2, 1] = True
    assert math.isnan(directed_confusion(unknown, some, pulled)), "a class absent from the test split"
