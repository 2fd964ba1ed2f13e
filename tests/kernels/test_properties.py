"""What must not change the losses: the order of samples, the names of classes, where and how the layout is turned."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hill_sim.bench.kernel_problems import Problem, make_problem

from .conftest import need
from .helpers import LOSSES, both

CLOSE = 1e-10
problems = st.builds(
    make_problem,
    replicas=st.integers(1, 3),
    batch=st.integers(1, 60),
    coordinates=st.sampled_from([1, 2, 3, 4, 6, 16]),
    classes=st.integers(1, 12),
    regime=st.sampled_from(["dense", "mixed"]),
    dtype=st.just(torch.float64),
    seed=st.integers(0, 2**20),
)
checked = settings(max_examples=12, deadline=None)
each = pytest.mark.parametrize(("name", "backend"), [(n, b) for n in LOSSES for b in ("torch", "numba", "cpp")])


def close(got, want, grad_change=lambda g: g):
    assert torch.allclose(got[0], want[0], rtol=CLOSE, atol=1e-12)
    assert torch.allclose(got[1], grad_change(want[1]), rtol=CLOSE, atol=1e-10)


def changed(q: Problem, **new) -> Problem:
    return Problem(**{**vars(q), **new})


@each
@given(q=problems, seed=st.integers(0, 99))
@checked
def test_order_of_samples(name, backend, q, seed):
    order = torch.randperm(q.y.shape[1], generator=torch.Generator().manual_seed(seed))
    want = both(name, q, need(backend))
    close(both(name, changed(q, z=q.z[:, order], y=q.y[:, order]), backend), want, lambda g: g[:, order])


@each
@given(q=problems, seed=st.integers(0, 99))
@checked
def test_names_of_classes(name, backend, q, seed):
    names = torch.randperm(q.centers.shape[1], generator=torch.Generator().manual_seed(seed))
    place = names.argsort()  # class c is now called names[c]; row k of a target is that of class place[k]
    renamed = changed(
        q,
        y=names[q.y],
        centers=q.centers[:, place],
        spreads=q.spreads[:, place],
        margins=q.margins[:, place][:, :, place],
    )
    close(both(name, renamed, backend), both(name, q, need(backend)))


@each
@given(q=problems, shift=st.floats(-100, 100))
@checked
def test_translation(name, backend, q, shift):
    want = both(name, q, need(backend))
    close(both(name, changed(q, z=q.z + shift, centers=q.centers + shift), backend), want)


@each
@given(q=problems, angle=st.floats(0, 2 * math.pi))
@checked
def test_rotation(name, backend, q, angle):
    coordinates = q.z.shape[2]
    turn = torch.eye(coordinates, dtype=torch.float64)
    if coordinates > 1:
        c, s = math.cos(angle), math.sin(angle)
        turn[:2, :2] = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    else:
        turn = -turn
    want = both(name, q, need(backend))
    close(both(name, changed(q, z=q.z @ turn, centers=q.centers @ turn), backend), want, lambda g: g @ turn)


@each
@given(q=problems, factor=st.floats(1e-3, 1e3))
@checked
def test_scale(name, backend, q, factor):
    """Lengths times k: squared losses times k^2, and of the structure loss spread and separation times k."""
    want, got = both(name, q, need(backend))[0], None
    scaled = changed(q, **{k: factor * getattr(q, k) for k in ("z", "centers", "spreads", "margins")})
    got = both(name, scaled, backend)[0]
    if name == "structure_loss":
        want = want[:3] * torch.tensor([factor**2, factor, factor], dtype=torch.float64)[:, None]
        got = got[:3]
    else:
        want = want * factor**2
    assert torch.allclose(got, want, rtol=CLOSE, atol=1e-12 * factor**2)


@each
@given(q=problems)
@checked
def test_values_are_non_negative_and_forces_balance(name, backend, q):
    value, grad = both(name, q, need(backend), **({"weights": (0, 1, 1)} if name == "structure_loss" else {}))
    assert (value >= 0).all()
    if name != "center_loss":  # nothing outside the batch pulls
        assert grad.sum(1).abs().max() < 1e-10
