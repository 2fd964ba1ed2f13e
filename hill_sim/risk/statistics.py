"""Statistics over seeds, after Agarwal et al. 2021 (*Deep Reinforcement Learning at the Edge of the Statistical
Precipice*, rliable): interquartile means with bootstrap intervals, never a bare mean. n seeds throughout."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from hill_sim.errors import InvalidInput
from hill_sim.seeding import generator
from hill_sim.types import Array


def interquartile_mean(values: Array, axis: int = -1) -> Array:
    """Mean of the middle half: a quarter of the values is cut off at each end (`scipy.stats.trim_mean`)."""
    return stats.trim_mean(values, 0.25, axis=axis)


def expected_shortfall(values: Array, tail: float = 0.25, axis: int = -1) -> Array:
    """Mean of the worst (smallest) share `tail` of the values: what to expect when it goes badly.

    The integral of the empirical quantile function from 0 to `tail`, divided by `tail` (Acerbi and Tasche 2002): where
    tail * n is no whole number, the last value counts in part. In the units of the values; less is worse.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=axis)
    return np.moveaxis(ordered, axis, -1) @ shortfall_weights(ordered.shape[axis], tail)


def iqm_weights(n: int) -> Array:
    """[n] weights of the sorted values in `interquartile_mean`."""
    cut = int(0.25 * n)
    weights = np.zeros(n)
    weights[cut : n - cut] = 1.0 / (n - 2 * cut)
    return weights


def shortfall_weights(n: int, tail: float) -> Array:
    """[n] weights of the sorted values in `expected_shortfall`."""
    if not 0.0 < tail <= 1.0:
        raise InvalidInput(f"tail: {tail!r} is not in (0, 1]")
    return np.clip(tail * n - np.arange(n), 0.0, 1.0) / (tail * n)


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
    return stratified_interval([values], statistic, level=level, resamples=resamples, seed=seed)


def stratified_interval(
    strata: Sequence[Array],
    statistic: Callable[..., Array] = interquartile_mean,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic over seeds of several strata, e.g. tasks (rliable).

    Each stratum is resampled by itself, so that it keeps its share; the statistic is of all values together.

    Args:
        strata: one array [n_k] a stratum, one value a seed. NaN are not allowed.
        statistic, level, resamples: as in `bootstrap_interval`.

    Returns:
        (low, high); (NaN, NaN) where a stratum has fewer than two values.
    """
    arrays = [_checked(values) for values in strata]
    _check_level(level)
    if not arrays or min(map(len, arrays)) < 2:
        return math.nan, math.nan
    rng = generator(seed, "bootstrap")
    drawn = [values[rng.integers(len(values), size=(resamples, len(values)))] for values in arrays]
    low, high = np.quantile(statistic(np.concatenate(drawn, axis=1), axis=1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap_rows(
    ordered: Array, weights: Array, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[Array, Array]:
    """`bootstrap_interval` of many rows at once, for statistics that are a weighted sum of sorted values.

    Args:
        ordered: [G, n] ascending in each row, n >= 2, no NaN.
        weights: [n] of the sorted values: `iqm_weights`, `shortfall_weights`.

    Returns:
        low, high: [G] each.
    """
    _check_level(level)
    n = ordered.shape[1]
    # A resample of sorted values, its indices sorted, is sorted: which weight a value gets is known before the values.
    draws = np.sort(generator(seed, "bootstrap").integers(n, size=(resamples, n)), axis=1)
    summed = np.zeros((resamples, n))
    np.add.at(summed, (np.arange(resamples)[:, None], draws), np.broadcast_to(weights, draws.shape))
    low, high = np.empty((2, len(ordered)))
    for part in np.array_split(np.arange(len(ordered)), -(-len(ordered) // 512)):  # memory: 512 x resamples at most
        low[part], high[part] = np.quantile(ordered[part] @ summed.T, [(1 - level) / 2, (1 + level) / 2], axis=1)
    return low, high


def wilson_interval(hits: Array | float, n: Array | int, level: float = 0.95) -> tuple[Array, Array]:
    """Score interval of a share hits / n (Wilson 1927), in [0,1]; it holds for n = 1 and for shares of 0 and 1 too.

    `hits` may be fractional (a sum of shares): the interval is then wider than need be. (NaN, NaN) where n is 0.
    """
    _check_level(level)
    hits, n = np.asarray(hits, dtype=np.float64), np.asarray(n, dtype=np.float64)
    z2 = float(stats.norm.ppf((1 + level) / 2)) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        share = hits / n
        center = (share + z2 / (2 * n)) / (1 + z2 / n)
        half = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    # The ends at shares of 0 and 1 are 0 and 1 but for rounding.
    low, high = np.where(share <= 0, 0.0, center - half), np.where(share >= 1, 1.0, center + half)
    return np.where(n > 0, low, np.nan), np.where(n > 0, high, np.nan)


def _checked(values: Array) -> Array:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1:
        raise InvalidInput(f"values: shape {values.shape} is not [n]")
    if np.isnan(values).any():
        raise InvalidInput(f"values: {int(np.isnan(values).sum())} of {len(values)} are NaN")
    return values


def _check_level(level: float) -> None:
    if not 0.0 < level < 1.0:
        raise InvalidInput(f"level: {level!r} is not in (0, 1)")
