"""A sweep's outcome in one screen: users best first, strengths side by side."""

from __future__ import annotations

import pandas as pd

from hill_sim.cli.text import points, table
from hill_sim.sweep.gains import MEASURES, gains

MOST_ROWS = 30


def leaderboard(outcomes: pd.DataFrame) -> str:
    """One table per case, of the outcomes that `load_outcomes` gives; a star where the interval leaves 0 out."""
    board = gains(outcomes)
    if board.empty:
        return "no trial to compare with its twin has finished\n"
    return "\n".join(_of_case(str(case), part) for case, part in board.groupby("case", sort=False))


def _of_case(case: str, part: pd.DataFrame) -> str:
    across = "alpha" if "alpha" in part and part["alpha"].nunique() > 1 else None
    by = [name for name in part.columns if name not in ("case", across, *MEASURES)]
    by = [name for name in by if name == "label" or part[name].nunique(dropna=False) > 1]
    strengths = sorted(part[across].unique()) if across else []
    header = ["user", *(f"{across} {value:g}" for value in strengths)] if across else ["user", "gain", "95 % interval"]
    rows = []
    for values, group in part.groupby(by, sort=False, dropna=False):
        name = ", ".join(str(v) if n == "label" else f"{n} {v}" for n, v in zip(by, values, strict=True))
        cells = [row for _, row in group.iterrows()]
        if across:
            gain_at = {row[across]: _gain(row) for row in cells}
            rows.append((group["gain"].mean(), [name, *(gain_at.get(value, "") for value in strengths)]))
        else:
            interval = f"{points(cells[0]['gain_low'])} to {points(cells[0]['gain_high'])}"
            rows.append((group["gain"].mean(), [name, _gain(cells[0]), interval]))
    rows.sort(key=lambda row: -row[0])
    seeds = sorted(part["seeds"].unique())
    many = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    title = f"{case}: " if case else ""
    lines = [
        f"{title}gain in test accuracy over the twin, in points: interquartile mean of {many} seed(s);",
        "* where the 95 % interval leaves out 0",
        "",
        table(header, [cells for _, cells in rows[:MOST_ROWS]]),
    ]
    if len(rows) > MOST_ROWS:
        lines.append(f"... and {len(rows) - MOST_ROWS:,} users that gain less")
    return "\n".join([*lines, ""])


def _gain(row: pd.Series) -> str:
    clear = row["gain_low"] > 0 or row["gain_high"] < 0
    return f"{points(row['gain'])}{'*' if clear else ' '}"
