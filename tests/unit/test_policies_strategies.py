"""Each strategy and control does what its docstring says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hill_sim.policy import build_policy
from hill_sim.policy.motion import randomised, read
from hill_sim.testing import example_views, random_view
from hill_sim.types import CollapseClass, Edit, LatentView, MoveCenter, MovePoint, ScaleClass, TargetLayout

VIEWS = example_views()
ORDINARY = VIEWS["ordinary"]


def at(positions: list[tuple[float, float]], labels: list[int], predictions: list[int] | None = None) -> LatentView:
    """A view with points where a test wants them."""
    n = len(labels)
    return LatentView(
        points=np.array(positions, dtype=np.float64),
        labels=np.array(labels),
        predictions=np.array(labels if predictions is None else predictions),
        confidences=np.ones(n),
        sample_ids=np.arange(n),
        class_names=tuple("abcdefgh"[: max(labels) + 1]),
        epoch=25,
    )


def edit_of(name: str, view: LatentView, seed: int = 0, **options: object) -> Edit:
    return build_policy(name, options).edit(view, np.random.default_rng(seed))


def layout_of(name: str, view: LatentView, seed: int = 0, **options: object) -> TargetLayout:
    return edit_of(name, view, seed, **options).apply(view)


def gaps(centers: np.ndarray) -> np.ndarray:
    return np.hypot(*(centers[:, None] - centers[None]).transpose(2, 0, 1))


def test_compactness_shrinks_every_class_about_its_center() -> None:
    layout = layout_of("compactness", ORDINARY, factor=0.25)
    np.testing.assert_allclose(layout.spreads, 0.25 * ORDINARY.spreads)
    np.testing.assert_allclose(layout.centers, ORDINARY.centers, atol=1e-12)
    assert layout.touched.all()


def test_compactness_zero_is_the_double_click() -> None:
    assert edit_of("compactness", ORDINARY, factor=0) == Edit(CollapseClass(c) for c in range(10))


def test_compactness_leaves_alone_what_cannot_shrink() -> None:
    view = at([(0, 0), (0, 0), (1, 1), (3, 3), (0.1, 0.2)], [0, 0, 1, 1, 2])
    assert edit_of("compactness", view) == Edit([ScaleClass(1, 0.5)])


def test_separation_from_the_mean_scales_all_distances() -> None:
    layout = layout_of("separation", ORDINARY, factor=1.7)
    np.testing.assert_allclose(gaps(layout.centers), 1.7 * gaps(ORDINARY.centers))
    np.testing.assert_allclose(layout.centers.mean(axis=0), ORDINARY.centers.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(layout.spreads, ORDINARY.spreads)


def test_separation_from_neighbors() -> None:
    view = at([(0, 0), (1, 0), (10, 0)], [0, 1, 2])  # 0 and 1 are mutual neighbours
    layout = layout_of("separation", view, factor=3, away_from="neighbor")
    np.testing.assert_allclose(layout.centers, [(-1, 0), (2, 0), (19, 0)])


@pytest.mark.parametrize("name", ["separation", "merge_similar", "merge_distinct", "swap", "arrange", "adversary"])
@pytest.mark.parametrize("view", ["one class", "one class of several", "one point"])
def test_one_class_alone_is_not_moved(name: str, view: str) -> None:
    assert edit_of(name, VIEWS[view]) == Edit()


def test_merge_similar_takes_the_most_confused_pair_before_the_nearest() -> None:
    view = at([(0, 0), (1, 0), (9, 0), (20, 0)], [0, 1, 2, 3], predictions=[0, 1, 3, 3])
    layout = layout_of("merge_similar", view, pairs=1, pull=1.0)
    np.testing.assert_allclose(layout.centers, [(0, 0), (1, 0), (14.5, 0), (14.5, 0)])
    assert layout.touched.tolist() == [False, False, True, True]
    nearest = layout_of("merge_similar", dataclasses.replace(view, predictions=view.labels), pairs=1, pull=0.5)
    np.testing.assert_allclose(nearest.centers, [(0.25, 0), (0.75, 0), (9, 0), (20, 0)])


def test_merge_distinct_takes_the_farthest_pair_that_is_not_confused() -> None:
    view = at([(0, 0), (1, 0), (9, 0), (20, 0)], [0, 1, 2, 3], predictions=[3, 1, 2, 3])
    layout = layout_of("merge_distinct", view, pairs=1, pull=1.0)  # 0 and 3 are farther apart, but confused
    np.testing.assert_allclose(layout.centers, [(0, 0), (10.5, 0), (9, 0), (10.5, 0)])


@pytest.mark.parametrize("name", ["merge_similar", "merge_distinct", "swap"])
def test_no_class_is_in_two_pairs(name: str) -> None:
    classes = [g.cls for g in edit_of(name, ORDINARY, pairs=99).gestures if isinstance(g, MoveCenter)]
    assert sorted(classes) == list(range(10))
    assert len(edit_of(name, ORDINARY, pairs=3)) == 6
    odd = VIEWS["classes that are not shown"]
    assert len(edit_of(name, odd, pairs=99)) == 2, "of three classes one is left over"


def test_resolve_overlap_parts_what_overlaps_and_nothing_else() -> None:
    view = at([(0, 0), (2, 0), (1, 0), (3, 0), (50, 0), (51, 0)], [0, 0, 1, 1, 2, 2])  # spreads 1, 1, 0.5
    layout = layout_of("resolve_overlap", view)
    np.testing.assert_allclose(layout.centers, [(0.5, 0), (2.5, 0), (50.5, 0)])
    assert layout.touched.tolist() == [True, True, False]


@settings(max_examples=30)
@given(st.integers(0, 2**32))
def test_resolve_overlap_lessens_overlap(seed: int) -> None:
    view = random_view(np.repeat(np.arange(6), 8), 6, seed=seed)
    layout = layout_of("resolve_overlap", view, margin=1.5)

    def overlap(centers: np.ndarray) -> float:
        wanted = 1.5 * (view.spreads[:, None] + view.spreads[None])
        return float(np.triu(np.maximum(wanted - gaps(centers), 0), 1).sum())

    assert overlap(layout.centers) <= 0.5 * overlap(view.centers)


def test_resolve_overlap_parts_coincident_centers_at_random() -> None:
    view = VIEWS["coincident classes"]
    first, second = (layout_of("resolve_overlap", view, seed) for seed in (0, 1))
    assert gaps(first.centers)[np.triu_indices(4, 1)].min() > 0
    assert not np.allclose(first.centers, second.centers)


def test_fix_outliers_drags_the_mispredicted_home() -> None:
    view = at([(0, 0), (2, 0), (4, 4), (9, 9)], [0, 0, 0, 1], predictions=[0, 0, 1, 1])
    assert edit_of("fix_outliers", view, pull=1.0) == Edit([MovePoint(2, (1.0, 0.0))])
    assert edit_of("fix_outliers", view, pull=0.5) == Edit([MovePoint(2, (2.5, 2.0))])
    assert edit_of("fix_outliers", view, mispredicted=False) == Edit()


def test_fix_outliers_drags_the_far_home() -> None:
    points = [(0.0, 0.0), (1, 0), (0, 1), (1, 1), (0.5, 30)]
    view = at([*points, (9, 9)], [0, 0, 0, 0, 0, 1])
    [gesture] = edit_of("fix_outliers", view, pull=1.0).gestures
    assert gesture == MovePoint(4, (0.5, 0.5))
    assert edit_of("fix_outliers", view, far=99) == Edit()
    both = dataclasses.replace(view, predictions=np.array([0, 0, 0, 0, 1, 1]))
    assert edit_of("fix_outliers", both, pull=1.0) == Edit([gesture]), "far and mispredicted is no less an outlier"


def test_fix_outliers_uses_the_center_where_all_are_outliers() -> None:
    view = at([(0, 0), (2, 0), (5, 5)], [0, 0, 1], predictions=[1, 1, 1])
    layout = layout_of("fix_outliers", view, pull=1.0)
    np.testing.assert_allclose(layout.points, [(1, 0), (1, 0), (5, 5)])


def test_arrange_ring_is_regular_and_keeps_the_order() -> None:
    layout = layout_of("arrange", ORDINARY, size=2.0)
    middle = ORDINARY.centers.mean(axis=0)
    before, after = ORDINARY.centers - middle, layout.centers - middle
    radius = 2 * np.sqrt((before**2).sum(axis=1).mean())
    np.testing.assert_allclose(np.hypot(*after.T), radius)
    order = np.argsort(np.arctan2(*before.T[::-1]))
    steps = np.diff(np.arctan2(*after[order].T[::-1])) % (2 * np.pi)
    np.testing.assert_allclose(steps, 2 * np.pi / 10)


def test_arrange_leaves_a_ring_and_a_grid_as_they_are() -> None:
    angles = 0.3 + 2 * np.pi * np.arange(5) / 5
    ring = at([(float(x), float(y)) for x, y in np.stack([np.cos(angles), np.sin(angles)], 1)], list(range(5)))
    np.testing.assert_allclose(layout_of("arrange", ring).centers, ring.centers, atol=1e-12)
    grid = at([(x, y) for y in (0.0, 1.0) for x in (0.0, 1.0, 2.0)], list(range(6)))
    np.testing.assert_allclose(layout_of("arrange", grid, shape="grid").centers, grid.centers, atol=1e-12)


@pytest.mark.parametrize("shape", ["ring", "grid"])
def test_arrange_keeps_mean_and_size(shape: str) -> None:
    layout = layout_of("arrange", ORDINARY, shape=shape)
    np.testing.assert_allclose(layout.centers.mean(axis=0), ORDINARY.centers.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose((layout.centers.std(axis=0) ** 2).sum(), (ORDINARY.centers.std(axis=0) ** 2).sum())
    together = layout_of("arrange", VIEWS["coincident points"], shape=shape)
    np.testing.assert_allclose(np.sqrt((together.centers**2).sum(axis=1).mean()), 1.0)


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_hold_touches_everything_and_moves_nothing(view: LatentView) -> None:
    layout = layout_of("hold", view)
    assert np.flatnonzero(layout.touched).tolist() == view.shown_classes.tolist()
    np.testing.assert_array_equal(layout.points, view.points)
    np.testing.assert_array_equal(layout.centers, view.centers)
    np.testing.assert_array_equal(layout.spreads, view.spreads)


@pytest.mark.parametrize("name", ["ce_only", "ce_scaled"])
def test_no_edit(name: str) -> None:
    assert edit_of(name, ORDINARY) == Edit()


@pytest.mark.parametrize("match", ["compactness", "separation", "fix_outliers", "arrange", "merge_distinct", "hold"])
@pytest.mark.parametrize("view", ["ordinary", "unequal classes, unsorted", "a far outlier"])
def test_random_matches_every_magnitude(match: str, view: str) -> None:
    strategy, control = edit_of(match, VIEWS[view]), edit_of("random", VIEWS[view], match=match)
    pairs = list(zip(read(strategy, VIEWS[view]), read(control, VIEWS[view]), strict=True))
    for meant, done in pairs:
        assert (done.kind, done.target) == (meant.kind, meant.target)
        assert done.magnitude == pytest.approx(meant.magnitude, rel=1e-9, abs=1e-9)
    np.testing.assert_array_equal(strategy.apply(VIEWS[view]).touched, control.apply(VIEWS[view]).touched)


@pytest.mark.parametrize("match", ["compactness", "separation"])
def test_random_displaces_each_class_as_much_as_the_strategy(match: str) -> None:
    """Measured on the points, without the code that reads movements."""
    meant = layout_of(match, ORDINARY).points - ORDINARY.points
    done = layout_of("random", ORDINARY, match=match).points - ORDINARY.points
    assert not np.allclose(meant, done)
    for c in range(10):
        members = ORDINARY.labels == c
        assert (done[members] ** 2).sum() == pytest.approx((meant[members] ** 2).sum())


def test_random_directions_are_random_and_unbiased() -> None:
    drags = [read(edit_of("random", ORDINARY, seed, match="separation"), ORDINARY) for seed in range(200)]
    angles = np.array([[np.arctan2(m.vector[1], m.vector[0]) for m in motions] for motions in drags])
    resultant = np.abs(np.exp(1j * angles).mean())
    assert resultant < 4 / np.sqrt(angles.size), "the mean of uniformly random unit vectors, at four standard errors"
    factors = {g.factor for seed in range(20) for g in edit_of("random", ORDINARY, seed).gestures}  # type: ignore[union-attr]
    assert sorted(factors) == pytest.approx([0.5, 1.5])


def test_random_mirrors_a_collapse_by_doubling() -> None:
    ratios = layout_of("random", ORDINARY, match_options={"factor": 0}).spreads / ORDINARY.spreads
    assert set(np.round(ratios, 9)) == {0.0, 2.0}


def test_random_cannot_mirror_a_tripling() -> None:
    motions = read(Edit([ScaleClass(0, 3.0)]), ORDINARY) * 50
    assert {m.growth for m in randomised(motions, np.random.default_rng(0))} == {2.0}
