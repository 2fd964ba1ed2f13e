"""What a model is: latents and logits, initial weights by the seed alone, and one line for whatever is wrong with one.

A module of a user's own is trained as it stands: dropout, batch norm, parameters that its forward leaves out.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from engine_support import FEW_DIGITS, differences, small
from torch import Tensor, nn

from hill_sim.engine import plan, simulate
from hill_sim.engine.population import data_order
from hill_sim.engine.simulation import same_result
from hill_sim.errors import HillError, InvalidInput
from hill_sim.models import build_model
from hill_sim.models.base import latent_width
from hill_sim.models.mlp import MLP
from hill_sim.tasks import Recipe, Split, Task, load_task
from hill_sim.trial import Options, Trial


@pytest.fixture
def offer() -> Iterator[Callable[..., str]]:
    """Put an object into an importable module; returns the name by which a trial finds it."""
    modules = []

    def put(thing: Any) -> str:
        module = ModuleType(f"plugin_of_the_models_{len(modules)}_{id(modules)}")
        module.thing = thing  # type: ignore[attr-defined]
        sys.modules[module.__name__] = module
        modules.append(module.__name__)
        return f"{module.__name__}:thing"

    yield put
    for name in modules:
        del sys.modules[name]


def digits() -> Task:
    return load_task("digits", Options(FEW_DIGITS))


class Net(nn.Module):
    """A model that is right; the wrong ones below change one thing."""

    def __init__(self, input_shape: tuple[int, ...], n_classes: int, width: int = 8) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(input_shape[0], width), nn.Linear(width, n_classes)

    def forward(self, x: Tensor) -> Any:
        latents = self.body(x).relu()
        return self.head(latents), latents


class Normed(Net):
    """Batch norm and dropout, as module and as function, and a parameter that forward never reads."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.norm, self.drop, self.idle = nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Any:
        latents = self.norm(self.body(x)).relu()
        return self.head(F.dropout(self.drop(latents), 0.1, self.training)), latents


class Counting(Net):
    """Counts its samples from where float32 cannot count on, and looks up a factor by the count."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.register_buffer("seen", torch.tensor(2**24 + 1))
        self.register_buffer("factors", torch.tensor([1.0, 0.5, 0.25]))

    def forward(self, x: Tensor) -> Any:
        if self.training:
            self.seen += 1
        latents = self.body(x).relu()
        return self.head(latents * self.factors[self.seen % 3]), latents


class FunctionalDropout(Net):
    def forward(self, x: Tensor) -> Any:
        latents = self.body(x).relu()
        return self.head(F.dropout(latents, 0.5, self.training)), latents


def test_the_mlp() -> None:
    torch.manual_seed(0)
    model = MLP((2, 3), 4, (7, 5))
    x = torch.randn(9, 2, 3)
    logits, latents = model(x)
    w = [(layer.weight, layer.bias) for layer in model.layers]
    h = x.reshape(9, 6)
    for weight, bias in w[:-1]:
        h = (h @ weight.T + bias).clamp_min(0)
    torch.testing.assert_close(latents, h)
    torch.testing.assert_close(logits, h @ w[-1][0].T + w[-1][1])
    assert [tuple(weight.shape) for weight, _ in w] == [(7, 6), (5, 7), (4, 5)]


@pytest.mark.parametrize("hidden", [(), (0,), (3, -1), (2.5,), "ab", 7, (True, "x")], ids=str)
def test_widths_of_the_mlp_are_checked(hidden: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^model_options\.hidden: .* is not a list of widths >= 1$"):
        MLP((3,), 2, hidden)


def test_initial_weights_depend_on_the_seed_alone() -> None:
    def weights(seed: int, **more: Any) -> Tensor:
        return torch.cat([p.flatten() for p in build_model(small(seed=seed, **more), digits()).parameters()])

    torch.manual_seed(1)
    first = weights(3)
    state = torch.random.get_rng_state()
    assert torch.equal(weights(3, policy="hold", lr=1.0), first)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not torch.equal(weights(4), first)


WRONG: dict[str, tuple[Callable[..., Any], str]] = {
    "no_module": (lambda shape, n: 3, "factory returned int, not a torch.nn.Module"),
    "raises": (lambda shape, n: 1 / 0, "cannot be made: ZeroDivisionError: division by zero"),
    "options": (lambda shape, n, width: Net(shape, n), "model_options of .*: needs the option 'width'"),
    "classes": (lambda shape, n: Net(shape, n + 1), r"logits have shape \(2, 11\), allowed: \[B, 10\]"),
    "inputs": (lambda shape, n: Net((3,), n), r"forward fails on x \[2, 64\]: RuntimeError: mat1 and mat2"),
    "parameterless": (lambda shape, n: type("Empty", (nn.Module,), {"forward": lambda self, x: (x[:, :10], x)})(),
                      "it has no parameters to train"),
    "three": (lambda shape, n: _changed(lambda logits, h: (logits, h, h))(shape, n), "forward returned tuple"),
    "text": (lambda shape, n: _changed(lambda logits, h: (logits, "h"))(shape, n), "latents have shape type str"),
    "rank": (lambda shape, n: _changed(lambda logits, h: (logits, h[:, :, None]))(shape, n), "latents have shape"),
    "rows": (lambda shape, n: _changed(lambda logits, h: (logits, h[:1]))(shape, n), "latents have shape"),
    "detached": (lambda shape, n: _changed(lambda logits, h: (logits, h.detach()))(shape, n), "are not computed from"),
    "copied": (lambda shape, n: _changed(lambda logits, h: (logits, h.clone()))(shape, n), "are not computed from"),
    "frozen": (lambda shape, n: _frozen(Net(shape, n)), "parameter body.weight requires no gradient"),
}  # fmt: skip


def _changed(change: Callable[[Tensor, Tensor], Any]) -> type[Net]:
    return type("Changed", (Net,), {"forward": lambda self, x: change(*Net.forward(self, x))})


def _frozen(model: Net) -> Net:
    model.body.weight.requires_grad_(False)
    return model


@pytest.mark.parametrize("kind", WRONG)
def test_a_model_that_cannot_be_trained_is_refused_in_one_line_before_anything_runs(
    kind: str, offer: Callable[..., str]
) -> None:
    factory, message = WRONG[kind]
    with pytest.raises(InvalidInput, match=message) as caught:
        plan([small(model=offer(factory), model_options={})])
    assert str(caught.value).startswith("trial 1 of 1: model")
    assert "\n" not in str(caught.value)


def test_an_unknown_model_is_named_with_the_nearest() -> None:
    with pytest.raises(InvalidInput, match="model: unknown 'mpl'; did you mean 'mlp'"):
        Trial(model="mpl")
    with pytest.raises(InvalidInput, match=r"model: 'hill_sim\.models:Nothing'.*has no 'Nothing'"):
        plan([small(model="hill_sim.models:Nothing")])


def test_latents_are_as_wide_as_they_are() -> None:
    assert latent_width(Net((64,), 10, 5), digits(), "net") == 5
    assert latent_width(build_model(small(), digits()), digits(), "mlp") == 13


@pytest.mark.slow
def test_a_module_that_returns_logits_only_is_tapped(offer: Callable[..., str]) -> None:
    """Its latents are what its last linear layer reads, or the layer named; trained, it equals the net untapped."""

    def plain(shape: tuple[int, ...], n_classes: int) -> nn.Module:
        return nn.Sequential(nn.Linear(shape[0], 12), nn.ReLU(), nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, n_classes))

    class Spelt(nn.Module):
        def __init__(self, shape: tuple[int, ...], n_classes: int) -> None:
            super().__init__()
            self.all = plain(shape, n_classes)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            latents = self.all[:4](x)
            return self.all[4](latents), latents

    def accuracy(model: Any, **options: Any) -> list[float]:
        trial = small(model=offer(model), model_options=options, interactions=(1, 2), epochs=4, alpha=0.9)
        return simulate([trial], backend="loop").results[0].epochs["test_loss"]

    tapped = accuracy(plain)
    assert tapped == accuracy(Spelt) == accuracy(plain, latents="3")
    assert tapped != accuracy(plain, latents="1")
    with pytest.raises(InvalidInput, match=r"model_options\.latents: no layer '7' \(there are: 0, 1, 2, 3, 4\)"):
        accuracy(plain, latents="7")


@pytest.mark.slow
@pytest.mark.parametrize("model", [Normed, FunctionalDropout])
def test_what_a_model_draws_and_remembers_is_forked_with_it(model: type[Net], offer: Callable[..., str]) -> None:
    """Dropout masks and running statistics: the same alone and in company, and different by seed."""
    name = offer(model)
    trials = [
        small(model=name, model_options={}, seed=seed, policy=policy, interactions=schedule)
        for seed, policy, schedule in ((0, "compactness", (1, 3)), (0, "hold", (3,)), (1, "compactness", (1,)))
    ]
    state = torch.random.get_rng_state()
    alone = simulate(trials, pmax=1, share=False, backend="loop").results
    for pmax in (2, 64):
        for a, b in zip(simulate(trials, pmax=pmax, backend="loop").results, alone, strict=True):
            assert same_result(a, b), differences(a, b)
    assert alone[0].epochs["train_loss"][0] != alone[2].epochs["train_loss"][0]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert simulate(trials[:1]).info["backend"] == "loop"
    for backend in ("vmap", "chain", "bmm"):
        with pytest.raises(HillError):
            simulate(trials[:1], backend=backend)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_integer_that_a_model_remembers_stays_one(dtype: str, offer: Callable[..., str]) -> None:
    trials = [small(model=offer(Counting), model_options={}, interactions=(1, 3), policy=p) for p in ("hold", "swap")]
    together = simulate(trials, backend="loop", dtype=dtype)
    assert together.outcomes["status"].tolist() == ["done"] * 2, together.outcomes["error"].iloc[0]
    alone = simulate(trials, pmax=1, share=False, backend="loop", dtype=dtype)
    for a, b in zip(together.results, alone.results, strict=True):
        assert same_result(a, b), differences(a, b)


def test_batch_norm_equals_plain_training(offer: Callable[..., str]) -> None:
    """Running statistics are what a module trained alone has: they decide what evaluation says."""

    class OnlyNormed(Net):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            self.body = nn.Linear(64, 8, bias=False)  # a bias here has no gradient but rounding, and Adam enlarges it
            self.norm = nn.BatchNorm1d(8)

        def forward(self, x: Tensor) -> Any:
            latents = self.norm(self.body(x)).relu()
            return self.head(latents), latents

    trial = small(model=offer(OnlyNormed), model_options={}, epochs=3, interactions=(), batch_size=32)
    others = [trial.replace(seed=seed) for seed in (1, 2)]
    result = simulate([others[0], trial, others[1]], backend="loop", dtype="float64").results[1]
    task, model = digits(), build_model(trial, digits()).double()
    step = torch.optim.Adam(model.parameters(), lr=trial.lr or 0.0)
    for epoch in (1, 2, 3):
        for rows in torch.from_numpy(data_order(0, epoch, len(task.train))).split(32):
            step.zero_grad()
            F.cross_entropy(model.train()(task.train.x[rows].double())[0], task.train.y[rows]).backward()
            step.step()
        with torch.no_grad():
            logits = model.eval()(task.test.x.double())[0]
        loss = float(F.cross_entropy(logits, task.test.y))
        assert result.epochs["test_loss"][epoch - 1] == pytest.approx(loss, rel=1e-12)


def test_dropout_is_on_in_training_and_off_in_evaluation(offer: Callable[..., str]) -> None:
    with_it, without = (
        simulate([small(model=offer(m), model_options={}, epochs=1, interactions=())], backend="loop").results[0]
        for m in (FunctionalDropout, Net)
    )
    assert with_it.epochs["train_loss"] != without.epochs["train_loss"]
    again = simulate([with_it.trial], backend="loop").results[0]
    assert same_result(again, with_it)


def test_an_idle_parameter_stays_as_it_is_and_stops_nobody(offer: Callable[..., str]) -> None:
    class Idle(Net):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            self.idle = nn.Parameter(torch.ones(3))

    name = offer(Idle)
    a, b = (
        simulate([small(model=m, model_options={})], backend=backend).results[0].epochs["test_loss"]
        for m, backend in ((name, "loop"), (offer(Net), "loop"))
    )
    assert a == b
    assert simulate([small(model=name, model_options={})], backend="vmap").results[0].outcome.status == "done"


@pytest.mark.slow
def test_a_task_and_a_model_of_ones_own(offer: Callable[..., str]) -> None:
    def moons(n: int = 60) -> Task:
        g = torch.Generator().manual_seed(0)
        splits = []
        for _ in range(3):
            y = torch.arange(n) % 3
            splits.append(Split(torch.randn(n, 2, generator=g) * 0.2 + 3 * F.one_hot(y, 3)[:, :2], y))
        recipe = Recipe(model=offer(Net), model_options=Options(width=9), batch_size=16, lr=0.02)
        return Task("moons", *splits, class_names=("a", "b", "c"), recipe=recipe)

    name = offer(moons)
    trial = Trial(task=name, task_options={"n": 90}, epochs=8, interactions=(2, 4))
    runs = simulate([trial, trial.replace(policy="hold"), trial.replace(task_options={})], verify=3)
    assert {r.outcome.status for r in runs.results} == {"done"}
    assert runs.results[0].outcome.test_accuracy > 0.9
    assert len(runs.results[0].predictions) == 90
    assert len(runs.results[0].outcome.class_recall) == 3
    assert runs.results[0].trial.batch_size == 16
    with pytest.raises(InvalidInput, match=r"task_options of .*unknown 'm'"):
        plan([trial.replace(task_options={"m": 1})])
