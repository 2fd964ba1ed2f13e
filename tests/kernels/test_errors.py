"""Whatever a caller can get wrong is refused with an error that names the argument, by every backend alike."""

import pytest
import torch

from hill_sim import kernels
from hill_sim.bench.kernel_problems import make_problem
from hill_sim.errors import InvalidInput, Unavailable
from hill_sim.kernels import dispatch

from .helpers import place

CPU = ["torch", "numba", "cpp"]


@pytest.fixture(params=["pair_separation", "pair_separation_and_grad"])
def pair(request):
    return getattr(kernels, request.param)


@pytest.fixture(params=["structure_loss", "structure_loss_and_grad"])
def structure(request):
    return getattr(kernels, request.param)


@pytest.fixture
def q(backend):
    return place(make_problem(2, 10, 2, 3), backend)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda q: (q.z.half(), q.y, q.margins), r"z: dtype must be float32 or float64, got torch.float16"),
        (lambda q: (q.z[0, 0], q.y, q.margins), r"z: shape must be \[P, B, D\] or \[B, D\], got \[2\]"),
        (lambda q: (q.z[..., :0], q.y, q.margins), r"z: needs at least one coordinate"),
        (lambda q: (q.z.tolist(), q.y, q.margins), r"z: a torch.Tensor is needed, got list"),
        (lambda q: (q.z.to_sparse(), q.y, q.margins), r"z: a dense tensor is needed"),
        (lambda q: (q.z, q.y.int(), q.margins), r"y: dtype must be int64, got torch.int32"),
        (
            lambda q: (q.z, q.y[:, :4], q.margins),
            r"y: shape must be \[P, B\] = \[2, 10\] or \[B\] = \[10\], got \[2, 4\]",
        ),
        (lambda q: (q.z, q.y, q.margins.double()), r"margins: dtype must be that of z"),
        (lambda q: (q.z, q.y, q.margins[:, :2]), r"margins: shape must be \[P, C, C\]"),
        (lambda q: (q.z, q.y, q.margins[:1]), r"margins: shape must be \[P, C, C\] = \[2, 3, 3\]"),
        (lambda q: (q.z, q.y, q.margins[0, 0]), r"margins: needs 3 dimensions"),
        (lambda q: (q.z, q.y, None), r"margins: needs 3 dimensions .* got NoneType"),
    ],
)
def test_pairs(backend, pair, q, change, message):
    with pytest.raises(InvalidInput, match=message):
        pair(*change(q), backend=backend)


@pytest.mark.parametrize("label", [-1, 3, 2**40])
def test_labels_out_of_range(backend, pair, structure, label):
    if backend == "cuda":
        pytest.skip("a GPU is not waited for: see test_cuda")
    q = make_problem(2, 10, 2, 3)
    q.y[1, 4] = label
    with pytest.raises(InvalidInput, match=rf"y: labels must be in 0..2, got {label}"):
        pair(q.z, q.y, q.margins, backend=backend)
    with pytest.raises(InvalidInput, match=rf"y: labels must be in 0..2, got {label}"):
        structure(q.z, q.y, q.centers, q.spreads, backend=backend)
    with pytest.raises(InvalidInput, match=r"y: labels must be in"):
        kernels.center_loss(q.z, q.y, q.centers, backend=backend)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"touched": torch.ones(2, 3)}, r"touched: must be a bool tensor or None, got torch.float32"),
        ({"touched": torch.ones(2, 4, dtype=torch.bool)}, r"touched: shape must be \[P, C\] = \[2, 3\]"),
        ({"touched": [True]}, r"touched: must be a bool tensor or None, got list"),
        ({"form": "sum"}, r"form: must be 'paper' or 'mean', got 'sum'"),
        ({"weights": (1, 1)}, r"weights: needs three .* got 2"),
        ({"weights": (1, 1, "1")}, r"weights: each must be a number or a tensor \[P\], got str"),
        ({"weights": (1, 1, torch.ones(5))}, r"weights: a tensor must be \[P\] = \[2\], got \[5\]"),
        ({"weights": (1, 1, torch.ones(2, dtype=torch.float64))}, r"weights: dtype must be that of z"),
    ],
)
def test_structure_options(backend, structure, q, options, message):
    if isinstance(options.get("touched"), torch.Tensor):
        options = {**options, "touched": options["touched"].to(q.z.device)}
    with pytest.raises(InvalidInput, match=message):
        structure(q.z, q.y, q.centers, q.spreads, backend=backend, **options)


def test_structure_targets(backend, structure, q):
    with pytest.raises(InvalidInput, match=r"centers: shape must be \[P, C, D\] = \[2, 3, 2\]"):
        structure(q.z, q.y, q.centers[..., :1], q.spreads, backend=backend)
    with pytest.raises(InvalidInput, match=r"spreads: shape must be \[P, C\] = \[2, 3\]"):
        structure(q.z, q.y, q.centers, q.spreads[:, :2], backend=backend)
    with pytest.raises(InvalidInput, match=r"spreads: a torch.Tensor is needed"):
        structure(q.z, q.y, q.centers, 1.0, backend=backend)


def test_mixed_devices(backend, q):
    with pytest.raises(InvalidInput, match=r"margins: is on meta but z is on"):
        kernels.pair_separation_and_grad(q.z, q.y, q.margins.to("meta"), backend=backend)
    with pytest.raises(InvalidInput, match=r"y: is on meta but z is on"):
        kernels.center_loss(q.z, q.y.to("meta"), q.centers, backend=backend)


def test_backends():
    q = make_problem(1, 10, 2, 3)
    with pytest.raises(InvalidInput, match=r"backend: must be one of auto, cuda, cpp, numba, torch, got 'gpu'"):
        kernels.center_loss(q.z, q.y, q.centers, backend="gpu")
    with pytest.raises(Unavailable, match=r"backend: 'cuda' serves tensors on cuda, but z is on cpu"):
        kernels.center_loss(q.z, q.y, q.centers, backend="cuda")


def test_a_missing_backend_says_why(monkeypatch):
    monkeypatch.setenv("HILL_SIM_DISABLE", "cpp,numba")
    dispatch.forget()
    try:
        q = make_problem(1, 10, 2, 3)
        with pytest.raises(Unavailable, match=r"'cpp' is not available here \(switched off by HILL_SIM_DISABLE\)"):
            kernels.center_loss(q.z, q.y, q.centers, backend="cpp")
        assert dispatch.resolve("auto", "cpu") == "torch"
        assert kernels.center_loss(q.z, q.y, q.centers).isfinite().all()
    finally:
        dispatch.forget()


def test_auto_takes_the_first_that_is_there():
    there = [b for b in ("cpp", "numba", "torch") if dispatch.named(b)[0] is not None]
    assert dispatch.resolve("auto", "cpu") == there[0]
