"""A small sweep that really trains, for the tests of sweeps and of the command line."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hill_sim.config import dump_yaml, validated
from hill_sim.engine.results import RunSet
from hill_sim.sweep import SweepSpec, load_outcomes, load_results

TINY: dict[str, Any] = {
    "name": "tiny",
    "fixed": {"task_options": {"train_per_class": 20}, "epochs": 6, "interactions": [2, 4], "batch_size": 64},
    "policies": ["compactness", "separation", "ce_only"],
    "grid": {"alpha": [0.3, 0.7]},
    "seeds": 2,
}
TRIALS = 10  # two users at two strengths and the twin, over two seeds

BROKEN = '''
class Broken:
    """Falls over at the second interaction."""

    def edit(self, view, rng):
        from hill_sim.types import Edit, ScaleClass
        if view.history:
            raise RuntimeError("my hand slipped")
        return Edit([ScaleClass(0, 0.5)])
'''


def tiny(**changes: Any) -> SweepSpec:
    return validated(SweepSpec, {**copy.deepcopy(TINY), **changes}, "tiny.yaml")


def write_yaml(path: Path, **changes: Any) -> Path:
    path.write_text(dump_yaml({**TINY, **changes}))
    return path


def assert_same_results(one: Path, other: Path) -> None:
    """The same trials in the same order with the same outcomes, curves, predictions and edits, to the bit."""
    pd.testing.assert_frame_equal(load_outcomes(one), load_outcomes(other), check_exact=True)
    assert_same_runs(load_results(one), load_results(other))


def assert_same_runs(one: RunSet, other: RunSet) -> None:
    assert [r.trial for r in one.results] == [r.trial for r in other.results]
    for a, b in zip(one.results, other.results, strict=True):
        first, second = a.to_dict(), b.to_dict()
        for item in [*first["interactions"], *second["interactions"]]:
            item.pop("seconds")
        for item in (first, second):
            item["outcome"].pop("error")  # a traceback shows the trials that ran beside it
        assert _equal(first, second), a.trial
        assert np.array_equal(a.confidences, b.confidences)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[name], b[name]) for name in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(_equal(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b) or (isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b))
