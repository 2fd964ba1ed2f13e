"""What a rule of trust buys and what it costs: harm removed against benefit kept, both relative to fixed trust.

A *cell* is one user at one alpha on one task. A cell is harmed (helped) if, under fixed trust, the interval of its gain
over the twin lies wholly below (above) 0. With g the mean gain over seeds:

    harm removed = 1 - sum of g under the rule / sum of g under fixed trust        over the harmed cells
    benefit kept =     sum of g under the rule / sum of g under fixed trust        over the helped cells

Harm removed is 1 where nothing is left of it, above 1 where harm has turned into gain, below 0 where the rule made it
worse. Benefit kept above 1 is more benefit. Intervals: seeds are resampled, the same for all cells and both trainings;
the cells stay. That the cells are chosen on the same seeds flatters fixed trust's extremes a little (they regress), in
favour of harm removed and against benefit kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from hill_sim.risk.statistics import bootstrap_interval
from hill_sim.seeding import generator
from hill_sim.types import Array

FIXED = "fixed"
COLUMNS = ("harm_removed", "harm_low", "harm_high", "harmed", "benefit_kept", "benefit_low", "benefit_high", "helped")


def trust_effect(
    trials: pd.DataFrame, by: Sequence[str], cell: Sequence[str] = ("user", "alpha"), *, resamples: int = 2000
) -> pd.DataFrame:
    """One row per group of `by` and rule other than `fixed`.

    Args:
        trials: one row a trial: the columns `by`, `cell`, `trust` (name of the rule), `seed`, `gain` (test accuracy
            minus the twin's; NaN for failed trials, whose seed is then left out of that group).
        by: what is reported apart, e.g. the task.
        cell: what is one cell within it.

    Returns:
        The columns `by`, `trust`, `COLUMNS`, and `n`, the seeds. `harmed` and `helped` count cells; where there is
        none, the ratio is NaN. With one seed intervals are NaN and no cell counts as harmed or helped.
    """
    rows = []
    for group, members in trials.groupby(list(by), sort=False):
        cells = members.pivot_table(index=list(cell), columns=["trust", "seed"], values="gain", dropna=False)
        if FIXED not in cells.columns.get_level_values("trust"):
            continue
        fixed = cells[FIXED]
        for rule in dict.fromkeys(members["trust"]):
            if rule == FIXED:
                continue
            own = cells[rule]
            seeds = [s for s in fixed.columns if s in own.columns and fixed[s].notna().all() and own[s].notna().all()]
            before, after = fixed[seeds].to_numpy(), own[seeds].to_numpy()
            names = dict(zip(by, group, strict=True))
            rows.append({**names, "trust": rule, **_effect(before, after, resamples), "n": len(seeds)})
    return pd.DataFrame(rows, columns=[*by, "trust", *COLUMNS, "n"])


def _effect(fixed: Array, rule: Array, resamples: int) -> dict[str, float]:
    """Of gains [cells, seeds] under fixed trust and under a rule."""
    intervals = np.array([bootstrap_interval(row, np.mean) for row in fixed]).reshape(-1, 2)
    harmed, helped = intervals[:, 1] < 0, intervals[:, 0] > 0
    removed, kept = _ratio(fixed[harmed], rule[harmed], resamples), _ratio(fixed[helped], rule[helped], resamples)
    values = (1.0 - removed[0], 1.0 - removed[2], 1.0 - removed[1], int(harmed.sum()), *kept, int(helped.sum()))
    return dict(zip(COLUMNS, values, strict=True))


def _ratio(fixed: Array, rule: Array, resamples: int) -> tuple[float, float, float]:
    """Sum of the rule's gains over the sum of the fixed ones, with its bootstrap interval over seeds."""
    cells, n = fixed.shape
    if cells == 0 or n < 2:
        return float("nan"), float("nan"), float("nan")
    below, above = fixed.sum(axis=0), rule.sum(axis=0)
    drawn = generator(0, "trust", n).integers(n, size=(resamples, n))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = above[drawn].sum(axis=1) / below[drawn].sum(axis=1)
    low, high = np.nanpercentile(ratios, [2.5, 97.5])
    return float(above.sum() / below.sum()), float(low), float(high)
