"""A trial that fails takes nobody with it: its traceback is recorded, all others are the same to the last bit.

And what a caller of `simulate` can get wrong is refused in one line before anything has run.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from engine_support import differences, mixture, small

import hill_sim.engine.simulation as simulation
from hill_sim.engine import RunSet, TrialResult, plan, simulate
from hill_sim.engine.arena import Arena
from hill_sim.engine.population import Population
from hill_sim.engine.recall import Settings
from hill_sim.engine.simulation import VerificationError, same_result
from hill_sim.engine.walk import Walker
from hill_sim.errors import HillError, InvalidInput, Unavailable
from hill_sim.types import CollapseClass, Edit, LatentView, MoveCenter, MovePoint


class Returns:
    """A policy that returns anything, from its n-th interaction on."""

    def __init__(self, value: Any, after: int = 0) -> None:
        self.value, self.after = value, after

    def edit(self, view: LatentView, rng: np.random.Generator) -> Any:
        return self.value if len(view.history) >= self.after else Edit([CollapseClass(2)])


class Raises:
    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        raise ZeroDivisionError("a bug of the user's\nover two lines")


class Writes:
    """A policy that writes into what it is shown."""

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        view.points[0] = 0.0
        return Edit()


BAD: dict[str, tuple[Any, str]] = {
    "none": (Returns(None), "InvalidEdit: policy .*none: edit() returned None (is a `return` missing?)"),
    "gestures": (Returns([CollapseClass(0)]), "edit() returned list, not a hill_sim.types.Edit"),
    "nan": (Returns(Edit([MoveCenter(0, (float("nan"), 0.0))])), "is not a pair of finite numbers"),
    "unknown_class": (Returns(Edit([CollapseClass(0), CollapseClass(10)])), "gesture 2 of 2: class 10 is not in 0..9"),
    "unknown_point": (Returns(Edit([MovePoint(100, (0.0, 0.0))])), "point 100 is not in 0..99"),
    "foreign": (Returns(Edit(["collapse"])), "str is not a gesture"),  # type: ignore[list-item]
    "raises": (Raises(), "ZeroDivisionError: a bug of the user's"),
    "writes": (Writes(), "read-only"),
    "late": (Returns(None, after=1), "returned None"),
}


@pytest.fixture(scope="module")
def plugin() -> Iterator[str]:
    module = ModuleType("plugin_of_the_failures")
    for name, (policy, _) in BAD.items():
        setattr(module, name, policy)
    sys.modules[module.__name__] = module
    yield module.__name__
    del sys.modules[module.__name__]


@pytest.fixture(scope="module")
def healthy() -> RunSet:
    return simulate(mixture()[::5], pmax=1, share=False, backend="chain")


def assert_same(results: tuple[TrialResult, ...], reference: RunSet) -> None:
    for a, b in zip(results, reference.results, strict=True):
        assert same_result(a, b), differences(a, b)


def test_a_policy_that_fails_ends_its_own_trial_only(plugin: str, healthy: RunSet) -> None:
    bad = [small(policy=f"{plugin}:{name}") for name in BAD]
    seen: list[str] = []
    runs = simulate([*bad, *mixture()[::5]], backend="chain", on_result=lambda r: seen.append(r.outcome.status))
    assert_same(runs.results[len(bad) :], healthy)
    assert sorted(seen) == sorted(r.outcome.status for r in runs.results)
    assert runs.info["failed"] == len(bad)
    for (name, (_, message)), result in zip(BAD.items(), runs.results, strict=False):
        outcome = result.outcome
        assert outcome.status == "failed"
        assert outcome.error.startswith("Traceback")
        assert message.replace("policy .*", f"policy {plugin}:") in outcome.error
        epochs = 3 if name == "late" else 1
        assert len(result.epochs["train_loss"]) == epochs  # what had been trained when it happened
        assert len(result.interactions) == epochs // 2
        numbers = [v for v in vars(outcome).values() if isinstance(v, float)]
        assert np.isnan(numbers).all()
        assert result.predictions.size == 0
    table = runs.outcomes
    assert table["status"].tolist().count("failed") == len(bad)
    assert len(runs.epochs) == sum(len(r.epochs["train_loss"]) for r in runs.results)
    assert RunSet.from_json(runs.to_json()).results[0].outcome.error == runs.results[0].outcome.error


def test_a_sequence_fails_where_its_bad_policy_comes(plugin: str) -> None:
    good, mixed = small(policy=("hold", "hold")), small(policy=("hold", f"{plugin}:raises"))
    a, b = simulate([good, mixed], backend="chain").results
    assert a.outcome.status == "done"
    assert b.outcome.status == "failed"
    assert b.epochs["train_loss"] == a.epochs["train_loss"][:3]
    assert [item.epoch for item in b.interactions] == [1]


@pytest.mark.parametrize("backend", ["chain", "bmm", "loop"])
def test_a_training_that_diverges_ends_alone(backend: str, healthy: RunSet) -> None:
    """One diverges before its first interaction, one under a user; both share populations with the healthy."""
    early = small(lr=1e30, projection="pca")
    late = small(optimizer="sgd", lr=0.3, alpha=0.999999, objective={"balance": "none", "center": 1e12})
    trials = [early, *mixture()[::5], late, early.replace(policy="ce_only")]
    runs = simulate(trials, backend=backend)
    for result in (runs.results[0], runs.results[-2], runs.results[-1]):
        assert result.outcome.status == "failed"
        assert result.outcome.error.startswith("training diverged: ")
    assert "epoch 1" in runs.results[0].outcome.error
    if backend == "chain":
        assert_same(runs.results[1:-2], healthy)
    else:
        assert {r.outcome.status for r in runs.results[1:-2]} == {"done"}


@pytest.mark.parametrize("pmax", [1, 64])
def test_a_training_that_raises_ends_alone(pmax: int, healthy: RunSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody's model, or the memory of a GPU: whoever shares the population is trained again without it."""
    original = Population.run_epoch

    def run_epoch(self: Population) -> np.ndarray:
        if self.epoch == 2 and 77 in self.seeds:
            raise RuntimeError("out of memory")
        return original(self)

    monkeypatch.setattr(Population, "run_epoch", run_epoch)
    trials = [*mixture()[::5], small(seed=77), small(seed=77, interactions=(3,))]
    runs = simulate(trials, pmax=pmax, backend="chain")
    for result in runs.results[-2:]:
        assert result.outcome.status == "failed"
        assert "RuntimeError: out of memory" in result.outcome.error
    assert_same(runs.results[:-2], healthy)
    assert run_counted(trials, pmax=pmax)[0] == run_counted(trials, pmax=pmax)[1]


def test_without_its_twin_a_trial_has_its_own_measures_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin diverges after the user came: what the trial did stays, what is against the twin is NaN."""
    original = Walker._settle

    def settle(self: Walker, population: Population, row: int, item: Any, path: Any, epochs: np.ndarray) -> Any:
        if item.segment.start > 0 and not item.segment.edited:
            epochs = np.full_like(epochs, np.nan)
        return original(self, population, row, item, path, epochs)

    monkeypatch.setattr(Walker, "_settle", settle)
    trial = small(interactions=(2,))
    result, twin = simulate([trial, trial.replace(policy="ce_only")], backend="chain").results
    assert twin.outcome.status == "failed"
    assert result.outcome.status == "done"
    assert result.outcome.test_accuracy > 0.3
    assert np.isnan(result.outcome.gain)
    assert np.isnan(result.outcome.churn)
    assert result.outcome.class_gain == ()


@pytest.mark.parametrize("projection", ["first-epoch", "random", "pca", "lda"])
def test_latents_without_extent_do_not_end_the_run(projection: str) -> None:
    """A network whose last layer is dead shows one point; nothing can be projected, nobody crashes."""
    trial = small(optimizer="sgd", lr=1e4, model_options={"hidden": (4,)}, projection=projection, interactions=(1,))
    assert simulate([trial, small()], backend="chain").results[1].outcome.status == "done"


def run_counted(trials: list[Any], **options: Any) -> tuple[int, int]:
    """(epochs planned, epochs reported while running)."""
    planned, counted = plan(trials, **options), []
    walker = Walker(planned, Settings("chain", "auto", torch.device("cpu"), torch.float32), counted.append)
    with torch.no_grad():
        list(walker.run())
    return planned.epochs_to_run, sum(counted)


@pytest.mark.parametrize("kind", ["healthy", "policy", "diverging"])
def test_the_progress_bar_ends_where_it_should(kind: str, plugin: str) -> None:
    extra = {"healthy": {}, "policy": {"policy": f"{plugin}:raises"}, "diverging": {"lr": 1e30}}[kind]
    planned, counted = run_counted([small(), small(**extra), small(policy="hold", interactions=(2, 3))])
    assert counted == planned


@pytest.mark.parametrize(
    ("pmax", "share"),
    [pytest.param(p, s, marks=() if p == 8 and s else pytest.mark.slow) for p in (1, 3, 8) for s in (True, False)],
)
def test_no_population_exceeds_pmax_and_no_memory_what_was_planned(
    pmax: int, share: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    sizes, held, trained = [], [], []
    made, epoch = Arena.__post_init__, Population.run_epoch

    class Token:
        """Arenas are not hashable; this lives as long as one does."""

        def __init__(self, arena: Arena) -> None:
            self.arena = weakref.ref(arena)

    def post_init(self: Arena) -> None:
        made(self)
        self.token = Token(self)  # type: ignore[attr-defined]
        alive.add(self.token)  # type: ignore[attr-defined]

    def run_epoch(self: Population) -> np.ndarray:
        sizes.append(len(self))
        arenas = [arena for token in alive if (arena := token.arena()) is not None]
        tensors = [t for a in arenas for t in (a.params, a.first, a.second, a.grads)]
        trained.append(sum(a.grads.numel() > 0 for a in arenas))
        held.append(sum(4 * t.numel() for t in tensors))
        return epoch(self)

    monkeypatch.setattr(Arena, "__post_init__", post_init)
    monkeypatch.setattr(Population, "run_epoch", run_epoch)
    policies = ("compactness", "separation", "hold")
    tree = [(a, b, c) for a in policies for b in policies for c in policies]
    trials = [small(policy=p, interactions=(1, 2, 3), epochs=4, seed=s) for s in range(2) for p in tree]
    trials += [small(interactions=schedule) for schedule in ((1,), (2,), (1, 4), (2, 4))]
    planned = plan(trials, pmax=pmax, share=share)
    simulate(trials, pmax=pmax, share=share, backend="chain")
    assert max(sizes) == pmax
    assert max(held) <= planned.memory_bytes
    assert max(trained) <= 2  # gradients of the population that trains, and of its projections


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float16"}, r"dtype: unknown 'float16'; did you mean 'float\d\d'\? \(allowed: float32, float64\)"),
        ({"backend": "chian"}, "backend: unknown 'chian'; did you mean 'chain'?"),
        ({"kernels": "cccp"}, r"kernels: unknown 'cccp' \(allowed: auto, cpp, cuda, numba, torch\)"),
        ({"device": "gpu"}, "device: unknown 'gpu'"),
        ({"device": "cuda:x"}, "device: unknown 'cuda:x'"),
        ({"device": "mps"}, "device: unknown 'mps'"),
        ({"device": None}, "device: unknown None"),
        ({"pmax": 0}, "pmax: 0 is not an integer >= 1 or 'auto'"),
        ({"verify": -1}, "verify: -1 is not an integer >= 0"),
        ({"verify": True}, "verify: True is not an integer >= 0"),
    ],
    ids=str,
)
def test_a_bad_argument_is_refused_before_anything_runs(
    options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(self: Population) -> None:
        raise AssertionError("something ran")

    monkeypatch.setattr(Population, "run_epoch", never)
    with pytest.raises(InvalidInput, match=message) as caught:
        simulate([small()], **options)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to run on")
def test_a_device_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="device: 'cuda' was asked for, and torch finds no GPU"):
        simulate([small()], device="cuda")
    with pytest.raises(Unavailable, match="cuda"):
        simulate([small()], kernels="cuda")


@pytest.mark.slow
def test_verify_passes_where_all_is_well_and_counts() -> None:
    trials = [small(), small(policy="hold"), small(seed=1), small(batch_size=10)]
    assert simulate(trials, backend="chain", verify=2).info["verified"] == 2
    assert simulate(trials, backend="bmm", verify=99).info["verified"] == 4
    assert simulate(trials, verify=1, dtype="float64").info["verified"] == 1


def test_verify_leaves_failed_trials_out(plugin: str) -> None:
    assert simulate([small(policy=f"{plugin}:raises"), small()], backend="chain", verify=9).info["verified"] == 1


def test_verify_sees_a_planted_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a replica's result depended on its company: one bit in one gradient of populations larger than one."""
    original = Population.step

    def step(self: Population, *args: Any) -> Any:
        measures = original(self, *args)
        if len(self) > 1 and self.epoch == 2:
            bias = self.arena.param_views["layers.1.bias"][0]
            bias.copy_(torch.nextafter(bias, torch.tensor(9.0)))
        return measures

    monkeypatch.setattr(Population, "step", step)
    with pytest.raises(VerificationError, match=r"^verify: trial [0-9a-f]{16} came out differently alone: {"):
        simulate([small(), small(seed=1)], backend="chain", verify=2)
    assert issubclass(VerificationError, HillError)


def test_verify_works_where_tasks_use_different_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` decides per model; a long run must not end in a refusal to verify it."""
    make = simulation.Walker._populate.__globals__["make_backend"]

    def alternate(name: str, base: Any, device: torch.device) -> Any:
        chosen = "bmm" if base.model_options["hidden"] == (8,) else "chain"
        return make(chosen if name == "auto" else name, base, device)

    monkeypatch.setitem(simulation.Walker._populate.__globals__, "make_backend", alternate)
    trials = [small(), small(model_options={"hidden": (8,)})]
    runs = simulate(trials, verify=2)
    assert runs.info["backend"] == "bmm+chain"
    assert runs.info["verified"] == 2
