"""The CUDA kernels: that they compile wherever nvcc is found, and on a GPU what is theirs alone. The rest is tested
where the other backends are: each test that takes `backend` runs with "cuda" where there is a GPU."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hill_sim import kernels
from hill_sim.bench.kernel_problems import make_problem

from .conftest import need
from .helpers import LOSSES, both

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_they_compile_without_spilling():
    command = [sys.executable, "csrc/cuda/report.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 3:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout.splitlines()[-1])


@pytest.mark.cuda
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("label", [-1, 3, 2**40])
def test_a_label_out_of_range_gives_nan(name, label):
    """The GPU is not waited for, so it cannot be refused; it must not read out of bounds nor pass for a loss either."""
    need("cuda")
    q = make_problem(3, 40, 2, 3)
    q.y[1, 4] = label
    value, grad = both(name, q.to(torch.float32, "cuda"), "cuda")
    assert value[..., 1].isnan().all()
    assert grad[1, 4].isnan().all()
    assert value[..., [0, 2]].isfinite().all()


@pytest.mark.cuda
@pytest.mark.parametrize("coordinates", [2, 700])
def test_several_chunks_of_columns(coordinates):
    need("cuda")
    q = make_problem(2, 1000 if coordinates == 2 else 300, coordinates, 5, dtype=torch.float64)
    want, want_grad = both("pair_separation", q, "torch" if coordinates == 2 else "numba")
    value, grad = both("pair_separation", q.to(torch.float64, "cuda"), "cuda")
    assert torch.allclose(value, want, rtol=1e-12)
    assert (grad - want_grad).norm() < 1e-12 * want_grad.norm()


@pytest.mark.cuda
def test_streams():
    need("cuda")
    q = make_problem(2, 500, 2, 5).to(torch.float32, "cuda")
    want = kernels.pair_separation(q.z, q.y, q.margins)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        got = kernels.pair_separation(q.z, q.y, q.margins)
    stream.synchronize()
    assert torch.equal(got, want)
