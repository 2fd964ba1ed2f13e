"""A replica's result is the same bit for bit whatever it is packed with, and whatever the number of threads.

The engine needs it: a forked trial must equal the unforked one, in any population.
"""

import pytest
import torch

from hill_sim.bench.kernel_problems import make_problem

from .helpers import LOSSES, both, loss, one, place

SHAPES = [(1, 2, 3), (7, 2, 3), (33, 1, 4), (64, 2, 10), (129, 2, 10), (40, 3, 5), (50, 5, 4), (35, 17, 4)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(("batch", "coordinates", "classes"), SHAPES)
def test_packing(backend, name, batch, coordinates, classes, dtype):
    q = place(make_problem(64, batch, coordinates, classes, dtype=dtype), backend)
    value, grad = both(name, q, backend)
    for part in (slice(0, 1), slice(37, 39), slice(11, 16), slice(63, 64)):
        some_value, some_grad = both(name, one(q, part), backend)
        assert torch.equal(some_value, value[..., part])
        assert torch.equal(some_grad, grad[part])


@pytest.mark.parametrize("name", LOSSES)
def test_packing_through_autograd(backend, name):
    q = place(make_problem(9, 70, 2, 6), backend)

    def run(part):
        z = one(q, part).z.requires_grad_()
        value = loss(name, z, one(q, part), backend)
        value.square().sum().backward()
        return value.detach(), z.grad

    value, grad = run(slice(0, 9))
    some_value, some_grad = run(slice(4, 6))
    assert torch.equal(some_value, value[4:6])
    assert torch.equal(some_grad, grad[4:6])


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(("replicas", "batch", "coordinates"), [(1, 5000, 2), (1, 4200, 17), (600, 64, 2)])
def test_threads(cpp, name, replicas, batch, coordinates):
    q = make_problem(replicas, batch, coordinates, 7)
    torch.set_num_threads(1)
    value, grad = both(name, q, cpp)
    torch.set_num_threads(2)
    for _ in range(2):
        again_value, again_grad = both(name, q, cpp)
        assert torch.equal(again_value, value)
        assert torch.equal(again_grad, grad)


@pytest.mark.parametrize("name", LOSSES)
def test_repeated_calls(backend, name):
    q = place(make_problem(3, 300, 2, 10), backend)
    first = both(name, q, backend)
    for _ in range(3):
        assert all(torch.equal(a, b) for a, b in zip(both(name, q, backend), first, strict=True))
