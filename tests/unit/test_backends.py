"""The backends agree with each other, and each gives a replica the same bits wherever it stands.

And `auto` takes none that disagrees; a backend that cannot run a model says so in one line.
"""

from __future__ import annotations

import logging

import pytest
import torch
from engine_support import small
from torch import Tensor, nn

from hill_sim.engine import choose, simulate
from hill_sim.engine.arena import Arena, Recipe
from hill_sim.engine.backends import BACKENDS, Backend, LoopBackend
from hill_sim.engine.backends.modules import MixedLoopBackend
from hill_sim.engine.choose import make_backend
from hill_sim.engine.planning import base_of
from hill_sim.errors import InvalidInput, Unavailable
from hill_sim.models.mlp import MLP
from hill_sim.tasks import resolve

NAMES = ("chain", "bmm", "vmap", "loop")
INPUTS, CLASSES = 21, 10


def setting(
    hidden: tuple[int, ...], P: int, B: int, dtype: torch.dtype = torch.float32
) -> tuple[MLP, Arena, Tensor, Tensor, Tensor]:
    """A model, P random replicas of it, inputs, and gradients of the loss by logits and by latents."""
    torch.manual_seed(0)
    model = MLP((INPUTS,), CLASSES, hidden).to(dtype)
    rows = [[(name, torch.randn_like(p) * 0.3) for name, p in model.named_parameters()] for _ in range(P)]
    arena = Arena.create(rows, [[]] * P, [Recipe("adam", 1e-3, 0.0)] * P, dtype, torch.device("cpu"))
    x, dlogits, dlatents = (torch.randn(P, B, n, dtype=dtype) for n in (INPUTS, CLASSES, hidden[-1]))
    return model, arena, x, dlogits, dlatents


def everything(backend: Backend, arena: Arena, x: Tensor, dlogits: Tensor, dlatents: Tensor | None) -> list[Tensor]:
    """All that a backend computes, [P, ...] each."""
    logits, latents, saved = backend.forward(arena, x)
    through = backend.latent_gradient(arena, saved, dlogits)
    backend.backward(arena, saved, dlogits, dlatents)
    evaluated = torch.stack([backend.evaluate(arena, row, x[0])[1] for row in range(len(x))])
    parts = [logits, latents, through, arena.grads, evaluated, backend.evaluate_all(arena, x[0])]
    return [part.clone() for part in parts]


@pytest.mark.parametrize("name", NAMES[:3])
@pytest.mark.parametrize("hidden", [(1,), (8,), (37, 13), (16, 5, 64)], ids=str)
@pytest.mark.parametrize("B", [1, 7, 16, 65])
@pytest.mark.parametrize("Q", [None, 0, 2, 3])
def test_a_backend_equals_the_loop(name: str, hidden: tuple[int, ...], B: int, Q: int | None) -> None:
    model, arena, x, dlogits, dlatents = setting(hidden, 3, B, torch.float64)
    given = None if Q is None else dlatents[:Q]
    expected = everything(BACKENDS["loop"](model), arena, x, dlogits, given)
    arena.grads.zero_()
    for got, want in zip(everything(BACKENDS[name](model), arena, x, dlogits, given), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-13, atol=1e-13)


def test_the_loop_equals_autograd_of_a_plain_module() -> None:
    """The reference of the others, against `loss.backward()` on the module itself."""
    model, arena, x, dlogits, dlatents = setting((9, 6), 2, 11, torch.float64)
    found = everything(BACKENDS["loop"](model), arena, x, dlogits, dlatents[:1])
    for row in range(2):
        model.load_state_dict({name: view[row] for name, view in arena.param_views.items()})
        model.zero_grad()
        logits, latents = model(x[row])
        latents.retain_grad()
        loss = (logits * dlogits[row]).sum() + ((latents * dlatents[row]).sum() if row == 0 else 0.0)
        torch.testing.assert_close(found[2][row], torch.autograd.grad(loss, latents, retain_graph=True)[0] -
                                   (dlatents[row] if row == 0 else 0.0))  # fmt: skip
        loss.backward()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(arena.layout.views(found[3])[name][row], parameter.grad, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("name", ["chain", "bmm", "loop"])
@pytest.mark.parametrize("hidden", [(2,), (9,), (13, 5), (33, 17), (64, 16)], ids=str)
def test_a_replica_gets_the_same_bits_wherever_it_stands(name: str, hidden: tuple[int, ...]) -> None:
    for B in (1, 2, 3, 5, 7, 10, 16, 23, 33, 64):
        model, arena, x, dlogits, dlatents = setting(hidden, 6, B)
        backend = BACKENDS[name](model)
        together = everything(backend, arena, x, dlogits, dlatents)
        for row in range(6):
            part = slice(row, row + 1)
            alone = everything(
                backend,
                Arena.gather([(arena, row)]),
                x[part].clone(),
                dlogits[part].clone(),
                dlatents[part].clone(),
            )
            for what, (a, b) in enumerate(zip(alone[:4], together[:4], strict=True)):
                assert torch.equal(a[0], b[row]), f"part {what} of row {row} at B = {B}"


def _base(**changes: object) -> object:
    return base_of(resolve(small(**changes)))


def _made(name: str, caplog: pytest.LogCaptureFixture, **changes: object) -> tuple[Backend, str]:
    choose._make.cache_clear()
    caplog.clear()
    with caplog.at_level(logging.INFO, "hill_sim.engine"):
        backend = make_backend(name, _base(**changes), torch.device("cpu"))
    return backend, caplog.text


def test_auto_keeps_the_fastest_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    backend, said = _made("auto", caplog, model_options={"hidden": (128, 64)})
    assert backend.name in NAMES
    assert "fastest per replica and step" in said
    assert all(name in said for name in ("chain", "bmm", "loop"))


def test_auto_leaves_out_what_disagrees(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(BACKENDS["chain"]):  # type: ignore[name-defined, misc]
        def backward(self, arena: Arena, saved: object, dlogits: Tensor, dlatents: Tensor | None) -> None:
            super().backward(arena, saved, dlogits, dlatents)
            arena.grads.mul_(1 + 1e-7)

    monkeypatch.setitem(BACKENDS, "chain", Wrong)
    backend, said = _made("auto", caplog)
    assert backend.name != "chain"
    assert "backend chain: a step differs from loop's" in said
    choose._make.cache_clear()


def test_auto_leaves_out_what_depends_on_a_replicas_place(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Placed(BACKENDS["chain"]):  # type: ignore[name-defined, misc]
        def backward(self, arena: Arena, saved: object, dlogits: Tensor, dlatents: Tensor | None) -> None:
            super().backward(arena, saved, dlogits, dlatents)
            arena.grads[1:].mul_(1 + 1e-6 if arena.grads.dtype == torch.float32 else 1.0)

    monkeypatch.setitem(BACKENDS, "chain", Placed)
    backend, said = _made("auto", caplog)
    assert backend.name != "chain"
    assert "backend chain: rounds by a replica's place" in said
    assert "the last bits depend on pmax" in _made("chain", caplog)[1]
    choose._make.cache_clear()


def test_an_unknown_backend_is_named_with_the_nearest() -> None:
    with pytest.raises(InvalidInput, match=r"backend: unknown 'chian'; did you mean 'chain'\? \(allowed: auto, bmm"):
        make_backend("chian", _base(), torch.device("cpu"))


class Convolution(nn.Module):
    """A model that is no chain of linear layers."""

    def __init__(self, input_shape: tuple[int, ...], n_classes: int) -> None:
        super().__init__()
        self.filter = nn.Conv1d(1, 2, 5, padding=2)
        self.head = nn.Linear(2 * input_shape[0], n_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        latents = self.filter(x.unsqueeze(1)).relu().flatten(1)
        return self.head(latents), latents


class Dropping(MLP):
    """Dropout: not a chain although it is an `MLP`, and different in training mode."""

    def __init__(self, input_shape: tuple[int, ...], n_classes: int) -> None:
        super().__init__(input_shape, n_classes, (16,))
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        _, latents = super().forward(x)
        return self.layers[-1](self.drop(latents)), latents


def test_chains_only(caplog: pytest.LogCaptureFixture) -> None:
    model = f"{__name__}:Convolution"
    for name in ("chain", "bmm"):
        with pytest.raises(Unavailable, match=rf"backend {name}: Convolution is not a hill_sim.models.mlp.MLP"):
            make_backend(name, _base(model=model, model_options={}), torch.device("cpu"))
    backend, _ = _made("auto", caplog, model=model, model_options={})
    assert backend.name in ("vmap", "loop")


@pytest.mark.parametrize("name", ["chain", "bmm"])
def test_a_subclass_of_the_chain_is_not_mistaken_for_it(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """It may override `forward`; the hand-written passes would silently train another model."""
    with pytest.raises(Unavailable, match=r"Dropping is not a hill_sim\.models\.mlp\.MLP"):
        make_backend(name, _base(model=f"{__name__}:Dropping", model_options={}), torch.device("cpu"))
    backend, _ = _made("auto", caplog, model=f"{__name__}:Dropping", model_options={})
    assert backend.name == "loop"


def test_the_chain_runs_on_the_cpu_only() -> None:
    with pytest.raises(Unavailable, match="backend chain: runs on the CPU only"):
        BACKENDS["chain"](MLP((3,), 2, (4,)).to("meta"))


class MixedOnTheCpu(MixedLoopBackend):
    """The CPU knows autocast as well; there it is only slow."""

    device = "cpu"


def test_mixed_precision_is_plain_autocast_and_leaves_the_state_in_float32() -> None:
    model, arena, x, dlogits, dlatents = setting((37, 13), 2, 20)
    mixed = everything(MixedOnTheCpu(model), arena, x, dlogits, dlatents)
    assert {part.dtype for part in mixed} == {torch.float32}
    exact = everything(LoopBackend(model), arena, x, dlogits, dlatents)
    for a, b in zip(exact[:2], mixed[:2], strict=True):
        assert 1e-4 < float((a - b).norm() / a.norm()) < 1e-2, "bfloat16 has eight bits"
    for row in range(2):
        params = {name: view[row].clone().requires_grad_() for name, view in arena.param_views.items()}
        with torch.autocast("cpu", torch.bfloat16):
            outputs = torch.func.functional_call(model, params, (x[row],))
        seeds = [seed[row].to(o.dtype) for seed, o in zip((dlogits, dlatents), outputs, strict=True)]
        views = arena.layout.views(mixed[3])
        for name, grad in zip(params, torch.autograd.grad(outputs, list(params.values()), seeds), strict=True):
            assert torch.equal(views[name][row], grad)


def test_mixed_precision_is_refused_on_the_cpu() -> None:
    with pytest.raises(Unavailable, match="backend loop-bf16: mixed precision is for a GPU, and this runs on the cpu"):
        make_backend("loop-bf16", _base(), torch.device("cpu"))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_mixed_precision_on_a_gpu() -> None:
    trial = small(model=f"{__name__}:Convolution", model_options={}, alpha=0.5)
    exact, mixed = (simulate([trial], device="cuda", backend=b).outcomes.iloc[0] for b in ("loop", "loop-bf16"))
    assert abs(exact["test_accuracy"] - mixed["test_accuracy"]) < 0.1
