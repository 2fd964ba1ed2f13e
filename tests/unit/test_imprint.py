"""Imprint and conflict index against plain loops, and on edits whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hill_sim.risk.imprint import conflict_index, imprint, layouts
from hill_sim.types import layout_of

LABELS = np.array([0, 0, 0, 1, 1, 1, 3, 3])  # class 2 is not shown
CLASSES = 4


def standardised(points: np.ndarray) -> np.ndarray:
    centred = points - points.mean(axis=0)
    return centred / np.sqrt((centred**2).sum(axis=1).mean())


def draw(seed: int, k: int) -> tuple[np.ndarray, ...]:
    """before, asked, achieved, unedited of k interactions, each view centred and scaled by its points."""
    rng = np.random.default_rng(seed)
    achieved = rng.normal(size=(k, len(LABELS), 2))
    before = np.array([standardised(p) for p in [rng.normal(size=(len(LABELS), 2)), *achieved[:-1]]])
    return before, before + rng.normal(size=before.shape), achieved, rng.normal(size=before.shape)


def loop_imprint(before: np.ndarray, asked: np.ndarray, achieved: np.ndarray, unedited: np.ndarray) -> float:
    def vector(points: np.ndarray, c: int) -> np.ndarray:
        own = points[c == LABELS]
        center = own.mean(axis=0)
        return np.array([*center, np.mean(np.linalg.norm(own - center, axis=1))])

    above, below = 0.0, 0.0
    for k in range(len(before)):
        start = before[0]
        if k:
            last = achieved[k - 1]
            size = np.sqrt(np.mean(np.sum((last - last.mean(axis=0)) ** 2, axis=1)))
            start = (unedited[k - 1] - last.mean(axis=0)) / size
        for c in (0, 1, 3):
            wanted = vector(asked[k], c) - vector(before[k], c)
            net = vector(achieved[k], c) - vector(before[k], c) - (vector(unedited[k], c) - vector(start, c))
            above += wanted @ net
            below += wanted @ wanted
    return above / below


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_imprint_equals_a_loop(seed: int, k: int) -> None:
    given_arrays = draw(seed, k)
    assert imprint(*given_arrays, LABELS, CLASSES) == pytest.approx(loop_imprint(*given_arrays), rel=1e-9)


def test_layouts_are_those_of_the_user() -> None:
    points = np.random.default_rng(0).normal(size=(3, len(LABELS), 2))
    found = layouts(points, LABELS, CLASSES)
    for some, layout in zip(points, found, strict=True):
        centers, spreads = layout_of(some, LABELS, CLASSES)
        np.testing.assert_allclose(layout[:, :2], centers, atol=1e-12)
        np.testing.assert_allclose(layout[[0, 1, 3], 2], spreads[[0, 1, 3]], atol=1e-12)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0, -0.3])
def test_a_share_of_the_way_is_that_share(share: float) -> None:
    """One class is dragged and goes that far; the twin, and the model on top of it, drift besides."""
    before, *_ = draw(1, 1)
    wish = np.where((LABELS == 1)[:, None], [0.7, -0.2], 0.0)
    drift = np.array([0.3, 0.4])
    found = imprint(before, before + wish, before + share * wish + drift, before + drift, LABELS, CLASSES)
    assert found == pytest.approx(share)


def test_a_class_that_is_only_shrunk_leaves_its_imprint_too() -> None:
    before, *_ = draw(2, 1)
    centers, _ = layout_of(before[0], LABELS, CLASSES)
    inwards = 0.5 * (centers[LABELS] - before)
    assert imprint(before, before + inwards, before + 0.4 * inwards, before, LABELS, CLASSES) == pytest.approx(0.4)


def test_a_later_view_of_another_size_does_not_count_as_movement() -> None:
    """The layout blows up threefold in trial and twin alike; the second view is scaled back, as the engine does it."""
    first = standardised(draw(3, 1)[0][0])
    before = np.stack([first, first])
    wish = np.where((LABELS == 0)[:, None], [0.0, 1.0], 0.0)
    achieved = np.stack([3 * first + 2, first + 0.5 * wish])
    unedited = np.stack([3 * first + 2, first])
    asked = np.stack([first, first + wish])
    assert imprint(before, asked, achieved, unedited, LABELS, CLASSES) == pytest.approx(0.5)


def test_no_wish_and_no_twin_have_no_imprint() -> None:
    before, asked, achieved, unedited = draw(4, 2)
    assert math.isnan(imprint(before, before, achieved, unedited, LABELS, CLASSES))
    assert math.isnan(imprint(before, asked, achieved, np.full_like(unedited, np.nan), LABELS, CLASSES))
    empty = np.empty((0, 8, 2))
    assert math.isnan(imprint(empty, empty, empty, empty, LABELS, CLASSES))


def loop_conflict(before: np.ndarray, asked: np.ndarray) -> float:
    cosines = []
    for k in range(1, len(before)):
        dot = one = other = 0.0
        for i in range(before.shape[1]):
            a, b = asked[k - 1, i] - before[k - 1, i], asked[k, i] - before[k, i]
            if np.hypot(*a) > 1e-9 and np.hypot(*b) > 1e-9:
                dot, one, other = dot + a @ b, one + a @ a, other + b @ b
        if one > 0:
            cosines.append(-dot / math.sqrt(one * other))
    return sum(cosines) / len(cosines) if cosines else math.nan


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 5), st.floats(0, 1))
def test_conflict_equals_a_loop(seed: int, k: int, still: float) -> None:
    before, asked, *_ = draw(seed, k)
    rest = np.random.default_rng(seed).random(before.shape[:2]) < still
    asked[rest] = before[rest]
    found = conflict_index(before, asked)
    assert found == pytest.approx(loop_conflict(before, asked), nan_ok=True)
    assert math.isnan(found) or -1.0 <= found <= 1.0


def test_conflicts_whose_answer_is_known() -> None:
    before, asked, *_ = draw(5, 2)
    wish = asked[0] - before[0]
    again, back = np.stack([asked[0], before[1] + 3 * wish]), np.stack([asked[0], before[1] - 0.2 * wish])
    assert conflict_index(before, again) == pytest.approx(-1.0)
    assert conflict_index(before, back) == pytest.approx(1.0)
    turned = np.stack([asked[0], before[1] + wish[:, ::-1] * [1, -1]])
    assert conflict_index(before, turned) == pytest.approx(0.0, abs=1e-12)
    elsewhere = before + np.where(np.arange(8)[None, :, None] % 2 == np.arange(2)[:, None, None], 1.0, 0.0)
    assert math.isnan(conflict_index(before, elsewhere)), "no point was asked to move twice"
