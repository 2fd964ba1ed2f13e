"""How bad can it get: the chance that a user costs accuracy, and what to expect of the worst seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from hill_sim.errors import InvalidInput
from hill_sim.risk.comparison import check_twins, per_seed
from hill_sim.risk.statistics import bootstrap_rows, expected_shortfall, shortfall_weights, wilson_interval

EPS = 0.01
"""One percentage point of test accuracy."""
TAIL = 0.25
"""The worst quarter of the seeds: five of twenty."""
COLUMNS = ("risk", "risk_low", "risk_high", "shortfall", "shortfall_low", "shortfall_high", "n")


def downside(
    outcomes: pd.DataFrame,
    by: Sequence[str],
    measure: str = "gain",
    *,
    eps: float = EPS,
    tail: float = TAIL,
    level: float = 0.95,
    resamples: int = 2000,
) -> pd.DataFrame:
    """Risk and expected shortfall of a measure that is relative to the twin, and of which more is better.

    Args:
        outcomes: one row a trial, as `RunSet.outcomes`.
        by: columns that make a row; several trials of a seed count as one, a seed counts only where all of them ended.
        eps: what may be lost before it counts, >= 0, in the units of the measure.
        tail: the share of worst seeds that the shortfall is of, in (0,1].

    Returns:
        The columns of `by`, and
            risk: estimate of P(measure < -eps) for a trial of a new seed, in [0,1], more is worse: the share of trials
                that lost more, mean over seeds. risk_low, risk_high: Wilson's interval with n seeds, which holds for
                0 of n too, and is wide (not narrow) where each seed has several trials.
            shortfall: mean of the worst share `tail` of the seeds, in the units of the measure, less is worse.
                shortfall_low, shortfall_high: its bootstrap interval, NaN for fewer than two seeds.
            n: seeds.

    Raises:
        InvalidInput: unknown column, eps or tail out of range, or no finished trial has a twin.
    """
    for name in (*by, measure, "seed"):
        if name not in outcomes:
            raise InvalidInput(f"by, measure: no column {name!r} (there are: {', '.join(map(str, outcomes.columns))})")
    if not eps >= 0:
        raise InvalidInput(f"eps: {eps!r} is not a number >= 0")
    shortfall_weights(1, tail)  # raises for a tail out of range
    check_twins(outcomes)
    keys = list(by)
    values = outcomes[[*keys, "seed"]].assign(difference=outcomes[measure].astype(float))
    lost = values.assign(difference=(values["difference"] < -eps).astype(float).where(values["difference"].notna()))
    gains, losses = per_seed(values, keys), per_seed(lost, keys)
    rows = [_row(g[~np.isnan(g)], x[~np.isnan(x)], tail, level, resamples)
            for g, x in zip(gains.to_numpy(), losses.to_numpy(), strict=True)]  # fmt: skip
    return gains.index.to_frame(index=False).join(pd.DataFrame(rows, columns=list(COLUMNS)))


def _row(gains: np.ndarray, losses: np.ndarray, tail: float, level: float, resamples: int) -> tuple[float, ...]:
    n = len(gains)
    if n == 0:
        return (*[float("nan")] * 6, 0)
    risk_low, risk_high = wilson_interval(losses.sum(), n, level)
    low, high = np.full((2, 1), np.nan)
    if n > 1:
        low, high = bootstrap_rows(np.sort(gains)[None], shortfall_weights(n, tail), level=level, resamples=resamples)
    shortfall = float(expected_shortfall(gains, tail))
    return float(losses.mean()), float(risk_low), float(risk_high), shortfall, float(low[0]), float(high[0]), n
