"""Small multiples of lines with interval bands: one panel a user, one line a setting, all on the same axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from hill_sim.report.study import KIND_TITLES
from hill_sim.report.style import INK, MUTED, RULE, WIDTH, figure, setting_colors, zero_line
from hill_sim.report.words import short

COLUMNS = 5
LONGEST = 18
"""Letters of a title that fit over the narrowest panel."""


def lines(
    table: pd.DataFrame,
    x: str,
    users: Sequence[str],
    kinds: Mapping[str, str],
    settings: Sequence[str],
    *,
    xlabel: str,
    ylabel: str,
    ghost: Mapping[str, pd.DataFrame] | None = None,
    ghost_label: str = "",
    marks: Sequence[float] = (),
    marks_label: str = "",
    dots: bool = False,
) -> Figure:
    """How an effect runs along x for each user.

    Args:
        table: user, setting, the column `x`, iqm, low, high.
        ghost: per setting a reference line drawn dashed into every panel, e.g. what a control gains.
        marks: x of thin vertical lines, e.g. interactions.
        dots: mark every x with a dot (few x).
    """
    columns = min(COLUMNS, max(len(users), 1))
    rows = math.ceil(max(len(users), 1) / columns)
    room = 24 * COLUMNS // columns  # letters beside each other over a panel
    stacked = any(_kind(kinds[user]) and len(short(user, LONGEST)) + len(_kind(kinds[user])) > room for user in users)
    made = figure(WIDTH, 0.95 + (2.02 if stacked else 1.85) * rows)
    grid = made.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    look = setting_colors(settings)
    low, high = _limits(table)
    for index, ax in enumerate(grid.flat):
        if index >= len(users):
            ax.set_axis_off()
            continue
        user = users[index]
        zero_line(ax, vertical=False)
        for at in marks:
            ax.axvline(at, color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)), zorder=0)
        for setting in settings:
            color, marker = look[setting]
            if ghost and setting in ghost:
                other = ghost[setting]
                ax.plot(other[x], other["iqm"], color=color, linewidth=1.4, linestyle=(0, (3, 2)), zorder=2)
            _band(ax, table[(table["user"] == user) & (table["setting"] == setting)], x, color, marker if dots else "")
        ax.set_title(short(user, LONGEST), fontsize=10.5, pad=17 if stacked else 6)
        ax.text(0 if stacked else 1, 1.02, _kind(kinds[user]), ha="left" if stacked else "right", va="bottom",
                fontsize=8.5, color=MUTED, transform=ax.transAxes)  # fmt: skip
        ax.set_ylim(low, high)
        ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        ax.grid(axis="y", color=RULE, linewidth=0.6)
        sns.despine(ax=ax, left=True)
        if index + columns >= len(users):  # nothing below: this panel carries the x axis of its column
            ax.tick_params(labelbottom=True)
        if dots and x in table:
            ax.set_xticks(sorted(table[x].unique())[:9])
    made.supxlabel(xlabel, fontsize=10.5, color=INK)
    made.supylabel(ylabel, fontsize=10.5, color=INK)
    _legend(made, settings, ghost_label if ghost else "", marks_label if len(marks) else "")
    return made


def _band(ax: Axes, rows: pd.DataFrame, x: str, color: str, marker: str) -> None:
    rows = rows[rows["iqm"].notna()].sort_values(x)
    if rows.empty:
        return
    at = rows[x].to_numpy(dtype=float)
    if len(rows) == 1:  # a band of no width would not be seen
        ax.plot([at[0]] * 2, [rows["low"].iloc[0], rows["high"].iloc[0]], color=color, linewidth=2.2, alpha=0.6)
    ax.fill_between(at, rows["low"], rows["high"], color=color, alpha=0.20, linewidth=0, zorder=1)
    ax.plot(at, rows["iqm"], color=color, linewidth=2.2, marker=marker or None, markersize=5, zorder=3)
    if len(rows) == 1 and not marker:
        ax.plot(at, rows["iqm"], "o", color=color, markersize=5)


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    """Common limits that show nearly all bands; a few runaway ends may leave the panel."""
    ends = table[["iqm", "low", "high"]].to_numpy(dtype=float)
    ends = ends[np.isfinite(ends)]
    if ends.size == 0:
        return -1.0, 1.0
    low, high = min(np.quantile(ends, 0.002), 0.0), max(np.quantile(ends, 0.998), 0.0)
    pad = 0.06 * max(high - low, 0.5)
    return low - pad, high + pad


def _legend(made: Figure, settings: Sequence[str], ghost: str, marks: str) -> None:
    look = setting_colors(settings)
    handles: list = [Line2D([], [], color=c, linewidth=2.6, label=short(s, 40)) for s, (c, _) in look.items()]
    handles.append(Patch(color=MUTED, alpha=0.25, linewidth=0, label="95 % interval"))
    if ghost:
        handles.append(Line2D([], [], color=MUTED, linewidth=1.4, linestyle=(0, (3, 2)), label=ghost))
    if marks:
        handles.append(Line2D([], [], color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)), label=marks))
    made.legend(handles=handles, loc="outside upper left", ncols=5, fontsize=10, columnspacing=1.8, handlelength=1.8,
                borderaxespad=0.2)  # fmt: skip


def _kind(kind: str) -> str:
    """What stands beside the title, or below it where there is no room; a strategy goes without saying."""
    return KIND_TITLES[kind].lower().rstrip("s") if kind != "strategy" else ""
