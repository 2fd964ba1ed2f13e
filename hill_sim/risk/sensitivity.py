"""Which parameter decides the outcome: Sobol's indices of a design, with intervals.

A design holds n (d + 2) points: matrices A and B [n, d], and for each parameter i the matrix A with column i of B. The
first-order index is the share of the outcome's variance that parameter i explains alone, the total index the share that
it has a hand in, interactions with others included (Sobol 2001; design and estimators: Saltelli et al. 2010, table 2 b
and f, as in `scipy.stats.sobol_indices`).

Training is noisy, so every point is run with the same seeds. The indices are those of the *mean over these seeds*. What
the seeds contribute is told apart: `noise` is the share of a single trial's variance that stays when the parameters are
held, and `residue` what of it is left in the mean over seeds. Any change of a parameter draws that rest anew, so it
raises every total index: one that does not exceed `residue` is chance. More seeds lower it. Intervals come from a
bootstrap over the design's rows, as scipy's do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc

from hill_sim.errors import InvalidInput
from hill_sim.seeding import generator
from hill_sim.types import Array


def saltelli(n: int, d: int, seed: int = 0) -> Array:
    """Points [n (d + 2), d] in [0,1): the rows of A, of B, then of A with column i of B, for i = 0..d-1.

    A and B are the halves of one scrambled Sobol sequence in 2d dimensions.

    Args:
        n: rows of A, a power of two (else the sequence loses its balance).

    Raises:
        InvalidInput: n is not a power of two, or d < 1.
    """
    if n < 2 or n & (n - 1):
        raise InvalidInput(f"n: {n} is not a power of two >= 2")
    if d < 1:
        raise InvalidInput(f"d: {d} is not a number of parameters >= 1")
    both = qmc.Sobol(2 * d, seed=generator(seed, "sobol"), bits=64).random(n)
    a, b = both[:, :d], both[:, d:]
    mixed = np.tile(a, (d, 1, 1))
    for i in range(d):
        mixed[i, :, i] = b[:, i]
    return np.concatenate([a, b, mixed.reshape(-1, d)])


@dataclass(frozen=True)
class SobolIndices:
    """Indices of d parameters with their intervals.

    Attributes:
        first, total: [d]. Both lie in [0,1] up to the error of estimation, which may put one just outside.
        first_interval, total_interval: [d, 2].
        noise, noise_interval: share of a single trial's variance that is chance, in [0,1]; NaN for one seed.
        residue: share of the analysed variance that chance has left in the mean over seeds; NaN for one seed.
        rows: design rows used; rows_lost: left out because a trial of theirs failed. With fewer than two rows every
            number is NaN.
        seeds: how many.
        variance: of the mean over seeds, in the outcome's unit squared.
    """

    first: Array
    total: Array
    first_interval: Array
    total_interval: Array
    noise: float
    noise_interval: tuple[float, float]
    residue: float
    rows: int
    rows_lost: int
    seeds: int
    variance: float


def sobol_indices(values: Array, d: int, *, level: float = 0.95, resamples: int = 1000, seed: int = 0) -> SobolIndices:
    """Sobol's indices from the outcomes at the points of `saltelli(n, d)`.

    Args:
        values: [n (d + 2), S] one column a seed; NaN where a trial failed, which costs the whole design row.
        level, resamples, seed: of the percentile bootstrap.

    Raises:
        InvalidInput: a number of rows that is no design of d parameters.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or d < 1 or not values.size or len(values) % (d + 2):
        raise InvalidInput(f"values: shape {values.shape} is not [n ({d} + 2), seeds]")
    pages = values.reshape(d + 2, -1, values.shape[1])  # A, B, AB_1 .. AB_d
    kept = ~np.isnan(pages).any(axis=(0, 2))
    lost, pages = int((~kept).sum()), pages[:, kept]
    n, seeds = pages.shape[1:]
    if n < 2:
        unknown = np.full((d, 3), np.nan)
        return SobolIndices(unknown[:, 0], unknown[:, 0], unknown[:, 1:], unknown[:, 1:], np.nan, (np.nan, np.nan),
                            np.nan, n, lost, seeds, np.nan)  # fmt: skip
    within, rest = _chance(pages)  # [n] each
    first, total, variance = (x[0] for x in _indices(pages.mean(axis=2)[None]))
    noise, residue = _shares(within.mean(), rest.mean(), variance, seeds)
    first_drawn, total_drawn, noise_drawn = _bootstrap(pages, within, rest, resamples, seed)
    ends = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(noise_drawn, ends)
    return SobolIndices(
        first, total, np.quantile(first_drawn, ends, axis=0).T, np.quantile(total_drawn, ends, axis=0).T,
        float(noise), (float(low), float(high)), float(residue), n, lost, seeds, float(variance),
    )  # fmt: skip


def _indices(means: Array) -> tuple[Array, Array, Array]:
    """first [R, d], total [R, d] and variance [R] from means over seeds [R, d + 2, n]; 0 where nothing varies."""
    centred = means - means[:, :2].mean(axis=(1, 2), keepdims=True)  # lowers the error, changes no expectation
    a, b, mixed = centred[:, 0], centred[:, 1], centred[:, 2:]
    variance = centred[:, :2].reshape(len(means), -1).var(axis=1)
    safe = np.where(variance > 0, variance, np.inf)[:, None]
    first = (b[:, None] * (mixed - a[:, None])).mean(axis=2) / safe
    total = 0.5 * ((a[:, None] - mixed) ** 2).mean(axis=2) / safe
    return first, total, variance


def _chance(pages: Array) -> tuple[Array, Array]:
    """Per design row [n], mean over its d + 2 points: variance over the seeds, and the part of it that is not a shift
    of all points alike (which no comparison within a seed would see). NaN for one seed."""
    seeds = pages.shape[2]
    if seeds < 2:
        return np.full(pages.shape[1], np.nan), np.full(pages.shape[1], np.nan)
    own = pages - pages.mean(axis=2, keepdims=True)
    rest = own - own.mean(axis=(0, 1))
    return (own**2).sum(axis=2).mean(axis=0) / (seeds - 1), (rest**2).sum(axis=2).mean(axis=0) / (seeds - 1)


def _shares(within: Array, rest: Array, variance: Array, seeds: int) -> tuple[Array, Array]:
    """noise and residue (see `SobolIndices`); 0 where nothing varies."""
    left = rest / seeds
    whole = within + np.maximum(variance - left, 0.0)
    noise = np.divide(within, whole, out=np.zeros_like(whole), where=whole != 0)
    residue = np.divide(left, variance, out=np.zeros_like(variance), where=variance > 0)
    return noise, np.where(np.isnan(left), np.nan, np.minimum(residue, 1.0))


def _bootstrap(pages: Array, within: Array, rest: Array, resamples: int, seed: int) -> tuple[Array, Array, Array]:
    """first [R, d], total [R, d] and noise [R] of resampled rows; for the noise the seeds are resampled too.

    Not for the indices: seeds drawn twice would leave more chance in their mean than the seeds that were run.
    """
    rng = generator(seed, "bootstrap")
    means, squares = pages.mean(axis=2), (pages**2).reshape(-1, pages.shape[2])
    n, seeds = pages.shape[1:]
    found = []
    for part in np.array_split(np.arange(resamples), 1 + resamples * means.size // 4_000_000):  # bounds the memory
        rows = rng.integers(n, size=(len(part), n))
        first, total, variance = _indices(np.moveaxis(means[:, rows], 1, 0))
        weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=len(part)).T / seeds  # [S, R]
        drawn = (squares @ weights - (pages.reshape(-1, seeds) @ weights) ** 2).mean(axis=0)
        spread = drawn * (seeds / (seeds - 1)) ** 2 if seeds > 1 else np.full(len(part), within.mean())
        found.append((first, total, _shares(spread, rest[rows].mean(axis=1), variance, seeds)[0]))
    first, total, noise = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return first, total, noise
