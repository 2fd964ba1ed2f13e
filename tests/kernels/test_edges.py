"""Empty inputs, absent classes, ties, coincident points, NaN and infinity."""

import pytest
import torch

from hill_sim import kernels
from hill_sim.bench.kernel_problems import Problem, make_problem

from .helpers import LOSSES, arguments, both, loss, place

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(("replicas", "batch"), [(0, 5), (3, 0), (0, 0)])
def test_nothing_to_do(backend, name, replicas, batch):
    q = place(make_problem(replicas, batch, 2, 3), backend)
    value, grad = both(name, q, backend)
    assert value.shape[-1] == replicas
    assert grad.shape == (replicas, batch, 2)
    assert (value == 0).all()


@pytest.mark.parametrize("coordinates", [2, 20])
def test_one_class_has_no_pairs(backend, coordinates):
    q = place(make_problem(2, 30, coordinates, 1), backend)
    value, grad = both("pair_separation", q, backend)
    assert (value == 0).all()
    assert (grad == 0).all()
    value, _ = both("structure_loss", q, backend)
    assert (value[2] == 0).all()
    assert (value[3] > 0).all()


def test_absent_classes_count_for_nothing(backend):
    few = make_problem(1, 30, 2, 3, dtype=torch.float64)
    many = Problem(
        z=few.z,
        y=few.y * 300,  # classes 0, 300, 600 of 601
        centers=torch.full((1, 601, 2), NAN, dtype=torch.float64).index_copy(
            1, torch.tensor([0, 300, 600]), few.centers
        ),
        spreads=torch.full((1, 601), NAN, dtype=torch.float64).index_copy(1, torch.tensor([0, 300, 600]), few.spreads),
        margins=torch.full((1, 601, 601), NAN, dtype=torch.float64),
        touched=torch.ones(1, 601, dtype=torch.bool),
    )
    at = torch.tensor([0, 300, 600])
    many.margins[0, at[:, None], at[None]] = few.margins[0]
    for name in LOSSES:
        want, got = both(name, few, "torch"), both(name, place(many, backend), backend)
        assert got[0] == pytest.approx(want[0], rel=1e-12)
        assert got[1] == pytest.approx(want[1], rel=1e-9, abs=1e-12)


def test_targets_of_untouched_classes_are_not_read(backend):
    q = make_problem(1, 30, 2, 3, dtype=torch.float64)
    touched = torch.tensor([[True, False, True]])
    spoiled = q.centers.clone()
    spoiled[0, 1] = NAN
    clean = both("structure_loss", place(q, backend), backend, touched=place(q, backend).touched & False)
    assert (clean[0][:2] == 0).all()
    device = place(q, backend).z.device
    moved = place(Problem(**{**vars(q), "centers": spoiled}), backend)
    want = both("structure_loss", place(q, backend), backend, touched=touched.to(device))
    got = both("structure_loss", moved, backend, touched=touched.to(device))
    assert torch.equal(got[0], want[0])
    assert torch.equal(got[1], want[1])


@pytest.mark.parametrize("coordinates", [1, 2, 3, 5, 17])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_coincident_points_feel_no_force(backend, coordinates, dtype):
    q = make_problem(1, 40, coordinates, 4, dtype=dtype)
    q = place(Problem(**{**vars(q), "z": torch.full_like(q.z, 1.25)}), backend)
    value, grad = both("pair_separation", q, backend)
    assert value.item() > 0
    assert (grad == 0).all()
    value, grad = both("structure_loss", q, backend, weights=(0, 1, 1))
    assert value[2].item() > 0
    assert (grad == 0).all()


@pytest.mark.parametrize("coordinates", [2, 16])
def test_exact_ties_with_the_margin_feel_no_force(backend, coordinates):
    """3-4-5 triangles: distances are exact, and equal to the margin."""
    z = torch.zeros(1, 2, coordinates, dtype=torch.float64)
    z[0, 1, 0], z[0, 1, 1] = 3.0, 4.0
    q = Problem(
        z=z,
        y=torch.tensor([[0, 1]]),
        centers=z.clone(),
        spreads=torch.tensor([[2.0, 3.0]], dtype=torch.float64),
        margins=torch.full((1, 2, 2), 5.0, dtype=torch.float64),
        touched=torch.ones(1, 2, dtype=torch.bool),
    )
    value, grad = both("pair_separation", place(q, backend), backend)
    assert abs(value.item()) < 1e-30
    assert grad.abs().max() < 1e-14
    value, grad = both("structure_loss", place(q, backend), backend, weights=(1, 0, 1))
    assert value[2].item() == 0
    assert (grad == 0).all()


def test_an_exactly_right_spread_feels_no_force(backend):
    z = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]], dtype=torch.float64)
    q = Problem(
        z=z,
        y=torch.zeros(1, 2, dtype=torch.int64),
        centers=torch.zeros(1, 1, 2, dtype=torch.float64),
        spreads=torch.ones(1, 1, dtype=torch.float64),
        margins=torch.ones(1, 1, 1, dtype=torch.float64),
        touched=torch.ones(1, 1, dtype=torch.bool),
    )
    value, grad = both("structure_loss", place(q, backend), backend)
    assert (value == 0).all()
    assert (grad == 0).all()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("batch", [20, 300])
@pytest.mark.parametrize("coordinates", [1, 2, 6, 20])
@pytest.mark.parametrize("regime", ["dense", "separated"])
def test_nan_comes_through(backend, name, batch, coordinates, regime):
    """A NaN coordinate poisons its own replica's value, though all classes be far apart, and no other replica."""
    q = make_problem(3, batch, coordinates, 3, regime=regime)
    clean = both(name, place(q, backend), backend)
    q.z[1, batch // 2, 0] = NAN
    value, grad = both(name, place(q, backend), backend)
    assert value[..., 1].isnan().any()
    assert grad[1].isnan().any()
    for p in (0, 2):
        assert torch.equal(value[..., p], clean[0][..., p])
        assert torch.equal(grad[p], clean[1][p])


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("coordinates", [2, 20])
@pytest.mark.parametrize("batch", [20, 300])
def test_infinity_is_never_quiet(backend, name, coordinates, batch):
    """An infinite coordinate shows in the value or in the gradient."""
    q = make_problem(1, batch, coordinates, 3)
    q.z[0, 5, 1] = INF
    value, grad = both(name, place(q, backend), backend)
    assert not (value.isfinite().all() and grad.isfinite().all())


def test_margins_that_are_nan_or_not_positive(backend):
    q = make_problem(1, 30, 2, 3, dtype=torch.float64)
    none = place(Problem(**{**vars(q), "margins": -q.margins}), backend)
    value, grad = both("pair_separation", none, backend)
    assert (value == 0).all()
    assert (grad == 0).all()
    spoiled = place(Problem(**{**vars(q), "margins": torch.full_like(q.margins, NAN)}), backend)
    assert both("pair_separation", spoiled, backend)[0].isnan().all()


@pytest.mark.parametrize("name", LOSSES)
def test_many_classes(backend, name):
    q = make_problem(1, 1500, 2, 1000, dtype=torch.float64)
    if backend == "torch" and name == "structure_loss":
        pytest.skip("this is what the others are compared with")
    want = both(name, q, "torch" if name != "pair_separation" else "numba")
    got = both(name, place(q, backend), backend)
    assert got[0] == pytest.approx(want[0], rel=1e-10)
    assert (got[1] - want[1]).norm() <= 1e-10 * want[1].norm()


@pytest.mark.parametrize("name", LOSSES)
def test_inputs_are_left_alone(backend, name):
    q = place(make_problem(2, 50, 3, 4), backend)
    before = [t.clone() for t in arguments(name, q)]
    both(name, q, backend)
    z = q.z.clone().requires_grad_()
    loss(name, z, q, backend).sum().backward()
    assert all(torch.equal(a, b) for a, b in zip(arguments(name, q), before, strict=True))


def test_separated_classes_give_zero(backend):
    q = place(make_problem(2, 400, 2, 5, regime="separated"), backend)
    value, grad = both("pair_separation", q, backend)
    assert (value == 0).all()
    assert (grad == 0).all()


def test_terms_add_up(backend):
    q = place(make_problem(2, 60, 2, 5, dtype=torch.float64), backend)
    terms = kernels.structure_loss(q.z, q.y, q.centers, q.spreads, touched=q.touched, backend=backend)
    assert torch.allclose(terms.total, terms.center + terms.spread + terms.separation, rtol=1e-14)
