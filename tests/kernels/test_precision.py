"""float32 against the float64 reference: odd sizes, many classes, far from the origin, tiny and huge scales.

Values and gradients, as vectors, within 1e-5 relative. The reference is given the float32 inputs, so what is measured
is the kernel's own error and not the rounding of its inputs.
"""

import pytest
import torch

from hill_sim.bench.kernel_problems import make_problem

from .helpers import LOSSES, both, error, place

CASES = [
    *[{"batch": b, "coordinates": d} for b in (1, 41, 401) for d in (1, 2, 3, 5, 17, 64)],
    {"batch": 1271, "coordinates": 2},
    {"batch": 1271, "coordinates": 2, "classes": 1000},
    {"batch": 401, "coordinates": 2, "classes": 1},
    *[{"batch": 401, "coordinates": d, "offset": 1000.0} for d in (2, 3, 17, 64)],
    *[{"batch": 401, "coordinates": d, "scale": s} for d in (2, 64) for s in (1e-3, 1e4)],
    *[{"batch": 401, "coordinates": d, "regime": "mixed"} for d in (2, 8, 64)],
    {"batch": 401, "coordinates": 64, "regime": "separated"},
]


def parameter(case):
    large = case["coordinates"] == 64 or case["batch"] > 401
    return pytest.param(
        case, marks=pytest.mark.slow if large else (), id="-".join(f"{k[0]}{v}" for k, v in case.items())
    )


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("case", [parameter(case) for case in CASES])
def test_float32(kernel_backend, name, case):
    q = make_problem(1, **case)
    want, want_grad = both(name, q.to(torch.float64), "torch")
    value, grad = both(name, place(q, kernel_backend), kernel_backend)
    assert error(value, want) < 1e-5
    assert error(grad, want_grad) < 1e-5


@pytest.mark.parametrize("coordinates", [2, 20])
def test_near_pairs_in_a_wide_layout(kernel_backend, coordinates):
    """Two classes on top of each other, 1e4 times closer than the layout is wide: inner products alone would lose
    them."""
    q = make_problem(1, 200, coordinates, 2, scale=0.01)
    z = q.z.clone()
    z[:, ::2] += 50.0
    z[:, 1::2] -= 50.0
    q = type(q)(**{**vars(q), "z": z})
    want, want_grad = both("pair_separation", q.to(torch.float64), "torch")
    value, grad = both("pair_separation", place(q, kernel_backend), kernel_backend)
    assert want.item() > 0
    assert error(value, want) < 1e-5
    assert error(grad, want_grad) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("coordinates", [2, 24])
def test_large_batch(kernel_backend, name, coordinates):
    """Above 4096 samples rows are summed in slabs."""
    q = make_problem(1, 4501, coordinates, 7)
    want, want_grad = both(name, q.to(torch.float64), "cpp" if kernel_backend != "cpp" else "numba")
    value, grad = both(name, place(q, kernel_backend), kernel_backend)
    assert error(value, want) < 1e-5
    assert error(grad, want_grad) < 1e-5
