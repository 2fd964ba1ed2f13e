"""From which alpha on does the model stop shrugging a user off? The harm as a curve over alpha, and where it crosses.

At alpha 0 nobody is heard: a trial is its twin, and its harm is 0 exactly. From there the curve is the interquartile
mean of the harm over seeds at each alpha that was tried, made monotone (isotonic regression: harm does not fall as the
user gets louder) and joined by straight lines. The threshold is where the curve first exceeds eps. The same is done
with resampled seeds, all alphas of a seed together, which gives the interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
import pandas as pd

from hill_sim.errors import InvalidInput
from hill_sim.risk.comparison import check_twins, per_seed, summarise
from hill_sim.risk.statistics import interquartile_mean
from hill_sim.seeding import generator
from hill_sim.types import Array

EPS = 0.01
"""One percentage point: what a model is said to shrug off."""
NEVER = math.inf


@dataclass(frozen=True)
class Threshold:
    """Where a harm curve crosses eps.

    Attributes:
        alpha: the estimate; `NEVER` (inf) if it does not within the range that was tried.
        low, high: its bootstrap interval over seeds, ends `NEVER` where that many resamples never cross; NaN for fewer
            than two seeds.
        never: share of the resamples that do not cross, in [0,1].
        sure_from: the smallest tried alpha at which the interval of the harm lies wholly above eps, and does so at
            every louder one; `NEVER` if there is none.
        last: the largest alpha tried.
        n: seeds; those that lack an alpha are left out.
    """

    alpha: float
    low: float
    high: float
    never: float
    sure_from: float
    last: float
    n: int


def threshold(
    alphas: Array, harm: Array, eps: float = EPS, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Threshold:
    """The threshold of one user.

    Args:
        alphas: [A] ascending, all > 0.
        harm: [n,A] one row a seed, more is worse: minus the gain, or the rise of the generalisation gap. Rows with NaN
            are left out.
        eps: the harm that counts, > 0.

    Raises:
        InvalidInput: shapes, alphas or eps that do not fit.
    """
    alphas, harm = np.asarray(alphas, dtype=np.float64), np.asarray(harm, dtype=np.float64)
    if alphas.ndim != 1 or harm.ndim != 2 or harm.shape[1] != len(alphas) or len(alphas) == 0:
        raise InvalidInput(f"alphas, harm: shapes {alphas.shape} and {harm.shape} are not [A] and [n,A], A >= 1")
    if not (np.diff(alphas, prepend=0.0) > 0).all():
        raise InvalidInput(f"alphas: {alphas.tolist()} are not ascending and > 0 (at 0 the harm is 0 anyway)")
    if not eps > 0:
        raise InvalidInput(f"eps: {eps!r} is not > 0")
    harm = harm[~np.isnan(harm).any(axis=1)]
    n, last = len(harm), float(alphas[-1])
    if n == 0:
        return Threshold(math.nan, math.nan, math.nan, math.nan, math.nan, last, 0)
    estimate = float(_crossing(alphas, interquartile_mean(harm, axis=0)[None], eps)[0])
    if n == 1:
        return Threshold(estimate, math.nan, math.nan, math.nan, math.nan, last, 1)
    draws = generator(seed, "bootstrap").integers(n, size=(resamples, n))
    found = np.sort(_crossing(alphas, interquartile_mean(harm[draws], axis=1), eps))
    # Of the resamples themselves, no mean of two: an end between a number and never is never.
    ends = [found[round(share * (resamples - 1))] for share in ((1 - level) / 2, (1 + level) / 2)]
    surely = summarise(harm.T, level=level, resamples=resamples, seed=seed)["low"].to_numpy() > eps
    from_here = np.logical_and.accumulate(surely[::-1])[::-1]
    sure_from = float(alphas[from_here.argmax()]) if from_here.any() else NEVER
    return Threshold(estimate, float(ends[0]), float(ends[1]), float(np.isinf(found).mean()), sure_from, last, n)


def thresholds(
    outcomes: pd.DataFrame,
    by: Sequence[str],
    measure: str = "gain",
    *,
    worse: int = -1,
    eps: float = EPS,
    level: float = 0.95,
    resamples: int = 2000,
) -> pd.DataFrame:
    """The threshold of every group, as a table.

    Args:
        outcomes: one row a trial, as `RunSet.outcomes`.
        by: columns that make a group, without alpha.
        measure: relative to the twin. worse: -1 if less of it is harm (`gain`), 1 if more is
            (`generalisation_gap_change`, `negative_flips`).
        eps: in the units of the measure.

    Returns:
        The columns of `by`, and those of `Threshold`. Trials of alpha 0 are left out.
    """
    for name in (*by, measure, "seed", "alpha"):
        if name not in outcomes:
            raise InvalidInput(f"by, measure: no column {name!r} (there are: {', '.join(map(str, outcomes.columns))})")
    if worse not in (-1, 1):
        raise InvalidInput(f"worse: {worse!r} is not -1 or 1")
    check_twins(outcomes)
    keys = list(by)
    heard = outcomes[outcomes["alpha"] > 0]
    values = heard[[*keys, "alpha", "seed"]].assign(difference=worse * heard[measure].astype(float))
    table = per_seed(values, [*keys, "alpha"])
    rows = []
    for names, part in table.groupby(keys, sort=False, dropna=False):
        part = part.sort_index(level="alpha")
        alphas = part.index.get_level_values("alpha").to_numpy(dtype=np.float64)
        ran = part.notna().any(axis=0)  # of a sweep over several tasks a group has only its own seeds
        found = threshold(alphas, part.loc[:, ran].to_numpy().T, eps, level=level, resamples=resamples)
        rows.append({**dict(zip(keys, names, strict=True)), **asdict(found)})
    return pd.DataFrame(rows, columns=[*keys, *(f.name for f in fields(Threshold))])


def _crossing(alphas: Array, curves: Array, eps: float) -> Array:
    """[R] where monotone versions of the curves [R,A], joined to (0, 0), first exceed eps; inf where they do not."""
    x = np.concatenate([[0.0], alphas])
    y = np.column_stack([np.zeros(len(curves)), np.maximum(isotonic(curves), 0.0)])
    above = y > eps
    after = above.argmax(axis=1)  # never 0: there the curve is 0
    rows = np.arange(len(y))
    low, high = y[rows, after - 1], y[rows, after]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (eps - low) / (high - low)
        return np.where(above.any(axis=1), x[after - 1] + share * (x[after] - x[after - 1]), NEVER)


def isotonic(curves: Array) -> Array:
    """[R,A] the nearest non-decreasing curves (least squares): max over j <= i of min over k >= i of mean(j..k)."""
    total = np.cumsum(np.pad(curves, ((0, 0), (1, 0))), axis=1)
    size = curves.shape[1]
    fitted = np.full(curves.shape, -np.inf)
    for j in range(size):
        means = (total[:, j + 1 :] - total[:, j : j + 1]) / np.arange(1, size - j + 1)
        least = np.minimum.accumulate(means[:, ::-1], axis=1)[:, ::-1]
        fitted[:, j:] = np.maximum(fitted[:, j:], least)
    return fitted
