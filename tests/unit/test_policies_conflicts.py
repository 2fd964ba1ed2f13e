"""The policies that fight the data, each other, or themselves."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hill_sim.errors import InvalidInput
from hill_sim.policy import build_policy
from hill_sim.testing import example_views, random_view
from hill_sim.types import Edit, LatentView, Memory, MoveCenter

VIEWS = example_views()
ORDINARY = VIEWS["ordinary"]


def after(interactions: int, view: LatentView = ORDINARY) -> LatentView:
    """The view at a later interaction."""
    memory = Memory(20, Edit(), Edit().apply(view), 0.5)
    return dataclasses.replace(view, history=(memory,) * interactions)


def edit_of(name: str, view: LatentView, seed: int = 0, **options: object) -> Edit:
    return build_policy(name, options).edit(view, np.random.default_rng(seed))


def layouts(view: LatentView, *names: str) -> list[tuple[np.ndarray, np.ndarray]]:
    applied = [edit_of(name, view).apply(view) for name in names]
    return [(layout.centers, layout.spreads) for layout in applied]


@pytest.mark.parametrize("which", ["distinct", "similar", "random"])
def test_swap_exchanges_places(which: str) -> None:
    layout = edit_of("swap", ORDINARY, pairs=2, which=which).apply(ORDINARY)
    swapped = np.flatnonzero(layout.touched)
    assert len(swapped) == 4
    for c in swapped:
        [partner] = np.flatnonzero(np.isclose(ORDINARY.centers, layout.centers[c], atol=1e-12).all(axis=1))
        assert partner != c
        np.testing.assert_allclose(layout.centers[partner], ORDINARY.centers[c], atol=1e-12)
    np.testing.assert_allclose(np.sort(layout.centers, axis=0), np.sort(ORDINARY.centers, axis=0), atol=1e-12)


def test_swap_at_random_differs_between_users() -> None:
    edits = {edit_of("swap", ORDINARY, seed, which="random") for seed in range(5)}
    assert len(edits) == 5


@pytest.mark.parametrize("strategy", ["compactness", "separation", "merge_distinct", "fix_outliers"])
def test_flip_flop_turns_into_the_opposite_and_back(strategy: str) -> None:
    ahead = edit_of(strategy, ORDINARY)
    assert edit_of("flip_flop", after(0), strategy=strategy) == ahead
    assert edit_of("flip_flop", after(2), strategy=strategy) == ahead
    there = ahead.apply(ORDINARY).points - ORDINARY.points
    back = edit_of("flip_flop", after(1), strategy=strategy).apply(ORDINARY).points - ORDINARY.points
    np.testing.assert_allclose(back, -there, atol=1e-12)
    assert np.abs(there).max() > 0.1


def test_switching_changes_strategy_midway() -> None:
    for interactions in range(4):
        expected = edit_of("separation" if interactions < 2 else "merge_similar", ORDINARY)
        assert edit_of("switching", after(interactions)) == expected
    options = {"first": "arrange", "second": "compactness", "at": 1, "second_options": {"factor": 0.1}}
    assert edit_of("switching", after(0), **options) == edit_of("arrange", ORDINARY)
    assert edit_of("switching", after(1), **options) == edit_of("compactness", ORDINARY, factor=0.1)


MEMBERS = ("separation", "compactness", "fix_outliers", "merge_distinct", "swap")


@pytest.mark.parametrize("aggregate", ["mean", "median"])
@pytest.mark.parametrize("view", ["ordinary", "unequal classes, unsorted", "classes that are not shown", "very small"])
def test_committee_asks_for_the_average_layout(aggregate: str, view: str) -> None:
    shown = VIEWS[view]
    wanted = layouts(shown, *MEMBERS)
    layout = edit_of("committee", shown, members=MEMBERS, aggregate=aggregate).apply(shown)
    average = np.mean if aggregate == "mean" else np.median
    size = np.abs(shown.points).max()
    np.testing.assert_allclose(layout.centers, average([c for c, _ in wanted], axis=0), atol=1e-9 * size)
    np.testing.assert_allclose(layout.spreads, average([s for _, s in wanted], axis=0), atol=1e-9 * size)
    touched = np.any([edit_of(name, shown).apply(shown).touched for name in MEMBERS], axis=0)
    np.testing.assert_array_equal(layout.touched, touched)


def test_committee_untouched_members_want_what_is() -> None:
    """Merging one pair, with nine others who touch nothing, moves it a tenth of the way."""
    alone = edit_of("merge_similar", ORDINARY).apply(ORDINARY).centers - ORDINARY.centers
    members = ("merge_similar", *["ce_only"] * 9)
    together = edit_of("committee", ORDINARY, members=members).apply(ORDINARY).centers - ORDINARY.centers
    np.testing.assert_allclose(together, alone / 10, atol=1e-12)
    assert len(edit_of("committee", ORDINARY, members=members, aggregate="median").apply(ORDINARY).touched) == 10


def test_committee_touches_what_a_member_only_holds() -> None:
    layout = edit_of("committee", ORDINARY, members=("hold", "ce_only")).apply(ORDINARY)
    assert layout.touched.all()
    np.testing.assert_allclose(layout.points, ORDINARY.points, atol=1e-12)


def test_committee_members_can_have_limits() -> None:
    alone = edit_of("separation", ORDINARY).apply(ORDINARY).centers - ORDINARY.centers
    member = {"policy": "separation", "options": {"factor": 2.0}, "user": {"strength": 0.5}}
    together = edit_of("committee", ORDINARY, members=(member,)).apply(ORDINARY).centers - ORDINARY.centers
    np.testing.assert_allclose(together, alone, atol=1e-12)  # half of twice as far apart is one and a half times


def test_committee_takes_turns() -> None:
    members = ("separation", "compactness", "arrange")
    for interactions in range(5):
        edit = edit_of("committee", after(interactions), members=members, aggregate="turn")
        assert edit == edit_of(members[interactions % 3], ORDINARY)


def test_committee_parts_points_that_coincide() -> None:
    """A class without extent cannot be scaled: its points are moved to where the members want them on average."""
    view = VIEWS["collapsed classes"]
    pull_apart = {"policy": "fix_outliers", "user": {"motor_noise": 1.0}}
    layout = edit_of("committee", view, members=(pull_apart, "ce_only")).apply(view)
    alone = build_policy("fix_outliers", user={"motor_noise": 1.0}).edit(view, np.random.default_rng(0)).apply(view)
    assert alone.spreads.max() > 0.1
    np.testing.assert_allclose(layout.centers, (alone.centers + view.centers) / 2, atol=1e-9)
    np.testing.assert_allclose(layout.spreads, alone.spreads / 2, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"members": []}, "members: [] is not a list of at least one policy"),
        ({"members": "separation"}, "members: 'separation' is not a list of at least one policy"),
        ({"members": ["seperation"]}, "did you mean 'separation'?"),
        ({"members": [{"name": "hold"}]}, "members[0]: unknown 'name' (allowed: options, policy, user)"),
        ({"members": ["hold", {}]}, "members[1]: {} has no 'policy'"),
        ({"members": ["hold", 3]}, "members[1]: 3 is not a mapping"),
        ({"members": [{"policy": "hold", "user": {"effrt": 1}}]}, "user: unknown 'effrt'; did you mean 'effort'?"),
        ({"aggregate": "mode"}, "aggregate: unknown 'mode'"),
    ],
)
def test_committee_bad_input(options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        build_policy("committee", options)
    assert message in str(caught.value)


def separability(view: LatentView, points: np.ndarray) -> float:
    """Accuracy of the nearest-center rule, point by point; a point as near to another center counts half."""
    right = 0.0
    centers = {int(c): points[view.labels == c].mean(axis=0) for c in view.shown_classes}
    for point, label in zip(points, view.labels.tolist(), strict=True):
        own = np.linalg.norm(point - centers[label])
        other = min(np.linalg.norm(point - center) for c, center in centers.items() if c != label)
        right += 1.0 if other > own + 1e-9 else 0.5 if other > own - 1e-9 else 0.0
    return right / len(points)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 6))
def test_adversary_takes_the_most_damaging_move(seed: int, n_classes: int) -> None:
    view = random_view(np.random.default_rng(seed).integers(0, n_classes, 30), n_classes, seed=seed)
    edit = edit_of("adversary", view, moves=1)
    shown = view.shown_classes.tolist()
    now = separability(view, view.points)
    outcomes = [
        separability(view, Edit([MoveCenter(a, tuple(view.centers[b]))]).apply(view).points)
        for a in shown
        for b in shown
        if a != b
    ]
    if len(edit) == 0:
        assert min(outcomes, default=1.0) >= now - 1e-9
    else:
        assert separability(view, edit.apply(view).points) == pytest.approx(min(outcomes))
        assert min(outcomes) < now


def test_adversary_goes_on_after_each_move_and_stops_when_nothing_is_left() -> None:
    outcomes = []
    for moves in range(1, 6):
        edit = edit_of("adversary", ORDINARY, moves=moves)
        assert len(edit) == moves
        outcomes.append(separability(ORDINARY, edit.apply(ORDINARY).points))
    assert outcomes == sorted(outcomes, reverse=True)
    assert len(set(outcomes)) == 5
    assert len(edit_of("adversary", ORDINARY, moves=99)) < 30
    assert edit_of("adversary", VIEWS["coincident points"]) == Edit()


@pytest.mark.parametrize("to", ["random", "nearest"])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_label_noise_drags_a_share_of_the_points_to_centers_of_other_classes(to: str, share: float) -> None:
    edit = edit_of("label_noise", ORDINARY, share=share, to=to, pull=1.0)
    rows = [gesture.point for gesture in edit.gestures]
    assert len(rows) == len(set(rows)) == round(share * len(ORDINARY.labels))
    for gesture in edit.gestures:
        [wrong] = [c for c in ORDINARY.shown_classes if np.allclose(ORDINARY.centers[c], gesture.to, atol=1e-9)]
        assert wrong != ORDINARY.labels[gesture.point]
        if to == "nearest":
            apart = {c: np.hypot(*(ORDINARY.centers[c] - ORDINARY.points[gesture.point])) for c in range(10)}
            del apart[ORDINARY.labels[gesture.point]]
            assert wrong == min(apart, key=apart.__getitem__)


def test_label_noise_goes_part_of_the_way_and_draws_anew() -> None:
    whole = edit_of("label_noise", ORDINARY, share=0.3, pull=1.0)
    half = edit_of("label_noise", ORDINARY, share=0.3, pull=0.5)
    for far, near in zip(whole.gestures, half.gestures, strict=True):
        middle = (np.array(far.to) + ORDINARY.points[far.point]) / 2
        np.testing.assert_allclose(near.to, middle, atol=1e-12)
    assert len({edit_of("label_noise", ORDINARY, seed) for seed in range(5)}) == 5


def test_label_noise_reaches_every_other_class_alike() -> None:
    """Of one class's points a quarter goes to each of the four others, as far as chance allows (5 sigma)."""
    view = random_view(np.repeat(np.arange(5), 400), 5)
    edit = edit_of("label_noise", view, share=1.0, pull=1.0)
    to = np.array([np.abs(view.centers - gesture.to).sum(axis=1).argmin() for gesture in edit.gestures])
    counts = np.bincount(to[view.labels == 0], minlength=5)
    assert counts[0] == 0
    assert np.abs(counts[1:] - 100).max() < 5 * np.sqrt(400 * 0.25 * 0.75)
