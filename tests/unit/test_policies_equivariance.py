"""Rename the classes, shuffle the points, move, turn, mirror or scale the view: the edit follows."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hill_sim.policy import build_policy
from hill_sim.testing import random_view
from hill_sim.types import Edit, LatentView, Memory, MoveCenter, TargetLayout

POLICIES: list[tuple[str, dict[str, Any]]] = [
    ("compactness", {}),
    ("compactness", {"factor": 0.0}),
    ("separation", {}),
    ("separation", {"away_from": "neighbor"}),
    ("merge_similar", {"pairs": 3}),
    ("resolve_overlap", {"margin": 2.0}),
    ("fix_outliers", {"far": 1.5}),
    ("arrange", {}),
    ("arrange", {"shape": "grid"}),
    ("hold", {}),
    ("ce_only", {}),
    ("merge_distinct", {"pairs": 3}),
    ("swap", {}),
    ("swap", {"which": "similar"}),
    ("flip_flop", {}),
    ("switching", {"at": 1}),
    ("committee", {"members": ("separation", "merge_similar", "compactness", "fix_outliers")}),
    ("adversary", {}),
]
MIRRORED = [(name, options) for name, options in POLICIES if options.get("shape") != "grid"]
MEDIAN = ("committee", {"members": ("separation", "merge_similar", "arrange"), "aggregate": "median"})

seeds = st.integers(0, 2**32)
views = st.builds(
    lambda seed, n_classes, n, wrong, later: remembered(draw_view(seed, n_classes, n, wrong), later),
    seed=seeds,
    n_classes=st.integers(2, 8),
    n=st.integers(8, 40),
    wrong=st.sampled_from([0.0, 0.2, 0.6]),
    later=st.booleans(),
)
FEW = settings(max_examples=25)


def draw_view(seed: int, n_classes: int, n: int, wrong: float) -> LatentView:
    labels = np.random.default_rng(seed).integers(0, n_classes, n)
    return random_view(labels, n_classes, wrong, seed)


def remembered(view: LatentView, later: bool) -> LatentView:
    """As at the first interaction, or as at the second."""
    if not later:
        return view
    edit = Edit([MoveCenter(int(view.labels[0]), (0.5, 0.5))])
    return dataclasses.replace(view, history=(Memory(20, edit, edit.apply(view), 0.5),))


def layout(name: str, options: dict[str, Any], view: LatentView) -> TargetLayout:
    if name == "adversary":  # between classes of one point its moves tie exactly, as its docstring says
        assume(np.bincount(view.labels)[view.shown_classes].min() > 1)
    return build_policy(name, options).edit(view, np.random.default_rng(0)).apply(view)


def check_same(actual: TargetLayout, points: np.ndarray, centers: np.ndarray, touched: np.ndarray, size: float) -> None:
    np.testing.assert_allclose(actual.points, points, atol=1e-7 * size)
    np.testing.assert_allclose(actual.centers, centers, atol=1e-7 * size)
    np.testing.assert_array_equal(actual.touched, touched)


@pytest.mark.parametrize(("name", "options"), [*POLICIES, MEDIAN])
@FEW
@given(view=views, other=seeds)
def test_renamed_classes(name: str, options: dict[str, Any], view: LatentView, other: int) -> None:
    new_name = np.random.default_rng(other).permutation(view.n_classes)
    renamed = dataclasses.replace(view, labels=new_name[view.labels], predictions=new_name[view.predictions])
    before, after = layout(name, options, view), layout(name, options, renamed)
    old_name = np.argsort(new_name)
    check_same(after, before.points, before.centers[old_name], before.touched[old_name], 1.0)


@pytest.mark.parametrize(("name", "options"), [*POLICIES, MEDIAN])
@FEW
@given(view=views, other=seeds)
def test_permuted_points(name: str, options: dict[str, Any], view: LatentView, other: int) -> None:
    order = np.random.default_rng(other).permutation(len(view.points))
    columns = ("points", "labels", "predictions", "confidences", "sample_ids")
    shuffled = dataclasses.replace(view, **{column: getattr(view, column)[order] for column in columns})
    before, after = layout(name, options, view), layout(name, options, shuffled)
    check_same(after, before.points[order], before.centers, before.touched, 1.0)


def check_transformed(name: str, options: dict[str, Any], view: LatentView, matrix: np.ndarray, shift: Any) -> None:
    transformed = dataclasses.replace(view, points=view.points @ matrix + shift)
    before, after = layout(name, options, view), layout(name, options, transformed)
    size = float(np.hypot(*matrix[0]))
    check_same(after, before.points @ matrix + shift, before.centers @ matrix + shift, before.touched, size)


def rotation(angle: float) -> np.ndarray:
    return np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])


@pytest.mark.parametrize(("name", "options"), POLICIES)
@FEW
@given(view=views, angle=st.floats(0, 6.3), dx=st.floats(-10, 10), size=st.floats(0.01, 100))
def test_moved_turned_and_scaled(
    name: str, options: dict[str, Any], view: LatentView, angle: float, dx: float, size: float
) -> None:
    check_transformed(name, options, view, size * rotation(angle), [dx * size, -size])


@pytest.mark.parametrize(("name", "options"), MIRRORED)
@FEW
@given(view=views, angle=st.floats(0, 6.3))
def test_mirrored(name: str, options: dict[str, Any], view: LatentView, angle: float) -> None:
    check_transformed(name, options, view, rotation(angle) @ np.diag([1.0, -1.0]), 0.0)


@FEW
@given(view=views, dx=st.floats(-10, 10), size=st.floats(0.01, 100))
def test_median_committee_moved_and_scaled(view: LatentView, dx: float, size: float) -> None:
    check_transformed(*MEDIAN, view, size * np.eye(2), dx * size)
