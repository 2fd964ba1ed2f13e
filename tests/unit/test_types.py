"""Views, gestures, edits and layouts: formulas against plain loops, invariances, JSON, and each error in one line."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hill_sim.errors import InvalidEdit, InvalidInput
from hill_sim.types import (
    CollapseClass,
    Edit,
    Gesture,
    LatentView,
    Memory,
    MoveCenter,
    MovePoint,
    ScaleClass,
    TargetLayout,
    layout_of,
)

N_CLASSES = 4


def make_view(seed: int, n: int = 12) -> LatentView:
    """Classes 0, 1 and 3 of four are shown, unsorted."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.resize([0, 1, 3], n))
    return LatentView(
        points=rng.normal(size=(n, 2)),
        labels=labels,
        predictions=rng.integers(0, N_CLASSES, n),
        confidences=rng.uniform(0.25, 1, n),
        sample_ids=rng.permutation(100)[:n],
        class_names=("cat", "dog", "eel", "fox"),
        epoch=25,
        scale=3.0,
        validation_accuracy=0.75,
    )


coordinates = st.floats(-1e3, 1e3)
positions = st.tuples(coordinates, coordinates)
classes = st.sampled_from([0, 1, 3])
gestures = st.one_of(
    st.builds(MoveCenter, classes, positions),
    st.builds(MovePoint, st.integers(0, 11), positions),
    st.builds(ScaleClass, classes, st.floats(0, 10)),
    st.builds(CollapseClass, classes),
)
edits = st.builds(Edit, st.lists(gestures, max_size=6))
seeds = st.integers(0, 2**32)


def layout_by_loops(points: list[tuple[float, float]], labels: list[int]) -> tuple[list[list[float]], list[float]]:
    """Centers and spreads, one number at a time."""
    centers, spreads = [], []
    for c in range(N_CLASSES):
        members = [p for p, label in zip(points, labels, strict=True) if label == c]
        if not members:
            centers.append([math.nan, math.nan])
            spreads.append(0.0)
            continue
        x = math.fsum(p[0] for p in members) / len(members)
        y = math.fsum(p[1] for p in members) / len(members)
        centers.append([x, y])
        spreads.append(math.fsum(math.dist(p, (x, y)) for p in members) / len(members))
    return centers, spreads


def edited_by_loops(view: LatentView, edit: Edit) -> tuple[list[tuple[float, float]], set[int]]:
    """Where the points end up, and the touched classes, gesture by gesture and point by point."""
    points = [(float(x), float(y)) for x, y in view.points]
    labels = [int(c) for c in view.labels]
    touched = set()
    for gesture in edit.gestures:
        if isinstance(gesture, MovePoint):
            points[gesture.point] = gesture.to
            touched.add(labels[gesture.point])
            continue
        c = gesture.cls
        touched.add(c)
        cx, cy = layout_by_loops(points, labels)[0][c]
        for i in range(len(points)):
            if labels[i] != c:
                continue
            dx, dy = points[i][0] - cx, points[i][1] - cy
            if isinstance(gesture, MoveCenter):
                points[i] = (gesture.to[0] + dx, gesture.to[1] + dy)
            else:
                factor = gesture.factor if isinstance(gesture, ScaleClass) else 0.0
                points[i] = (cx + factor * dx, cy + factor * dy)
    return points, touched


@given(seeds, st.integers(1, 30))
def test_layout_equals_plain_loops(seed: int, n: int) -> None:
    view = make_view(seed, n)
    centers, spreads = layout_by_loops([(float(x), float(y)) for x, y in view.points], view.labels.tolist())
    np.testing.assert_allclose(view.centers, centers, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(view.spreads, spreads, rtol=1e-12, atol=1e-12)
    assert view.shown_classes.tolist() == sorted(set(view.labels.tolist()))


@given(seeds, edits)
def test_apply_equals_plain_loops(seed: int, edit: Edit) -> None:
    view = make_view(seed)
    layout = edit.apply(view)
    points, touched = edited_by_loops(view, edit)
    # Widening twentyfold by repetition multiplies rounding errors as well.
    np.testing.assert_allclose(layout.points, points, rtol=1e-9, atol=1e-6)
    assert set(np.flatnonzero(layout.touched)) == touched
    centers, spreads = layout_of(layout.points, view.labels, N_CLASSES)
    np.testing.assert_array_equal(layout.centers, centers)
    np.testing.assert_array_equal(layout.spreads, spreads)


@given(seeds, seeds)
def test_permuting_points_changes_no_layout(seed: int, other: int) -> None:
    view = make_view(seed)
    order = np.random.default_rng(other).permutation(12)
    centers, spreads = layout_of(view.points[order], view.labels[order], N_CLASSES)
    np.testing.assert_allclose(centers, view.centers, atol=1e-12)
    np.testing.assert_allclose(spreads, view.spreads, atol=1e-12)


@given(seeds, seeds)
def test_renaming_classes_renames_the_layout(seed: int, other: int) -> None:
    view = make_view(seed)
    new_name = np.random.default_rng(other).permutation(N_CLASSES)
    centers, spreads = layout_of(view.points, new_name[view.labels], N_CLASSES)
    np.testing.assert_array_equal(centers[new_name], view.centers)
    np.testing.assert_array_equal(spreads[new_name], view.spreads)


@given(seeds, st.floats(0, 6.3), positions, st.floats(1e-3, 1e3))
def test_moving_turning_and_scaling_the_view_moves_the_layout(
    seed: int, angle: float, shift: tuple[float, float], size: float
) -> None:
    view = make_view(seed)
    turn = size * np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    centers, spreads = layout_of(view.points @ turn + shift, view.labels, N_CLASSES)
    np.testing.assert_allclose(centers, view.centers @ turn + shift, atol=1e-9, rtol=1e-9)
    np.testing.assert_allclose(spreads, size * view.spreads, atol=1e-9, rtol=1e-9)


def test_classes_without_points_have_no_center_and_no_spread() -> None:
    view = make_view(0)
    assert np.isnan(view.centers[2]).all()
    assert view.spreads[2] == 0
    assert view.shown_classes.tolist() == [0, 1, 3]


def test_coincident_points_have_no_spread() -> None:
    _, spreads = layout_of(np.ones((5, 2)), np.array([0, 0, 1, 1, 1]), 2)
    assert spreads.tolist() == [0.0, 0.0]


def test_an_empty_edit_leaves_the_view_as_it_is() -> None:
    view = make_view(3)
    layout = Edit().apply(view)
    np.testing.assert_array_equal(layout.points, view.points)
    np.testing.assert_array_equal(layout.centers, view.centers)
    np.testing.assert_array_equal(layout.spreads, view.spreads)
    assert not layout.touched.any()
    assert len(Edit()) == 0


def test_gestures_do_what_they_say() -> None:
    view = make_view(1)
    moved = Edit([MoveCenter(1, (5.0, -2.0))]).apply(view)
    np.testing.assert_allclose(moved.centers[1], [5.0, -2.0])
    np.testing.assert_allclose(moved.spreads, view.spreads)
    widened = Edit([ScaleClass(1, 2.0)]).apply(view)
    np.testing.assert_allclose(widened.centers, view.centers, atol=1e-12)
    np.testing.assert_allclose(widened.spreads[1], 2 * view.spreads[1])
    collapsed = Edit([CollapseClass(1)]).apply(view)
    np.testing.assert_allclose(collapsed.centers, view.centers, atol=1e-12)
    assert collapsed.spreads[1] == pytest.approx(0, abs=1e-12)
    assert collapsed.touched.tolist() == [False, True, False, False]


def test_later_gestures_see_earlier_ones() -> None:
    view = make_view(2)
    layout = Edit([CollapseClass(0), MoveCenter(0, (1.0, 1.0)), ScaleClass(0, 9.0)]).apply(view)
    np.testing.assert_allclose(layout.points[view.labels == 0], 1.0)


def test_apply_does_not_change_the_view_and_the_view_cannot_be_changed() -> None:
    view = make_view(4)
    before = json.dumps(view.to_json())
    Edit([MoveCenter(0, (9.0, 9.0)), MovePoint(0, (1.0, 2.0))]).apply(view)
    assert json.dumps(view.to_json()) == before
    for name in ("points", "labels", "predictions", "confidences", "sample_ids", "centers", "spreads"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(view, name)[0] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        view.epoch = 1  # type: ignore[misc]


@given(edits)
def test_edit_round_trip(edit: Edit) -> None:
    assert Edit.from_json(json.loads(json.dumps(edit.to_json(), allow_nan=False))) == edit


def test_edit_json_is_plain_whatever_the_numbers_were() -> None:
    edit = Edit([MoveCenter(np.int64(1), (np.float64(0.5), 2)), ScaleClass(np.int32(0), np.float64(0.5))])  # type: ignore[arg-type]
    assert json.dumps(edit.to_json()) == (
        '[{"gesture": "move_center", "cls": 1, "to": [0.5, 2.0]}, {"gesture": "scale_class", "cls": 0, "factor": 0.5}]'
    )


@settings(max_examples=30)
@given(seeds, edits)
def test_layout_memory_and_view_round_trip(seed: int, edit: Edit) -> None:
    view = make_view(seed)
    layout = edit.apply(view)
    remembering = dataclasses.replace(view, epoch=30, history=(Memory(25, edit, layout, math.nan),))
    text = json.dumps(remembering.to_json(), allow_nan=False)
    returned = LatentView.from_json(json.loads(text))
    for name in ("points", "labels", "predictions", "confidences", "sample_ids", "centers", "spreads"):
        there, back = getattr(remembering, name), getattr(returned, name)
        assert there.dtype == back.dtype
        np.testing.assert_array_equal(there, back)
    assert (returned.class_names, returned.epoch, returned.scale) == (view.class_names, 30, 3.0)
    assert returned.validation_accuracy == 0.75
    [memory] = returned.history
    assert (memory.epoch, memory.edit) == (25, edit)
    assert math.isnan(memory.validation_accuracy)
    for field in dataclasses.fields(TargetLayout):
        np.testing.assert_array_equal(getattr(memory.layout, field.name), getattr(layout, field.name))
    assert memory.layout.touched.dtype == np.bool_


@pytest.mark.parametrize(
    ("gesture", "message"),
    [
        (MoveCenter(4, (0, 0)), "gesture 2 of 2: class 4 is not in 0..3"),
        (MoveCenter(-1, (0, 0)), "gesture 2 of 2: class -1 is not in 0..3"),
        (MoveCenter(True, (0, 0)), "gesture 2 of 2: class True is not in 0..3"),
        (MoveCenter("cat", (0, 0)), "gesture 2 of 2: class 'cat' is not in 0..3"),  # type: ignore[arg-type]
        (MoveCenter(2, (0, 0)), "gesture 2 of 2: class 2 (eel) has no shown point"),
        (ScaleClass(2, 0.5), "gesture 2 of 2: class 2 (eel) has no shown point"),
        (CollapseClass(9), "gesture 2 of 2: class 9 is not in 0..3"),
        (MovePoint(12, (0, 0)), "gesture 2 of 2: point 12 is not in 0..11"),
        (MovePoint(0.0, (0, 0)), "gesture 2 of 2: point 0.0 is not in 0..11"),  # type: ignore[arg-type]
        (MoveCenter(0, (0, math.nan)), "gesture 2 of 2: position (0, nan) is not a pair of finite numbers"),
        (MovePoint(0, (math.inf, 0)), "gesture 2 of 2: position (inf, 0) is not a pair of finite numbers"),
        (MoveCenter(0, (1, 2, 3)), "gesture 2 of 2: position (1, 2, 3) is not a pair of finite numbers"),  # type: ignore[arg-type]
        (MoveCenter(0, "here"), "gesture 2 of 2: position 'here' is not a pair of numbers"),  # type: ignore[arg-type]
        (ScaleClass(0, -0.1), "gesture 2 of 2: factor -0.1 is not a finite number >= 0"),
        (ScaleClass(0, math.nan), "gesture 2 of 2: factor nan is not a finite number >= 0"),
        (ScaleClass(0, math.inf), "gesture 2 of 2: factor inf is not a finite number >= 0"),
        (ScaleClass(0, "half"), "gesture 2 of 2: factor 'half' is not a finite number >= 0"),  # type: ignore[arg-type]
        (
            "push",
            "gesture 2 of 2: str is not a gesture (allowed: move_center, move_point, scale_class, collapse_class)",
        ),
    ],
)
def test_illegal_gestures(gesture: Gesture, message: str) -> None:
    with pytest.raises(InvalidEdit) as caught:
        Edit([MoveCenter(0, (0.0, 0.0)), gesture]).apply(make_view(0))
    assert str(caught.value) == message
    assert isinstance(caught.value, InvalidInput)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"gesture": "shove", "cls": 0}, "gesture: unknown 'shove' (allowed: move_center, move_point"),
        ({"cls": 0}, "gesture: unknown None (allowed"),
        ({"gesture": ["move_center"]}, "gesture: unknown ['move_center'] (allowed"),
        ({"gesture": "collapse_class"}, "gesture 'collapse_class': "),
        ({"gesture": "collapse_class", "cls": 0, "to": [0, 0]}, "gesture 'collapse_class': "),
        ({"gesture": "move_center", "cls": 0, "to": 5}, "gesture 'move_center': "),
    ],
)
def test_illegal_json(item: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidEdit) as caught:
        Edit.from_json([item])
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
