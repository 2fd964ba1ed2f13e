"""A sweep's outcome as one tidy table: gain over the twin per user and set-up, with what the seeds allow to say."""

from __future__ import annotations

import pandas as pd

from hill_sim.risk.statistics import bootstrap_interval, interquartile_mean
from hill_sim.trial import TWIN, Trial

MEASURES = ("gain", "gain_low", "gain_high", "seeds")


def gains(outcomes: pd.DataFrame) -> pd.DataFrame:
    """One row per user and set-up: interquartile mean of the gain over the seeds, and its 95 % bootstrap interval.

    Args:
        outcomes: of `load_outcomes`. Failed trials and the twins are left out.

    Returns:
        Columns case, label, the trial's fields that vary besides, then gain, gain_low, gain_high (shares of the test
        split, not points) and seeds. The interval is NaN for fewer than two seeds.
    """
    done = outcomes[(outcomes["status"] == "done") & (outcomes["policy"] != TWIN)]
    columns = ["case", "label", *varying(done)]
    rows = []
    for values, group in done.groupby(columns, sort=False, dropna=False):
        gain = group["gain"].to_numpy()
        row = dict(zip(columns, values, strict=True))
        low, high = bootstrap_interval(gain)
        rows.append(row | dict(zip(MEASURES, (float(interquartile_mean(gain)), low, high, len(gain)), strict=True)))
    return pd.DataFrame(rows, columns=[*columns, *MEASURES])


def varying(outcomes: pd.DataFrame) -> list[str]:
    """The fields of a trial, besides its seed, that differ between trials of the same case and label."""
    fields = [name for name in Trial.__dataclass_fields__ if name not in ("seed", "policy")]
    if outcomes.empty:
        return []
    differing = outcomes.groupby(["case", "label"])[fields].nunique(dropna=False).max() > 1
    return [name for name in fields if differing[name]]
