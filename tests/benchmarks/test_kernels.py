"""The benchmark's baselines are right (else a ratio means nothing), its inputs are what their names say, and every
provider runs; `pytest tests/benchmarks` without xdist times them as well."""

import pandas as pd
import pytest
import torch

from hill_sim import kernels
from hill_sim.bench import kernels as bench
from hill_sim.bench.kernel_problems import make_problem
from hill_sim.bench.kernel_providers import EXPERTS, FORMS

LOSSES = ("pair_separation", "structure_loss", "center_loss")


def truth(name, q):
    value, grad = bench.calls(name, q, "torch").both()
    return (value.total if isinstance(value, tuple) else value), grad


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shape", [(1, 40, 2, 4), (3, 33, 5, 3), (2, 300, 2, 10)])
def test_baselines_agree_with_the_reference(name, shape):
    q = make_problem(*shape, regime="mixed", dtype=torch.float64)
    want, want_grad = truth(name, q)
    for form in FORMS[name].values():
        z = q.z.clone().requires_grad_()
        value = form(z, q)
        (grad,) = torch.autograd.grad(value.sum(), z)
        assert torch.allclose(value, want, rtol=1e-7)
        assert (grad - want_grad).norm() < 1e-5 * want_grad.norm()
    value, grad = EXPERTS[name](q)
    assert torch.allclose(value, want, rtol=1e-7)
    assert (grad - want_grad).norm() < 1e-6 * want_grad.norm()


def test_regimes():
    """Which part of the pairs of different classes is within its margin."""
    active = {}
    for regime in ("dense", "mixed", "separated"):
        q = make_problem(1, 400, 2, 10, regime=regime)
        distance = torch.cdist(q.z, q.z)[0]
        different = q.y[0][:, None] != q.y[0][None]
        margin = q.margins[0][q.y[0][:, None], q.y[0][None]]
        active[regime] = ((distance < margin) & different).sum().item() / different.sum().item()
    assert active["dense"] > 0.9
    assert 0.3 < active["mixed"] < 0.8
    assert active["separated"] == 0


@pytest.mark.slow
def test_the_whole_benchmark_on_tiny_sizes(tmp_path):
    args = bench.KernelBench(
        cases="tiny", seconds=0.01, out=tmp_path / "k.csv", chart=tmp_path / "k.png", compile=False
    )
    bench.main(args)
    table = pd.read_csv(tmp_path / "k.csv")
    assert (tmp_path / "k.png").stat().st_size > 1000
    assert set(table.loss) == set(LOSSES)
    assert {"provider", "mode", "p20_us", "p50_us", "p80_us", "min_us", "peak_mb", "device", "torch", "commit"} <= set(
        table
    )
    assert (table.min_us <= table.p20_us).all()
    assert (table.p20_us <= table.p80_us).all()


@pytest.mark.slow
@pytest.mark.parametrize("provider", ["cpp", "numba", "eager", "expert"])
@pytest.mark.parametrize("name", LOSSES)
def test_speed(benchmark, name, provider):
    q = make_problem(1, 512, 2, 10)
    providers = bench.providers(name, q, compile=False)
    if provider not in providers:
        pytest.skip(f"{provider} is not there")
    benchmark.extra_info.update(bench.environment(torch.device("cpu")))
    run = providers[provider].get("value_and_grad") or providers[provider]["autograd"]
    benchmark.pedantic(run, rounds=50, warmup_rounds=5)


@pytest.mark.slow
def test_memory_of_a_large_batch():
    """B = 32,768 in under 10 MB beyond its inputs and outputs."""
    if kernels.pair_separation(*args(2)).isnan().any():
        pytest.fail("warm-up gave NaN")
    q = make_problem(1, 32768, 2, 10, regime="separated")  # the same memory as dense, and quick
    peak = bench.peak_megabytes(lambda: kernels.pair_separation_and_grad(q.z, q.y, q.margins))
    assert peak < 10


def args(batch):
    q = make_problem(1, batch, 2, 2)
    return q.z, q.y, q.margins
