"""The NumPy face gives what the torch functions give, compiled or not."""

import numpy as np
import pytest
import torch

from hill_sim import kernels
from hill_sim.bench.kernel_problems import make_problem
from hill_sim.errors import InvalidInput
from hill_sim.kernels import arrays
from hill_sim.kernels.status import status


@pytest.fixture(params=["compiled", "torch"])
def face(request, monkeypatch):
    if request.param == "torch":
        monkeypatch.setattr(arrays, "compiled", None)
    elif arrays.compiled is None:
        pytest.skip(arrays.missing)
    return arrays


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("coordinates", [2, 20])
def test_values(face, dtype, coordinates):
    q = make_problem(3, 40, coordinates, 4, dtype=dtype)
    z, y, centers, spreads, margins, touched = (t.numpy() for t in vars(q).values())
    for got, want in (
        (face.pair_separation(z, y, margins, grad=True), kernels.pair_separation_and_grad(q.z, q.y, q.margins)),
        (face.center_loss(z, y, centers, grad=True), kernels.center_loss_and_grad(q.z, q.y, q.centers)),
    ):
        assert got[0].dtype == z.dtype
        np.testing.assert_array_equal(got[0], want[0].numpy())
        np.testing.assert_array_equal(got[1], want[1].numpy())
    weights = (1.0, 0.5, 2.0)
    want, want_grad = kernels.structure_loss_and_grad(
        q.z, q.y, q.centers, q.spreads, touched=q.touched, weights=weights
    )
    got, grad = face.structure_loss(z, y, centers, spreads, touched=touched, weights=weights, grad=True)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b.numpy())
    np.testing.assert_array_equal(grad, want_grad.numpy())


def test_lists_unbatched_and_shared(face):
    value, grad = face.center_loss([[3.0, 4.0]], [0], [[0, 0]], grad=True)
    assert value.tolist() == [25.0]
    assert grad.tolist() == [[6.0, 8.0]]
    value, none = face.pair_separation(np.zeros((2, 3, 2)), [0, 0, 1], [[0, 2.0], [2.0, 0]])
    assert value.tolist() == [4.0, 4.0]
    assert none is None
    terms, _ = face.structure_loss([[0.0], [2.0]], [0, 1], [[0.0], [2.0]], [1.5, 1.5], form="mean")
    assert terms.separation.tolist() == [1.0]


def test_errors(face):
    with pytest.raises(InvalidInput, match=r"y: labels must be in 0..0, got 3"):
        face.center_loss([[3.0, 4.0]], [3], [[0, 0]])
    with pytest.raises(InvalidInput, match="y: labels must be integers"):
        face.center_loss([[3.0, 4.0]], [0.5], [[0, 0]])
    with pytest.raises(InvalidInput, match="z: shape"):
        face.center_loss([3.0, 4.0], [0], [[0, 0]])
    with pytest.raises(InvalidInput, match=r"centers"):
        face.center_loss([[3.0, 4.0]], [0], [[0, 0, 0]])
    with pytest.raises(InvalidInput, match="form"):
        face.structure_loss([[0.0]], [0], [[0.0]], [1.0], form="sum")
    with pytest.raises(InvalidInput, match="weights"):
        face.structure_loss([[0.0]], [0], [[0.0]], [1.0], weights=(1, 2))


def test_status_says_what_is_there_and_why_not():
    report = status()
    assert [b.name for b in report.backends] == ["cuda", "cpp", "numba", "torch"]
    assert all(b.reason for b in report.backends)
    assert report.backends[-1].usable
    assert report.auto["cpu"] in ("cpp", "numba", "torch")
    assert len(report.lines()) >= 6
    assert report.as_dict()["torch"] == torch.__version__
