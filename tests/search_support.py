"""Searches whose trials come from a formula instead of the engine: everything but the training is real."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hill_sim.config import validated
from hill_sim.engine.results import EPOCH_COLUMNS, Outcome, RunSet, TrialResult
from hill_sim.seeding import generator
from hill_sim.sweep import SweepSpec, load_outcomes
from hill_sim.sweep.search.study import JOURNAL
from hill_sim.trial import Trial

SEARCH: dict[str, Any] = {
    "name": "searched",
    "seeds": 2,
    "fixed": {"policy": "compactness", "epochs": 6},
    "search": {
        "sampler": "tpe",
        "candidates": 40,
        "batch": 10,
        "space": {
            "alpha": {"low": 0.1, "high": 0.9},
            "lam": {"low": 1e-3, "high": 1.0, "log": True},
            "interactions": [[2, 4], [1, 3, 5]],
            "user.effort": {"low": 1, "high": 10},
        },
        "constraints": ["alpha + lam < 1.2"],
        "objectives": ["gain"],
    },
}


def searched(seeds: Any = 2, **changes: Any) -> SweepSpec:
    """The search above with other entries under `search`; None removes one."""
    data = copy.deepcopy(SEARCH)
    data["seeds"] = seeds
    data["search"].update(changes)
    data["search"] = {name: value for name, value in data["search"].items() if value is not None}
    return validated(SweepSpec, data, "searched.yaml")


def quality(trial: Trial) -> float:
    """Best at alpha 0.6 and three interactions; each seed has luck of its own."""
    luck = float(generator(trial.seed, "luck", int(trial.key[:8], 16)).normal())
    return -((trial.alpha - 0.6) ** 2) + 0.02 * len(trial.interactions) + 0.01 * luck


def result_of(trial: Trial, stopped: int | None = None) -> TrialResult:
    """A finished trial, or one stopped after an epoch."""
    gain = quality(trial)
    count = stopped or trial.epochs
    ramp = 0.5 + gain * np.arange(1, count + 1) / trial.epochs
    epochs = {name: ramp.tolist() for name in EPOCH_COLUMNS}
    if stopped:
        return TrialResult(trial, Outcome(trial.key, trial.twin().key, status="pruned"), epochs)
    outcome = Outcome(
        trial.key,
        trial.twin().key,
        gain=gain,
        test_accuracy=0.8 + gain,
        twin_test_accuracy=0.8,
        negative_flips=trial.alpha / 10,
        churn=0.1,
    )
    return TrialResult(trial, outcome, epochs, predictions=np.zeros(3, dtype=np.int64),
                       confidences=np.zeros(3, dtype=np.float32))  # fmt: skip


class Formula:
    """In place of `simulate`: counts its trials, and seems to lose power after so many calls."""

    def __init__(self, calls: float = math.inf) -> None:
        self.left, self.trained = calls, []  # type: ignore[var-annotated]

    def __call__(
        self, trials: Sequence[Trial], *, stop_below: Mapping[str, Mapping[int, float]] | None = None, **options: Any
    ) -> RunSet:
        if self.left <= 0:
            raise SystemExit("the power went out")
        self.left -= 1
        self.trained += [trial.key for trial in trials]
        results = [self._run(trial, (stop_below or {}).get(trial.key, {})) for trial in trials]
        asked = sum(trial.epochs for trial in trials)
        run = sum(len(result.epochs["train_loss"]) for result in results)
        return RunSet(tuple(results), {"epochs_asked": asked, "epochs_run": run, "seconds": 0.0})

    def _run(self, trial: Trial, thresholds: Mapping[int, float]) -> TrialResult:
        whole = result_of(trial)
        for epoch in trial.interactions:
            if whole.epochs["validation_accuracy"][epoch - 1] < thresholds.get(epoch, -math.inf):
                return result_of(trial, stopped=epoch)
        return whole


def same_table(one: Path, other: Path) -> bool:
    return load_outcomes(one).equals(load_outcomes(other))


def journal_of(folder: Path) -> bytes:
    return (folder / JOURNAL).read_bytes()
