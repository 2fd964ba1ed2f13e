"""L_human, the mixing, the balance and the scale term equal a plain-loop float64 oracle, in value and in gradient.

For every preset, every option changed alone, and every degenerate batch; and what should not change them does not.
"""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import Target, added_loss, balance, coordinates, human_loss, mixing, scale_model

from hill_sim import objective
from hill_sim.kernels.terms import Backend
from hill_sim.objective import HumanGradient, Targets, margins, mixing_weights
from hill_sim.presets import PRESETS, ObjectiveOptions

CHANGES = [
    {"mixing": "convex"},
    {"mixing": "additive"},
    {"balance": "none"},
    {"balance": "gradient"},
    {"coordinates": "unit"},
    {"coordinates": "latent"},
    {"coordinates": "raw"},
    {"scale": "active"},
    {"scale": "dead"},
    {"reduction": "terms"},
    {"reduction": "mean"},
    {"terms": "structure"},
    {"terms": "samples"},
    {"center": 0.0},
    {"spread": 2.5},
    {"separation": 0.25},
    {"hold_untouched": True},
]


def human_gradient(
    options: ObjectiveOptions,
    h: torch.Tensor,
    y: torch.Tensor,
    targets: Targets,
    dlatents_ce: torch.Tensor | None,
    backend: Backend = "auto",
) -> HumanGradient:
    """Where nothing is to be measured nobody asks for the gradient of the cross-entropy: None will do."""

    def given() -> torch.Tensor:
        assert dlatents_ce is not None
        return dlatents_ce

    return objective.human_gradient(options, h, y, targets, given, backend)


@dataclasses.dataclass
class Problem:
    """A batch of P replicas and what their users asked for; `head` makes logits of the latents."""

    options: ObjectiveOptions
    h: torch.Tensor  # [P,B,H]
    y: torch.Tensor  # [P,B]
    head: torch.Tensor  # [P,C,H]
    users: list[Target]

    @property
    def targets(self) -> Targets:
        def stack(name: str) -> torch.Tensor:
            values = [getattr(user, name) for user in self.users]
            return torch.stack([torch.as_tensor(v, dtype=torch.float64) for v in values])

        names = ("weight", "bias", "origin", "unit", "centers", "spreads", "lam", "scale0")
        w_human = torch.tensor([mixing(self.options, user.alpha)[1] for user in self.users], dtype=torch.float64)
        return Targets(
            **{name: stack(name) for name in names},
            touched=stack("touched").bool(),
            w_human=w_human,
            kappa=torch.full((len(self.h),), math.nan, dtype=torch.float64),
            smoothing=torch.full((len(self.h),), math.nan, dtype=torch.float64),
        )

    @property
    def dlatents_ce(self) -> torch.Tensor:
        """[P,B,H] gradient of the mean cross-entropy of logits = h head^T."""
        probability = (self.h @ self.head.mT).softmax(-1)
        hot = torch.nn.functional.one_hot(self.y, self.head.shape[1])
        return (probability - hot) @ self.head / self.h.shape[1]


def problem(options: ObjectiveOptions, seed: int, P: int = 2, B: int = 7, H: int = 3, C: int = 4) -> Problem:
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    users = []
    raw = options.coordinates == "raw"  # there the engine leaves the projection where it is
    for _ in range(P):
        touched = (torch.rand(C, generator=g) < 0.6).tolist()
        users.append(
            Target(
                weight=normal(2, H),
                bias=normal(2),
                origin=[0.0, 0.0] if raw else normal(2).tolist(),
                unit=1.0 if raw else float(normal(1).exp()),
                centers=(2 * normal(C, 2)).tolist(),
                spreads=normal(C).abs().tolist(),
                touched=touched,
                alpha=float(torch.rand(1, generator=g)) * 0.9,
                lam=float(torch.rand(1, generator=g)),
                scale0=float(normal(1).exp()),
            )
        )
    return Problem(options, normal(P, B, H), torch.randint(C, (P, B), generator=g), normal(P, C, H), users)


def expected(p: Problem) -> list[tuple[float, float, float, torch.Tensor]]:
    """(value, scale, kappa, dlatents [B,H]) of each replica, by the oracle."""
    found = []
    for h, y, head, user in zip(p.h, p.y, p.head, p.users, strict=True):
        leaf = h.clone().requires_grad_()
        kappa = balance(p.options, leaf, leaf @ head.T, y, user)
        (gradient,) = torch.autograd.grad(added_loss(p.options, leaf, y.tolist(), user, kappa), leaf)
        z = coordinates(p.options, h, user)
        scale = float(scale_model(z, user.scale0)) if p.options.scale == "active" else math.nan
        found.append((float(human_loss(p.options, z, y.tolist(), user)), scale, kappa, gradient))
    return found


def check(p: Problem, tolerance: float = 1e-10) -> None:
    got = human_gradient(p.options, p.h, p.y, p.targets, p.dlatents_ce)
    for row, (value, scale, kappa, gradient) in enumerate(expected(p)):
        assert float(got.value[row]) == pytest.approx(value, rel=tolerance, abs=1e-12)
        assert float(got.scale[row]) == pytest.approx(scale, rel=tolerance, nan_ok=True)
        assert float(got.kappa[row]) == pytest.approx(kappa, rel=tolerance, nan_ok=True)
        size = max(float(gradient.abs().max()), 1e-12)
        assert float((got.dlatents[row] - gradient).abs().max()) <= tolerance * size


_shapes = {"P": st.integers(1, 3), "B": st.integers(1, 9), "H": st.integers(1, 4), "C": st.integers(1, 5)}


@pytest.mark.parametrize("preset", PRESETS)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), **_shapes)
def test_a_preset_equals_the_oracle_on_any_batch(preset: str, seed: int, P: int, B: int, H: int, C: int) -> None:
    check(problem(PRESETS[preset], seed, P, B, H, C))


@pytest.mark.parametrize("change", CHANGES, ids=str)
@pytest.mark.parametrize("preset", PRESETS)
def test_an_option_changed_alone_equals_the_oracle(preset: str, change: dict) -> None:
    options = dataclasses.replace(PRESETS[preset], **change)
    for seed in range(3):
        check(problem(options, seed))


@pytest.mark.parametrize("preset", PRESETS)
def test_one_class_one_sample_and_missing_classes(preset: str) -> None:
    one_class = problem(PRESETS[preset], 1, B=5, C=1)
    one_sample = problem(PRESETS[preset], 2, B=1, H=2)
    missing = problem(PRESETS[preset], 3, B=6, C=5)
    missing.y[:] = torch.tensor([0, 0, 3, 3, 3, 0])
    single = problem(PRESETS[preset], 4, B=3, C=3)
    single.y[:] = torch.tensor([0, 1, 2])  # every class has one sample: all spreads are 0
    for case in (one_class, one_sample, missing, single):
        check(case)


@pytest.mark.parametrize("preset", PRESETS)
def test_points_that_coincide_pull_nowhere_and_never_give_nan(preset: str) -> None:
    pairs = problem(PRESETS[preset], 5, B=8, C=4)
    pairs.h = (pairs.h * 4).round() / 4  # exact in binary: what coincides, coincides after projecting
    pairs.h[:, 4:] = pairs.h[:, :4]
    pairs.y[:] = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
    all_in_one = problem(PRESETS[preset], 6, B=4, C=2)
    all_in_one.h[:] = all_in_one.h[:, :1].round()
    all_in_one.y[:] = torch.tensor([0, 1, 0, 1])
    for user in all_in_one.users:
        user.weight, user.bias = user.weight.round(), user.bias.round()
    for case in (pairs, all_in_one):
        got = human_gradient(case.options, case.h, case.y, case.targets, case.dlatents_ce)
        assert torch.isfinite(got.dlatents).all()
        check(case)


def test_the_released_formula_by_hand() -> None:
    """One worked example of `paper`: two classes, H = 2, identity projection, so that z is h itself up to the eps."""
    h = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 4.0], [0.0, 6.0]], dtype=torch.float64)
    user = Target(
        weight=torch.eye(2, dtype=torch.float64), bias=torch.zeros(2, dtype=torch.float64), origin=(0.0, 0.0), unit=1.0,
        centers=[[1.0, 1.0], [0.0, 4.0]], spreads=[0.5, 6.0], touched=[True, True], alpha=0.25, lam=3.0, scale0=1.0,
    )  # fmt: skip
    y, head = torch.tensor([[0, 0, 1, 1]]), torch.zeros(1, 2, 2, dtype=torch.float64)
    p = Problem(PRESETS["paper"], h[None], y, head, [user])
    got = human_gradient(p.options, p.h, p.y, p.targets, None)
    centers = 0.5 * 1.0 + 0.5 * 1.0  # mu = (1,0) and (0,5)
    spreads = abs(1.0 - 0.5) + abs(1.0 - 6.0)
    separation = 2 * (0.5 + 6.0 - math.sqrt(1 + 25))
    assert float(got.value[0]) == pytest.approx((centers + spreads + separation) / 6, rel=1e-7)  # M = C'(C'+1)
    assert math.isnan(float(got.scale[0]))  # dead
    assert float(got.kappa[0]) == 1.0  # unbalanced
    check(p)


def test_mixing_weights() -> None:
    assert mixing_weights(PRESETS["paper"], 0.3) == (0.7, 0.3)
    assert mixing_weights(PRESETS["paper"], 1.0) == (0.0, 1.0)
    assert mixing_weights(PRESETS["hill"], 0.75) == (1.0, 3.0)
    assert mixing_weights(PRESETS["hill"], 0.0) == (1.0, 0.0)


def test_lam_does_nothing_while_the_scale_is_dead_and_something_while_it_is_active() -> None:
    for scale, same in (("dead", True), ("active", False)):
        options = dataclasses.replace(PRESETS["paper"], scale=scale)
        p, q = problem(options, 7), problem(options, 7)
        for user in q.users:
            user.lam += 5.0
        a, b = (human_gradient(options, x.h, x.y, x.targets, None).dlatents for x in (p, q))
        assert torch.equal(a, b) == same


def test_kappa_is_measured_once_and_makes_alpha_one_half_as_loud_as_the_data() -> None:
    options = dataclasses.replace(PRESETS["hill"], scale="dead")
    p = problem(options, 8)
    for user in p.users:
        user.alpha = 0.5
    first = human_gradient(options, p.h, p.y, p.targets, p.dlatents_ce)
    settled = dataclasses.replace(p.targets, kappa=first.kappa)
    loudness = first.dlatents.flatten(1).norm(dim=1) / p.dlatents_ce.flatten(1).norm(dim=1)
    torch.testing.assert_close(loudness, torch.ones_like(loudness))
    second = human_gradient(options, 3 * p.h, p.y, settled, None)
    assert torch.equal(second.kappa, first.kappa)


def test_a_batch_that_pulls_nowhere_leaves_kappa_to_the_next() -> None:
    p = problem(PRESETS["hill"], 9, P=2)
    p.users[0].touched = [False] * 4
    p.users[0].spreads = [0.0] * 4  # no separation either
    p.users[0].lam = 0.0
    got = human_gradient(p.options, p.h, p.y, p.targets, p.dlatents_ce)
    assert got.kappa.isnan().tolist() == [True, False]
    alone = Targets.gather([(p.targets, 0)])
    assert human_gradient(p.options, p.h[:1], p.y[:1], alone, None).kappa.isnan().all()  # and costs nothing
    assert not got.dlatents[0].any()
    assert got.dlatents[1].any()
    check(p)


def test_untouched_classes_carry_no_center_and_no_spread() -> None:
    p = problem(dataclasses.replace(PRESETS["hill"], balance="none", separation=0.0), 10, P=1, B=8, C=2)
    p.y[:] = torch.tensor([0, 1] * 4)
    p.users[0].touched, p.users[0].lam = [True, False], 0.0
    p.users[0].centers[1] = [math.nan, math.nan]  # what nobody reads may hold anything
    got = human_gradient(p.options, p.h, p.y, p.targets, None)
    assert got.dlatents[0, ::2].any()
    assert not got.dlatents[0, 1::2].any()


@settings(max_examples=25, deadline=None)
@given(preset=st.sampled_from(list(PRESETS)), seed=st.integers(0, 10**6), order=st.permutations(range(7)))
def test_permuting_the_samples_permutes_the_gradient(preset: str, seed: int, order: list[int]) -> None:
    p = problem(PRESETS[preset], seed)
    a = human_gradient(p.options, p.h, p.y, p.targets, p.dlatents_ce)
    b = human_gradient(p.options, p.h[:, order], p.y[:, order], p.targets, p.dlatents_ce[:, order])
    torch.testing.assert_close(b.value, a.value)
    torch.testing.assert_close(b.dlatents, a.dlatents[:, order], rtol=1e-9, atol=1e-11)


@settings(max_examples=25, deadline=None)
@given(preset=st.sampled_from(list(PRESETS)), seed=st.integers(0, 10**6), names=st.permutations(range(4)))
def test_renaming_the_classes_changes_nothing(preset: str, seed: int, names: list[int]) -> None:
    p, q = problem(PRESETS[preset], seed), problem(PRESETS[preset], seed)
    q.y = torch.tensor(names)[p.y]
    for old, new in zip(p.users, q.users, strict=True):
        for field in ("centers", "spreads", "touched"):
            setattr(new, field, [getattr(old, field)[names.index(c)] for c in range(4)])
    a, b = (human_gradient(x.options, x.h, x.y, x.targets, p.dlatents_ce) for x in (p, q))
    torch.testing.assert_close(b.value, a.value)
    torch.testing.assert_close(b.dlatents, a.dlatents, rtol=1e-9, atol=1e-11)


@settings(max_examples=25, deadline=None)
@given(
    preset=st.sampled_from(["hill", "hill-samples"]),
    coordinates=st.sampled_from(["unit", "raw"]),
    seed=st.integers(0, 10**6),
    angle=st.floats(-3.0, 3.0),
    mirrored=st.booleans(),
    shift=st.tuples(st.floats(-5, 5), st.floats(-5, 5)),
)
def test_turning_mirroring_and_moving_the_layout_changes_nothing(
    preset: str, coordinates: str, seed: int, angle: float, mirrored: bool, shift: tuple[float, float]
) -> None:
    """Where each batch is standardised by scalars over both axes (`latent`) the layout may not be turned."""
    options = dataclasses.replace(PRESETS[preset], coordinates=coordinates)
    p, q = problem(options, seed), problem(options, seed)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64)
    if mirrored:
        turn = turn @ torch.diag(torch.tensor([1.0, -1.0], dtype=torch.float64))
    move = torch.tensor(shift, dtype=torch.float64)
    for user in q.users:
        user.weight, user.bias = turn @ user.weight, turn @ user.bias + move
        if coordinates == "unit":
            user.origin = (turn @ torch.tensor(user.origin, dtype=torch.float64) + move).tolist()
        moved = torch.tensor(user.centers, dtype=torch.float64) @ turn.T + (move if coordinates == "raw" else 0.0)
        user.centers = moved.tolist()
    a, b = (human_gradient(options, x.h, x.y, x.targets, p.dlatents_ce) for x in (p, q))
    torch.testing.assert_close(b.value, a.value, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(b.dlatents, a.dlatents, rtol=1e-7, atol=1e-9)


def test_standardising_a_batch_forgets_where_its_projection_lies_and_how_large_it_is() -> None:
    p, q = problem(PRESETS["paper"], 11), problem(PRESETS["paper"], 11)
    for user in q.users:
        user.weight, user.bias = 3 * user.weight, 3 * user.bias + 7.0
    a, b = (human_gradient(x.options, x.h, x.y, x.targets, None) for x in (p, q))
    torch.testing.assert_close(b.value, a.value, rtol=1e-6, atol=0)
    torch.testing.assert_close(b.dlatents, a.dlatents, rtol=1e-5, atol=1e-8)


@settings(max_examples=20, deadline=None)
@given(preset=st.sampled_from(list(PRESETS)), seed=st.integers(0, 10**6), cut=st.integers(1, 4))
def test_splitting_a_population_changes_no_bit(preset: str, seed: int, cut: int) -> None:
    p = problem(PRESETS[preset], seed, P=5, B=16, H=16)
    together = human_gradient(p.options, p.h, p.y, p.targets, p.dlatents_ce)
    for part in (slice(0, cut), slice(cut, 5)):
        targets = Targets.gather([(p.targets, row) for row in range(5)[part]])
        alone = human_gradient(p.options, p.h[part], p.y[part], targets, p.dlatents_ce[part])
        assert torch.equal(alone.value, together.value[part])
        assert torch.equal(alone.dlatents, together.dlatents[part])
        torch.testing.assert_close(alone.kappa, together.kappa[part], rtol=0, atol=0, equal_nan=True)


@settings(max_examples=30, deadline=None)
@given(preset=st.sampled_from(list(PRESETS)), seed=st.integers(0, 10**6), **_shapes)
def test_trust_scales_the_pull_on_each_class(preset: str, seed: int, P: int, B: int, H: int, C: int) -> None:
    """Against the oracle, in both ways of computing it (the C++ and plain torch)."""
    p = problem(PRESETS[preset], seed, P, B, H, C)
    trust = torch.rand(P, C, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    targets = dataclasses.replace(p.targets, trust=trust)
    for backend in ("auto", "torch"):
        got = objective.human_gradient(p.options, p.h, p.y, targets, lambda: p.dlatents_ce, backend)
        for row, (h, y, head, user) in enumerate(zip(p.h, p.y, p.head, p.users, strict=True)):
            leaf = h.clone().requires_grad_()
            kappa = balance(p.options, leaf, leaf @ head.T, y, user)
            loss = added_loss(p.options, leaf, y.tolist(), user, kappa, trust[row].tolist())
            (gradient,) = torch.autograd.grad(loss, leaf)
            torch.testing.assert_close(got.dlatents[row], gradient, rtol=1e-9, atol=1e-10 * float(gradient.abs().max()))
        assert torch.equal(got.trust, trust)


@pytest.mark.parametrize("preset", PRESETS)
def test_equal_trust_in_all_classes_is_a_factor_of_the_human_weight(preset: str) -> None:
    p = problem(dataclasses.replace(PRESETS[preset], scale="dead"), 3)
    plain = human_gradient(p.options, p.h, p.y, p.targets, p.dlatents_ce)
    half = dataclasses.replace(p.targets, trust=torch.full((2, 4), 0.5, dtype=torch.float64))
    torch.testing.assert_close(human_gradient(p.options, p.h, p.y, half, p.dlatents_ce).dlatents, 0.5 * plain.dlatents)
    whole = dataclasses.replace(p.targets, trust=torch.ones(2, 4, dtype=torch.float64))
    assert torch.equal(human_gradient(p.options, p.h, p.y, whole, p.dlatents_ce).dlatents, plain.dlatents)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("smoothing", [0.0, 0.75])
def test_agreement_is_the_cosine_of_the_two_gradients_over_a_class(preset: str, smoothing: float) -> None:
    p = problem(PRESETS[preset], 5, P=2, B=9)
    trust = torch.tensor([[math.nan] * 4, [0.5] * 4], dtype=torch.float64)
    targets = dataclasses.replace(p.targets, trust=trust, smoothing=torch.full_like(p.targets.kappa, smoothing))
    got = human_gradient(p.options, p.h, p.y, targets, p.dlatents_ce)
    assert got.trust is not None
    for row, (h, y, user) in enumerate(zip(p.h, p.y, p.users, strict=True)):
        leaf = h.clone().requires_grad_()
        loss = human_loss(p.options, coordinates(p.options, leaf, user), y.tolist(), user)
        (human,) = torch.autograd.grad(loss, leaf)
        for c in range(4):
            a, b = human[y == c].flatten(), p.dlatents_ce[row][y == c].flatten()
            before = float(trust[row, c])
            if float(a.norm()) > 0:
                now = max(float(a @ b / (a.norm() * b.norm())), 0.0)
                expected = now if math.isnan(before) else smoothing * before + (1 - smoothing) * now
                assert float(got.trust[row, c]) == pytest.approx(expected, rel=1e-9, abs=1e-12)
            else:
                assert float(got.trust[row, c]) == pytest.approx(before, nan_ok=True)


def test_margins_are_the_distances_between_target_centers() -> None:
    centers = torch.tensor([[[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]]])
    found = margins(centers)[0]
    assert found.tolist() == found.T.tolist()
    assert found.diagonal().tolist() == [0.0, 0.0, 0.0]
    assert found[0].tolist() == [0.0, 5.0, 1.0]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 40), st.integers(1, 40), st.integers(1, 12)),
    scale=st.sampled_from(["active", "dead"]),
    coordinates=st.sampled_from(["unit", "raw"]),
)
def test_the_fused_step_equals_the_one_in_torch(
    seed: int, shape: tuple[int, int, int, int], scale: str, coordinates: str
) -> None:
    replicas, samples, width, classes = shape
    options = dataclasses.replace(PRESETS["hill"], scale=scale, coordinates=coordinates)  # type: ignore[arg-type]
    p = problem(options, seed, P=replicas, B=samples, H=width, C=classes)
    fused, plain = (human_gradient(options, p.h, p.y, p.targets, p.dlatents_ce, b) for b in ("auto", "torch"))  # type: ignore[arg-type]
    for name in ("value", "scale", "dlatents", "kappa"):
        a, b = getattr(fused, name), getattr(plain, name)
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12, equal_nan=True)
