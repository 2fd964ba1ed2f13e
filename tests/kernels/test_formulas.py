"""Every backend against plain-loop float64 oracles whose gradients were derived by hand."""

import numpy as np
import pytest
import torch

from hill_sim import kernels
from hill_sim.bench.kernel_problems import make_problem

from . import oracles
from .helpers import both, error, one, place

SIZES = [
    (1, 1, 1),
    (2, 2, 2),
    (7, 1, 3),
    (16, 2, 2),
    (17, 3, 4),
    (41, 4, 5),
    (41, 5, 3),
    (33, 17, 6),
    (48, 64, 4),
    (60, 2, 100),
]


@pytest.mark.parametrize(("batch", "coordinates", "classes"), SIZES)
@pytest.mark.parametrize("regime", ["dense", "mixed"])
def test_pair_separation(backend, batch, coordinates, classes, regime):
    q = place(make_problem(2, batch, coordinates, classes, regime=regime, dtype=torch.float64), backend)
    value, grad = both("pair_separation", q, backend)
    for p in range(2):
        want, want_grad = oracles.pair_separation(*(t[p].cpu().numpy() for t in (q.z, q.y, q.margins)))
        assert value[p].item() == pytest.approx(want, rel=1e-12, abs=1e-14)
        assert error(grad[p], torch.from_numpy(want_grad)) < 1e-12


@pytest.mark.parametrize(("batch", "coordinates", "classes"), SIZES)
def test_center_loss(backend, batch, coordinates, classes):
    q = place(make_problem(2, batch, coordinates, classes, regime="mixed", dtype=torch.float64), backend)
    value, grad = both("center_loss", q, backend)
    for p in range(2):
        want, want_grad = oracles.center_loss(*(t[p].cpu().numpy() for t in (q.z, q.y, q.centers)))
        assert value[p].item() == pytest.approx(want, rel=1e-12)
        assert error(grad[p], torch.from_numpy(want_grad)) < 1e-12


@pytest.mark.parametrize("form", ["paper", "mean"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("batch", "coordinates", "classes"), SIZES)
def test_structure_loss(backend, batch, coordinates, classes, masked, form):
    q = place(make_problem(3, batch, coordinates, classes, regime="mixed", dtype=torch.float64, seed=1), backend)
    per_replica = torch.tensor([0.5, 2.0, 0.0], dtype=torch.float64, device=q.z.device)
    touched = q.touched if masked else None
    value, grad = both("structure_loss", q, backend, touched=touched, weights=(0.7, per_replica, 3), form=form)
    for p in range(3):
        arrays = [t[p].cpu().numpy() for t in (q.z, q.y, q.centers, q.spreads)]
        mask = touched[p].cpu().numpy() if masked else None
        want, want_grad = oracles.structure(*arrays, mask, (0.7, per_replica[p].item(), 3.0), form)
        assert value[:, p].numpy() == pytest.approx(np.array(want), rel=1e-12, abs=1e-15)
        assert error(grad[p], torch.from_numpy(want_grad)) < 1e-12


def test_the_paper_form_divides_by_the_number_of_terms():
    """C' (C' + 1) terms when all is touched; 2 when only one class is present."""
    z, y = torch.zeros(1, 3, 2, dtype=torch.float64), torch.tensor([[0, 1, 2]])
    centers, spreads = torch.ones(1, 3, 2, dtype=torch.float64), torch.ones(1, 3, dtype=torch.float64)
    terms = kernels.structure_loss(z, y, centers, spreads)
    assert terms.center.item() == pytest.approx(3 * 1 / 12)
    assert terms.spread.item() == pytest.approx(3 * 1 / 12)
    assert terms.separation.item() == pytest.approx(6 * 2 / 12)
    alone = kernels.structure_loss(z[:, :1], y[:, :1], centers, spreads)
    assert alone.total.item() == pytest.approx(2 / 2)


def test_shared_targets_and_unbatched_samples(backend):
    q = place(make_problem(2, 20, 2, 3, dtype=torch.float64), backend)
    first = one(q, 0)
    for name, targets in (("pair_separation", (q.margins[0],)), ("center_loss", (q.centers[0],))):
        want, want_grad = both(name, first, backend)
        value, grad = getattr(kernels, f"{name}_and_grad")(q.z[0], q.y[0], *targets, backend=backend)
        assert value.shape == (1,)
        assert grad.shape == (20, 2)
        assert torch.equal(value.cpu(), want)
        assert torch.equal(grad.cpu(), want_grad[0])
        shared, _ = getattr(kernels, f"{name}_and_grad")(q.z, q.y[0], *targets, backend=backend)
        assert shared.shape == (2,)
        assert torch.equal(shared[:1].cpu(), want)
    terms, grad = kernels.structure_loss_and_grad(
        q.z[0], q.y[0], q.centers[0], q.spreads[0], touched=q.touched[0], backend=backend
    )
    want, want_grad = both("structure_loss", first, backend, touched=first.touched)
    assert torch.equal(torch.stack(terms).cpu(), want)
    assert torch.equal(grad.cpu(), want_grad[0])
    shared = kernels.structure_loss(q.z, q.y, q.centers[0], q.spreads[0], touched=q.touched[0], backend=backend)
    assert torch.equal(shared.total[:1].cpu(), want[3])


def test_non_contiguous_inputs(kernel_backend):
    q = place(make_problem(3, 40, 2, 4, dtype=torch.float64), kernel_backend)
    scattered = type(q)(**{k: torch.stack([v, v], -1)[..., 0] for k, v in vars(q).items()})
    assert not scattered.z.is_contiguous()
    for name in ("pair_separation", "center_loss", "structure_loss"):
        for got, want in zip(both(name, scattered, kernel_backend), both(name, q, kernel_backend), strict=True):
            assert torch.equal(got, want)
