"""From the trials of a candidate to what a search is told: one value per objective, one number per bound."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

from hill_sim.config import unknown_key
from hill_sim.engine.results import Outcome
from hill_sim.risk.statistics import bootstrap_interval, interquartile_mean
from hill_sim.sweep.search.expressions import Expression

Direction = Literal["maximize", "minimize"]

MEASURES = tuple(f.name for f in fields(Outcome) if f.type in ("float", "int") and f.name != "worst_class")
"""What an objective can be about: every measure of an outcome that is one number."""

_MORE_IS_BETTER = ("accuracy", "gain", "f1", "worst_recall", "positive_flips")
_MORE_IS_WORSE = ("loss", "disparity", "gap", "churn", "negative_flips", "ece", "brier")

STATISTICS: dict[str, Callable[[Sequence[float], Direction], float]] = {
    "iqm": lambda values, direction: float(interquartile_mean(np.asarray(values))),
    "mean": lambda values, direction: float(np.mean(values)),
    "median": lambda values, direction: float(np.median(values)),
    "worst": lambda values, direction: float(min(values) if direction == "maximize" else max(values)),
    "bound": lambda values, direction: _bound(values, direction),
}
"""Over the seeds. `worst` is the least favourable seed, `bound` the less favourable end of the 95 % bootstrap interval
of the interquartile mean: both prefer candidates that hold up whatever the seed."""


def _bound(values: Sequence[float], direction: Direction) -> float:
    low, high = bootstrap_interval(np.asarray(values))
    return low if direction == "maximize" else high


def check_measure(name: str) -> None:
    if name not in MEASURES:
        raise ValueError(f"measure: {name!r} is {unknown_key(name, MEASURES)}")


def direction_of(measure: str) -> Direction:
    """Which way a measure is better; raises ValueError where that is for the author to say."""
    if any(word in measure for word in _MORE_IS_WORSE):
        return "minimize"
    if any(word in measure for word in _MORE_IS_BETTER):
        return "maximize"
    raise ValueError(f"{measure}: say which way it is better, direction: maximize or minimize")


@dataclass(frozen=True)
class Feasible:
    """A bound on an outcome: `negative_flips <= 0.02`, or `worst(gain) >= 0` for another statistic than iqm."""

    text: str
    measure: str
    statistic: str
    sign: int
    limit: float

    @classmethod
    def parse(cls, text: str) -> Feasible:
        """Raises ValueError, naming what is wrong."""
        tree = _parsed(text)
        match tree:
            case ast.Compare(left=left, ops=[ast.LtE() | ast.Lt() | ast.GtE() | ast.Gt() as op], comparators=[right]):
                statistic = "iqm"
                if isinstance(left, ast.Call) and isinstance(left.func, ast.Name) and len(left.args) == 1:
                    statistic, left = left.func.id, left.args[0]
                if statistic not in STATISTICS:
                    raise ValueError(f"{text!r}: statistic {statistic!r} is {unknown_key(statistic, STATISTICS)}")
                if isinstance(left, ast.Name):
                    if left.id not in MEASURES:
                        raise ValueError(f"{text!r}: measure {left.id!r} is {unknown_key(left.id, MEASURES)}")
                    sign = 1 if isinstance(op, ast.LtE | ast.Lt) else -1
                    if not (limit := Expression.parse(ast.unparse(right))).names:
                        return cls(text, left.id, statistic, sign, float(limit.value(lambda name: None)))
        raise ValueError(f"{text!r} is not a bound such as 'negative_flips <= 0.02' or 'worst(gain) >= 0'")

    def excess(self, values: Sequence[float]) -> float:
        """By how much the bound is broken; <= 0 is feasible. `values` are the measure's, one a seed."""
        unfavourable: Direction = "minimize" if self.sign > 0 else "maximize"
        return self.sign * (STATISTICS[self.statistic](values, unfavourable) - self.limit)


def _parsed(text: str) -> ast.expr | None:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def over_seeds(rows: Sequence[Sequence[float]], statistic: str, direction: Direction) -> float:
    """The statistic of a measure given as [set-ups][seeds]: set-ups are averaged within each seed first."""
    per_seed = [math.fsum(column) / len(column) for column in zip(*rows, strict=True)]
    return STATISTICS[statistic](per_seed, direction)
