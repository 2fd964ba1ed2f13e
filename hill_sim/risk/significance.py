"""Is a paired difference more than chance, also when many are looked at? A signed-rank test, corrected after Holm.

Why signed ranks: they go with the interquartile mean (one runaway seed decides nothing), assume only that without an
effect a seed's difference is as likely to lie above 0 as below it by as much, and their distribution is exact for the
few seeds that a sweep has. Five seeds cannot reach p < 0.05 (the least is 2 / 2^5 = 0.06), six can: a test of the
mean by permuting signs has the same floor.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import stats

from hill_sim.types import Array

MOST_EXACT = 60
"""Above this many differences the normal approximation is used; it is then good to 0.001."""
SAME = 12  # decimals: what averaging within a seed leaves of equal differences is equal


def signed_rank(differences: Array) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test on paired differences [n], in (0,1].

    Ties get mid-ranks, differences of 0 are ranked and then left out (Pratt 1959). Exact for up to `MOST_EXACT`
    differences, ties and zeros included: the distribution over all 2^n signs given the absolute differences.
    1 where all differences are 0; NaN for none or for one, which cannot tell.
    """
    values = np.round(np.asarray(differences, dtype=np.float64), SAME)
    values = values[~np.isnan(values)]
    if len(values) < 2:
        return float("nan")
    if not values.any():
        return 1.0
    if len(values) > MOST_EXACT:
        return float(stats.wilcoxon(values, zero_method="pratt", method="asymptotic").pvalue)
    doubled = np.round(2 * stats.rankdata(np.abs(values))).astype(int)  # mid-ranks are halves
    ranks = doubled[values != 0]
    below = _cumulative(tuple(sorted(ranks.tolist())))
    w = int(ranks[values[values != 0] > 0].sum())
    at_least = 1.0 - (below[w - 1] if w > 0 else 0.0)
    return float(min(1.0, 2.0 * min(below[w], at_least)))


@lru_cache(maxsize=4096)
def _cumulative(ranks: tuple[int, ...]) -> Array:
    """P(W <= w) for w = 0 .. sum(ranks), W the sum of the ranks whose sign comes up positive, each with chance 1/2."""
    chance = np.zeros(sum(ranks) + 1)
    chance[0] = 1.0
    for rank in ranks:
        moved = np.zeros_like(chance)
        moved[rank:] = chance[: len(chance) - rank]
        chance = 0.5 * (chance + moved)
    return np.minimum(np.cumsum(chance), 1.0)


def holm(p: Array) -> Array:
    """[m] p-values adjusted for being m (Holm 1979): rejecting those <= 0.05 errs in any of them with chance <= 0.05.

    The k-th smallest is multiplied by m - k + 1, and none may be smaller than the one before it; at most 1. NaN (no
    test was possible) stay NaN and do not count.
    """
    p = np.asarray(p, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1.0)
    return adjusted
