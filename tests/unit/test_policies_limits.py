"""Each human limit alone, and their order together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from hill_sim.errors import InvalidInput
from hill_sim.policy import HumanLimits, Policy, build_policy
from hill_sim.policy.limits import Consistency, Effort, Mistakes, MotorNoise, Perception, Skipping, Strength
from hill_sim.policy.motion import perform, read, scaled
from hill_sim.policy.run import name_of
from hill_sim.testing import example_views
from hill_sim.types import CollapseClass, Edit, Gesture, LatentView, MoveCenter, MovePoint, ScaleClass

VIEWS = example_views()
VIEW = VIEWS["ordinary"]


@dataclass(frozen=True)
class Fixed:
    """Makes the gestures that it is given."""

    gestures: tuple[Gesture, ...]

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        return Edit(self.gestures)


ALL_KINDS = Fixed((MoveCenter(0, (1.0, 2.0)), ScaleClass(1, 0.5), MovePoint(33, (0.0, 0.0)), CollapseClass(2)))


def many(policy: Policy, times: int = 400) -> list[Edit]:
    return [policy.edit(VIEW, np.random.default_rng(seed)) for seed in range(times)]


def share(happened: list[bool]) -> float:
    return float(np.mean(happened))


def within(expected: float, times: int) -> object:
    """Four standard errors of a share."""
    return pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / times))


@pytest.mark.parametrize(
    "name", ["ordinary", "far from the origin", "very small", "a far outlier", "one point a class"]
)
def test_movements_come_back_as_the_same_edit(name: str) -> None:
    view = VIEWS[name]
    size = np.abs(view.points).max()
    c, d = (int(x) for x in view.shown_classes[:2])
    inside = view.labels.tolist().index(d)
    edit = Edit(
        [
            MoveCenter(c, (0.5 * size, size)),
            ScaleClass(c, 3.0),
            MovePoint(inside, (size, 0.0)),
            ScaleClass(d, 0.5),
            MoveCenter(d, (0.0, 0.0)),
            MovePoint(inside, (0.0, 0.1 * size)),
            CollapseClass(c),
        ]
    )
    expected, actual = edit.apply(view), perform(read(edit, view), view).apply(view)
    np.testing.assert_allclose(actual.points, expected.points, atol=1e-9 * size)
    np.testing.assert_array_equal(actual.touched, expected.touched)


@pytest.mark.parametrize(
    "edit",
    [
        Edit([MoveCenter(0, (3.0, 1.0)), ScaleClass(0, 2.5), MovePoint(0, (0.0, 0.0)), ScaleClass(0, 0.0)]),
        Edit([ScaleClass(0, 0.5), MoveCenter(0, (3.0, 1.0)), ScaleClass(0, 3.0), CollapseClass(0), ScaleClass(0, 2.0)]),
    ],
    ids=["points move", "only classes move"],
)
def test_magnitude_is_the_rms_displacement_of_the_points(edit: Edit) -> None:
    points = np.array(VIEW.points)
    for i, motion in enumerate(read(edit, VIEW)):
        after = Edit(edit.gestures[: i + 1]).apply(VIEW).points
        moved = np.hypot(*(after - points).T)
        taken = [motion.target] if motion.kind is MovePoint else VIEW.labels == 0
        assert motion.magnitude == pytest.approx(np.sqrt((moved[taken] ** 2).mean()))
        points = after


def test_no_limits_are_no_wrapper() -> None:
    policy = Fixed(())
    assert HumanLimits().wrap(policy) is policy
    assert HumanLimits(seed=5).wrap(policy) is policy


def test_perception_sees_k_points_and_maps_them_back() -> None:
    seen: list[LatentView] = []

    class Looks:
        def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
            seen.append(view)
            return Edit([MovePoint(3, (9.0, 9.0))])

    [gesture] = Perception(Looks(), 7).edit(VIEW, np.random.default_rng(0)).gestures
    [view] = seen
    rows = [VIEW.sample_ids.tolist().index(i) for i in view.sample_ids]
    assert len(set(rows)) == 7
    for name in ("points", "labels", "predictions", "confidences"):
        np.testing.assert_array_equal(getattr(view, name), getattr(VIEW, name)[rows])
    assert gesture == MovePoint(rows[3], pytest.approx((9.0, 9.0)))  # type: ignore[arg-type]
    assert (view.class_names, view.epoch, view.history) == (VIEW.class_names, VIEW.epoch, VIEW.history)


def test_perception_of_all_points_changes_nothing() -> None:
    policy = build_policy("separation")
    for k in (100, 101):
        rng, same = np.random.default_rng(0), np.random.default_rng(0)
        assert Perception(policy, k).edit(VIEW, rng) == policy.edit(VIEW, same)


def test_perception_carries_drags_over_as_drags() -> None:
    """Who holds, holds, though the attended points have another center; who does not see a class, leaves it alone."""
    layout = Perception(build_policy("hold"), 5).edit(VIEW, np.random.default_rng(0)).apply(VIEW)
    np.testing.assert_allclose(layout.points, VIEW.points, atol=1e-12)
    assert 1 <= layout.touched.sum() <= 5


def test_perception_draws_anew() -> None:
    edits = {repr(edit) for edit in many(Perception(build_policy("separation"), 20), 5)}
    assert len(edits) == 5


def test_strength_scales_displacements() -> None:
    points = VIEW.points
    there = ALL_KINDS.edit(VIEW, np.random.default_rng(0)).apply(VIEW)
    for factor in (0.0, 0.3, 1.0):
        layout = Strength(ALL_KINDS, factor).edit(VIEW, np.random.default_rng(0)).apply(VIEW)
        np.testing.assert_allclose(layout.points - points, factor * (there.points - points), atol=1e-12)
        np.testing.assert_array_equal(layout.touched, there.touched)


def test_overshooting_cannot_turn_a_class_inside_out() -> None:
    [gesture] = Strength(Fixed((ScaleClass(1, 0.25),)), 2.0).edit(VIEW, np.random.default_rng(0)).gestures
    assert gesture == CollapseClass(1)


def test_consistency_is_the_share_of_interactions_that_follow_the_policy() -> None:
    own = ALL_KINDS.edit(VIEW, np.random.default_rng(0))
    edits = many(Consistency(ALL_KINDS, 0.7))
    assert share([edit == own for edit in edits]) == within(0.7, 400)
    other = next(edit for edit in edits if edit != own)
    magnitudes = [[m.magnitude for m in read(edit, VIEW)] for edit in (own, other)]
    assert magnitudes[0] == pytest.approx(magnitudes[1])
    assert all(edit == own for edit in many(Consistency(ALL_KINDS, 1.0), 20))


def test_mistakes_take_another_class_or_point_with_the_same_movement() -> None:
    meant = read(ALL_KINDS.edit(VIEW, np.random.default_rng(0)), VIEW)
    wrong = []
    for edit in many(Mistakes(ALL_KINDS, 0.3)):
        for own, done in zip(meant, read(edit, VIEW), strict=True):
            wrong.append(done.target != own.target)
            assert done.kind is own.kind
            assert done.vector == pytest.approx(own.vector)
    assert share(wrong) == within(0.3, 1600)
    always = many(Mistakes(Fixed((MoveCenter(0, (1.0, 2.0)),)), 1.0))
    targets = [edit.gestures[0].cls for edit in always]  # type: ignore[union-attr]
    assert set(targets) == set(range(1, 10)), "every other class, never the one that was meant"


def test_no_mistake_is_possible_with_one_class() -> None:
    view = VIEWS["one class of several"]
    policy = Mistakes(Fixed((ScaleClass(2, 0.5),)), 1.0)
    assert policy.edit(view, np.random.default_rng(0)) == Edit([ScaleClass(2, 0.5)])


def test_effort_keeps_the_largest_in_order() -> None:
    x, y = VIEW.centers[:3].T
    drags = [MoveCenter(c, (float(x[c]) + length, float(y[c]))) for c, length in ((0, 0.2), (1, 0.5), (2, 0.3))]
    policy = Fixed((*drags, CollapseClass(5), MovePoint(70, (50.0, 50.0))))
    assert VIEW.spreads[5] > 0.2
    edits = [Effort(policy, k).edit(VIEW, np.random.default_rng(0)).gestures for k in range(7)]
    assert edits[0] == ()
    assert edits[1] == (policy.gestures[4],)
    assert edits[2] == (drags[1], policy.gestures[4])
    assert edits[4] == policy.gestures[1:]
    assert edits[5] == edits[6] == policy.gestures


def test_effort_prefers_the_earlier_of_equals() -> None:
    hold = build_policy("compactness", {"factor": 1.0})
    assert Effort(hold, 2).edit(VIEW, np.random.default_rng(0)) == Edit([ScaleClass(0, 1.0), ScaleClass(1, 1.0)])


def test_motor_noise_has_the_standard_deviation_it_says() -> None:
    own = read(ALL_KINDS.edit(VIEW, np.random.default_rng(0)), VIEW)
    done = [read(edit, VIEW) for edit in many(MotorNoise(ALL_KINDS, 0.05), 1000)]
    for i in (0, 2):  # drags
        errors = np.array([np.subtract(motions[i].vector, own[i].vector) for motions in done])
        np.testing.assert_allclose(errors.std(axis=0), 0.05, rtol=0.1)
        np.testing.assert_allclose(errors.mean(axis=0), 0.0, atol=0.01)
    growth = np.array([motions[1].growth for motions in done])
    np.testing.assert_allclose(growth.std() * own[1].extent, 0.05, rtol=0.1)
    assert {motions[3].growth for motions in done} == {-1.0}, "a double-click does not err"
    errors = np.array([motions[0].vector for motions in done]).T
    assert abs(np.corrcoef(errors)[0, 1]) < 0.15


def test_motor_noise_cannot_make_a_negative_factor() -> None:
    factors = [
        g.factor if isinstance(g, ScaleClass) else 0.0
        for e in many(MotorNoise(ALL_KINDS, 5.0))
        for g in [e.gestures[1]]
    ]
    assert min(factors) == 0.0
    assert max(factors) > 1.0


def test_skipping() -> None:
    edits = many(Skipping(ALL_KINDS, 0.25))
    assert share([edit == Edit() for edit in edits]) == within(0.25, 400)
    assert many(Skipping(ALL_KINDS, 1.0), 20) == [Edit()] * 20


def test_limits_together_keep_their_bounds() -> None:
    limits = HumanLimits(perception=50, motor_noise=0.1, effort=3, mistakes=0.2, strength=0.5, consistency=0.5)
    edits = many(limits.wrap(build_policy("separation")), 50)
    assert {len(edit) for edit in edits} == {3}
    assert len({repr(edit) for edit in edits}) == 50
    assert name_of(limits.wrap(build_policy("separation"))) == "Separation"


def test_limits_act_from_the_eye_to_the_hand() -> None:
    limits = HumanLimits(5, 0.1, 3, 0.2, 0.3, 0.5, 0.5)
    order = []
    policy = limits.wrap(build_policy("hold"))
    while hasattr(policy, "policy"):
        order.append(type(policy).__name__)
        policy = policy.policy
    assert order == [
        "Skipping", "MotorNoise", "Effort", "Mistakes", "Strength", "Consistency", "Perception", "Checked"
    ]  # fmt: skip


def test_scaled_by_minus_one_mirrors() -> None:
    edit = Edit([MoveCenter(0, (1.0, 2.0)), ScaleClass(1, 0.25)])
    there = edit.apply(VIEW).points - VIEW.points
    back = perform(scaled(read(edit, VIEW), -1.0), VIEW).apply(VIEW).points - VIEW.points
    np.testing.assert_allclose(back, -there, atol=1e-12)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"perception": 0}, "user.perception: 0 is not an integer >= 1"),
        ({"perception": 2.5}, "user.perception: 2.5 is not an integer >= 1"),
        ({"effort": -1}, "user.effort: -1 is not an integer >= 0"),
        ({"effort": True}, "user.effort: True is not an integer >= 0"),
        ({"motor_noise": -0.1}, "user.motor_noise: -0.1 is not a finite number >= 0"),
        ({"motor_noise": float("nan")}, "user.motor_noise: nan is not a finite number >= 0"),
        ({"strength": "strong"}, "user.strength: 'strong' is not a finite number >= 0"),
        ({"mistakes": 1.5}, "user.mistakes: 1.5 is not a number in [0, 1]"),
        ({"skipping": None}, "user.skipping: None is not a number in [0, 1]"),
        ({"consistency": -1}, "user.consistency: -1 is not a number in [0, 1]"),
        ({"seed": -3}, "user.seed: -3 is not an integer >= 0"),
        ({"skiping": 0.1}, "user: unknown 'skiping'; did you mean 'skipping'?"),
        (["effort"], "user: ['effort'] is not a mapping of human limits"),
    ],
)
def test_bad_limits(given: object, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        HumanLimits.from_options(given)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)
