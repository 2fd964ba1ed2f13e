"""Trials stopped at an interaction: where, and without a trace in any other trial."""

from __future__ import annotations

import math

import pytest

from hill_sim import Trial, simulate
from hill_sim.engine.simulation import same_result

FEW = {"train_per_class": 20}
TRIALS = [
    Trial(
        task_options=FEW,
        policy=policy,
        alpha=alpha,
        lam=0.1 if alpha else 0.0,
        epochs=6,
        interactions=(2, 4),
        batch_size=64,
        seed=seed,
    )
    for policy, alpha in (("compactness", 0.5), ("separation", 0.9), ("ce_scaled", 0.5), ("compactness", 0.0))
    for seed in (0, 1)
]


@pytest.fixture(scope="module")
def whole():
    return simulate(TRIALS, backend="chain")


def thresholds(whole, epoch: int, above: bool):
    """For the first four trials, just above or just below what each reached at the epoch."""
    found = {}
    for result in whole.results:
        reached = result.epochs["validation_accuracy"][epoch - 1]
        found[result.outcome.key] = {epoch: math.nextafter(reached, math.inf) if above else reached}
    return found


def test_a_trial_that_reaches_its_threshold_goes_on(whole) -> None:
    again = simulate(TRIALS, backend="chain", stop_below=thresholds(whole, 4, above=False))
    assert all(same_result(a, b) for a, b in zip(whole.results, again.results, strict=True))
    assert again.info["epochs_run"] == whole.info["epochs_run"]


@pytest.mark.parametrize("epoch", [2, 4])
@pytest.mark.parametrize("options", [{}, {"pmax": 1}, {"share": False}])
def test_a_trial_below_stops_there_and_no_other_notices(whole, epoch: int, options) -> None:
    limits = thresholds(whole, epoch, above=True)
    for result in whole.results[1:4:2]:
        del limits[result.outcome.key]  # those of seed 1 have none
    runs = simulate(TRIALS, backend="chain", stop_below=limits, **options)
    for before, after in zip(whole.results, runs.results, strict=True):
        edited = before.trial.policy != "ce_scaled" and before.trial.alpha > 0
        if not edited or before.outcome.key not in limits:
            assert same_result(before, after)
            continue
        assert after.outcome.status == "pruned"
        assert math.isnan(after.outcome.gain)
        assert after.epochs["validation_loss"] == before.epochs["validation_loss"][:epoch]
        assert [item.epoch for item in after.interactions] == [e for e in (2, 4) if e < epoch]
        assert after.predictions.size == 0
    if not options:
        assert runs.info["epochs_run"] == whole.info["epochs_run"] - 2 * (6 - epoch)
        assert runs.info["pruned"] == 2
