"""Statistics over seeds, after Agarwal et al. 2021 (*Deep Reinforcement Learning at the Edge of the Statistical
Precipice*, rliable): interquartile means with bootstrap intervals, never a bare mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

from hill_sim.errors import InvalidInput
from hill_sim.seeding import generator
from hill_sim.types import Array


def interquartile_mean(values: Array, axis: int = -1) -> Array:
    """Mean of the middle half: a quarter of the values is cut off at each end (`scipy.stats.trim_mean`)."""
    return stats.trim_mean(values, 0.25, axis=axis)


def bootstrap_interval(
    values: Array,
    statistic: Callable[..., Array] = interquartile_mean,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic over seeds.

    Args:
        values: [n] one per seed, paired differences where two things are compared. NaN are not allowed.
        statistic: a function of (array, axis).
        level: coverage, in (0,1).
        resamples: how many, >= 1.

    Returns:
        (low, high); (NaN, NaN) for fewer than two values, which say nothing about spread.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1:
        raise InvalidInput(f"values: shape {values.shape} is not [n]")
    if np.isnan(values).any():
        raise InvalidInput(f"values: {int(np.isnan(values).sum())} of {len(values)} are NaN")
    if not 0.0 < level < 1.0:
        raise InvalidInput(f"level: {level!r} is not in (0, 1)")
    if len(values) < 2:
        return float("nan"), float("nan")
    draws = generator(seed, "bootstrap").integers(len(values), size=(resamples, len(values)))
    low, high = np.quantile(statistic(values[draws], axis=1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
