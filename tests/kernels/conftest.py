"""Every test that takes `backend` runs once for each backend that this installation has; one that is missing skips,
and says why, so that a run without a compiler or a GPU shows what it did not test."""

import pytest
import torch

from hill_sim.kernels import dispatch

BACKENDS = ["torch", "numba", "cpp", pytest.param("cuda", marks=pytest.mark.cuda)]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return need(request.param)


@pytest.fixture(params=BACKENDS[1:])
def kernel_backend(request: pytest.FixtureRequest) -> str:
    """A backend other than the reference."""
    return need(request.param)


@pytest.fixture
def cpp() -> str:
    return need("cpp")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def need(name: str) -> str:
    kernels, reason = dispatch.named(name)
    if kernels is None:
        pytest.skip(f"{name}: {reason}")
    return name
