"""Gradients through autograd: gradcheck, random upstream gradients, opcheck, torch.compile, and second derivatives
refused."""

import pytest
import torch

from hill_sim import kernels
from hill_sim.bench.kernel_problems import make_problem
from hill_sim.errors import InvalidInput, Unavailable

from .helpers import LOSSES, arguments, both, error, loss, place

KERNEL_NAMES = ("pair_separation", "center_loss", "structure_loss")


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("coordinates", [1, 2, 3, 5, 17, 64])
def test_gradcheck(backend, name, coordinates):
    q = place(make_problem(2, 9, coordinates, 3, dtype=torch.float64, seed=2), backend)

    def function(z):
        value = getattr(kernels, name)(z, *arguments(name, q)[1:], backend=backend)
        return tuple(value) if isinstance(value, tuple) else value

    assert torch.autograd.gradcheck(function, (q.z.clone().requires_grad_(),), fast_mode=coordinates > 5)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("coordinates", [2, 20])
def test_random_upstream_gradients(kernel_backend, name, coordinates):
    q = make_problem(5, 83, coordinates, 4, dtype=torch.float64)
    upstream = torch.randn(5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    grads = []
    for backend in ("torch", kernel_backend):
        z = place(q, backend).z.requires_grad_()
        (loss(name, z, place(q, backend), backend).cpu() * upstream).sum().backward()
        grads.append(z.grad.cpu())
    assert error(grads[1], grads[0]) < 1e-12


def test_every_structure_term_has_its_own_upstream_gradient(kernel_backend):
    q = make_problem(4, 50, 3, 5, dtype=torch.float64)
    upstream = torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    for chosen in ([0], [1], [2], [3], [0, 2], [0, 1, 2, 3]):
        grads = []
        for backend in ("torch", kernel_backend):
            r = place(q, backend)
            z = r.z.clone().requires_grad_()
            terms = kernels.structure_loss(z, r.y, r.centers, r.spreads, touched=r.touched, backend=backend)
            sum((terms[t].cpu() * upstream[t]).sum() for t in chosen).backward()
            grads.append(z.grad.cpu())
        assert error(grads[1], grads[0]) < 1e-12


@pytest.mark.parametrize("name", LOSSES)
def test_differentiable_and_raw_agree(backend, name):
    q = place(make_problem(3, 60, 2, 5, dtype=torch.float64), backend)
    z = q.z.clone().requires_grad_()
    value = loss(name, z, q, backend)
    value.sum().backward()
    raw_value, raw_grad = both(name, q, backend)
    want = raw_value[3] if name == "structure_loss" else raw_value
    assert torch.allclose(value.detach().cpu(), want, rtol=1e-14)
    assert error(z.grad.cpu(), raw_grad) < 1e-14
    with torch.no_grad():
        assert torch.allclose(loss(name, z, q, backend).cpu(), want, rtol=1e-14)


@pytest.mark.parametrize("name", LOSSES)
def test_raw_functions_ignore_requires_grad(backend, name):
    q = place(make_problem(2, 30, 2, 3), backend)
    want = both(name, q, backend)
    q.z.requires_grad_()
    _value, grad = getattr(kernels, f"{name}_and_grad")(*arguments(name, q), backend=backend)
    assert not grad.requires_grad
    assert torch.equal(grad.cpu(), want[1])


@pytest.mark.parametrize("name", LOSSES)
def test_raw_functions_in_inference_mode(backend, name):
    with torch.inference_mode():
        q = place(make_problem(2, 30, 2, 3), backend)
        value, _ = both(name, q, backend)
    assert value.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_second_derivatives_are_refused(kernel_backend, name):
    q = place(make_problem(1, 20, 2, 3, dtype=torch.float64), kernel_backend)
    z = q.z.clone().requires_grad_()
    value = loss(name, z, q, kernel_backend).sum()
    (grad,) = torch.autograd.grad(value, z, create_graph=True)
    assert error(grad.detach().cpu(), both(name, q, kernel_backend)[1]) < 1e-14
    with pytest.raises(Unavailable, match="second derivatives"):
        grad.square().sum().backward()


@pytest.mark.parametrize("name", LOSSES)
def test_targets_that_require_a_gradient_are_refused(backend, name):
    q = place(make_problem(1, 20, 2, 3), backend)
    z, y, *targets = arguments(name, q)
    targets[0] = targets[0].clone().requires_grad_()
    with pytest.raises(InvalidInput, match=r"requires a gradient, but only z"):
        getattr(kernels, name)(z.clone().requires_grad_(), y, *targets, backend=backend)


@pytest.mark.parametrize("name", LOSSES)
def test_a_changed_input_is_noticed(kernel_backend, name):
    q = place(make_problem(1, 20, 2, 3), kernel_backend)
    z = q.z.clone().requires_grad_()
    w = z * 1
    value = loss(name, w, q, kernel_backend).sum()
    w.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        value.backward()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_opcheck(cpp, device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU")
    ops = torch.ops.hill_sim
    for coordinates in (2, 20):
        q = make_problem(2, 12, coordinates, 3, dtype=torch.float64).to(torch.float64, device)
        for grad in (False, True):
            z = q.z.clone().requires_grad_(grad)
            weights = torch.rand(3, 2, dtype=torch.float64, device=device)
            numbers = (q.centers, q.spreads, q.touched, weights, 1.0, 1.0, 1.0, 0)
            torch.library.opcheck(ops.pair_separation.default, (z, q.y, q.margins))
            torch.library.opcheck(ops.center_loss.default, (z, q.y, q.centers))
            torch.library.opcheck(ops.structure_loss.default, (z, q.y, *numbers))
        z, some = q.z, ("test_schema", "test_faketensor", "test_aot_dispatch_dynamic")
        for op in (ops.pair_value, ops.pair_value_and_grad):
            torch.library.opcheck(op.default, (z, q.y, q.margins), test_utils=some)
        for op in (ops.center_value, ops.center_value_and_grad):
            torch.library.opcheck(op.default, (z, q.y, q.centers), test_utils=some)
        for op in (ops.structure_value, ops.structure_value_and_grad):
            torch.library.opcheck(op.default, (z, q.y, *numbers), test_utils=some)
        _, state = ops.structure_loss(z, q.y, *numbers)
        upstream = torch.rand(2, dtype=torch.float64, device=device)
        torch.library.opcheck(
            ops.structure_backward.default, (z, q.y, state, upstream, None, None, upstream), test_utils=some
        )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", LOSSES)
def test_compile_fullgraph(cpp, name):
    """One graph, forward and backward, with a changing batch; the backward is compiled too (aot_eager)."""
    torch._dynamo.reset()

    def objective(z, y, *targets):
        value = getattr(kernels, name)(z * 2, y, *targets, backend=cpp)
        return (value.total if isinstance(value, tuple) else value).sum()

    compiled = torch.compile(objective, fullgraph=True, backend="aot_eager", dynamic=True)
    for batch in (20, 33):
        q = make_problem(2, batch, 2, 3, dtype=torch.float64)
        grads = []
        for function in (objective, compiled):
            z = q.z.clone().requires_grad_()
            value = function(z, *arguments(name, q)[1:])
            value.backward()
            grads.append((value.detach(), z.grad))
        assert torch.allclose(grads[0][0], grads[1][0])
        assert error(grads[1][1], grads[0][1]) < 1e-14
