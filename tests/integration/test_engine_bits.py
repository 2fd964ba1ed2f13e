"""A trial's results do not depend, by so much as a bit, on what it shares, is packed with, or is listed after.

Each backend is compared with itself: every trial of a mixture alone and unshared, against packings of all sizes.
"""

from __future__ import annotations

import random
from functools import cache

import pytest
from engine_support import differences, mixture, small

from hill_sim.engine import RunSet, simulate
from hill_sim.engine.simulation import same_result
from hill_sim.trial import Trial

WIDE = {"model_options": {"hidden": (48, 16)}}  # whole lanes: all that `vmap` promises


def trials_for(backend: str, full: bool) -> tuple[Trial, ...]:
    trials = mixture(**WIDE) if backend == "vmap" else mixture()
    return tuple(trials if full else trials[::4])


@cache
def alone(backend: str, full: bool) -> RunSet:
    return simulate(trials_for(backend, full), pmax=1, share=False, backend=backend)


def check(runs: RunSet, reference: RunSet) -> None:
    wrong = {
        a.trial.to_json(): differences(a, b)
        for a, b in zip(runs.results, reference.results, strict=True)
        if not same_result(a, b)
    }
    assert not wrong


@pytest.mark.parametrize(("backend", "pmax"), [("chain", 5), ("bmm", 64)])
def test_packing_and_sharing_change_no_bit(backend: str, pmax: int) -> None:
    check(simulate(trials_for(backend, False), pmax=pmax, backend=backend), alone(backend, False))


@pytest.mark.slow
@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("pmax", [1, 2, 5, 64])
@pytest.mark.parametrize("backend", ["chain", "bmm", "loop", "vmap"])
def test_packing_and_sharing_change_no_bit_in_full(backend: str, pmax: int, share: bool) -> None:
    check(simulate(trials_for(backend, True), pmax=pmax, share=share, backend=backend), alone(backend, True))


WIDTHS = [(2,), (9,), (64, 16), (33, 17, 5)]
BATCHES = [1, 7, 10, 64, 200, 1000]
QUICK = {((9,), 7), ((64, 16), 1000)}


@pytest.mark.parametrize(
    ("hidden", "batch_size"),
    [pytest.param(w, b, marks=[] if (w, b) in QUICK else pytest.mark.slow) for w in WIDTHS for b in BATCHES],
)
def test_any_widths_and_batch_sizes(hidden: tuple[int, ...], batch_size: int) -> None:
    trials = [
        small(model_options={"hidden": hidden}, batch_size=batch_size, objective=objective, policy=policy, epochs=3,
              interactions=(1, 2), task_options={"train_per_class": 5 if batch_size == 1 else 20})
        for objective in ("hill", "paper", "hill-samples")
        for policy in ("compactness", "separation")
    ]  # fmt: skip
    for backend in ("chain", "bmm"):
        check(simulate(trials, backend=backend), simulate(trials, pmax=1, share=False, backend=backend))


@pytest.mark.slow
def test_the_order_of_the_trials_changes_no_bit() -> None:
    trials, reference = list(trials_for("chain", True)), alone("chain", True)
    for seed in range(2):
        order = list(range(len(trials)))
        random.Random(seed).shuffle(order)
        runs = simulate([trials[i] for i in order], pmax=5, backend="chain")
        check(runs, RunSet(tuple(reference.results[i] for i in order)))


@pytest.mark.slow
def test_double_precision_too() -> None:
    trials = trials_for("chain", True)[::2]
    options = {"backend": "chain", "dtype": "float64"}
    check(simulate(trials, pmax=5, **options), simulate(trials, pmax=1, share=False, **options))


@pytest.mark.slow
def test_any_kernels() -> None:
    """The losses in plain torch, and in numba, keep the promise as well."""
    trials = mixture()[::6]
    for kernels in ("torch", "numba"):
        options = {"backend": "chain", "kernels": kernels}
        check(simulate(trials, pmax=64, **options), simulate(trials, pmax=1, share=False, **options))


def test_a_difference_of_one_bit_is_seen() -> None:
    """`same_result` itself can fail: curves, predictions, edits and counts."""
    a, b = (simulate([small(seed=seed)], backend="chain").results[0] for seed in (0, 1))
    assert same_result(a, a)
    assert not same_result(a, b)
    again = simulate([small(seed=0)], backend="chain").results[0]
    assert same_result(a, again)
    again.epochs["train_loss"][2] += 1e-16 * 4
    assert not same_result(a, again)
    assert differences(a, again) == ["train_loss"]
