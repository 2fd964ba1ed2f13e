"""People who follow one strategy: each person's gain, and whose doing the spread is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hill_sim.report.study import sure
from hill_sim.report.style import GOOD, INK, MUTED, RULE, SETTING_COLORS, WIDTH, figure, zero_line
from hill_sim.report.words import short


def people(persons: pd.DataFrame, shares: pd.DataFrame, strategies: Sequence[str], title: str) -> Figure:
    """Left, a column a strategy: every person's gain, sorted. Right: the components' shares of the variance.

    Args:
        persons: user (the strategy), person, iqm, low, high, n; in points.
        shares: component, share, share_low, share_high, in [0,1].
    """
    made = figure(WIDTH, 4.3)
    grid = made.subplots(1, len(strategies) + 1, width_ratios=[*[1.0] * len(strategies), 1.6])
    low, high = persons["low"].fillna(persons["iqm"]).min(), persons["high"].fillna(persons["iqm"]).max()
    pad = 0.05 * max(high - low, 0.5)
    for ax, strategy in zip(grid, strategies, strict=False):
        _persons(ax, persons[persons["user"] == strategy].sort_values("iqm"))
        ax.set_title(short(strategy, 16), fontsize=10.5)
        ax.set_ylim(min(low, 0) - pad, max(high, 0) + pad)
        if ax is not grid[0]:
            ax.tick_params(labelleft=False)
    grid[0].set_ylabel(f"{title}, points", color=INK)
    says = "one mark a person, sorted, with 95 % interval; filled where it excludes 0"
    made.supxlabel(says, fontsize=9.5, color=MUTED, x=0.02, ha="left")
    _shares(grid[-1], shares)
    return made


def _persons(ax: Axes, rows: pd.DataFrame) -> None:
    zero_line(ax, vertical=False)
    for x, row in enumerate(rows.itertuples(index=False)):
        ax.plot([x, x], [row.low, row.high], color=GOOD, linewidth=1.6, alpha=0.55, zorder=2)
        ax.plot(x, row.iqm, "o", color=GOOD, markerfacecolor=GOOD if sure(row) else "white", markersize=4.5, zorder=3)
    ax.set_xlim(-1, max(len(rows), 2))
    ax.set_xticks([])
    ax.grid(axis="y", color=RULE, linewidth=0.6)
    for side in ("left", "right", "top", "bottom"):
        ax.spines[side].set_visible(False)


def _shares(ax: Axes, shares: pd.DataFrame) -> None:
    for y, row in enumerate(shares.itertuples(index=False)):
        color = SETTING_COLORS[1] if row.component in ("strategy", "person", "seed") else MUTED
        ax.barh(y, 100 * row.share, height=0.55, color=color, alpha=0.75, zorder=2)
        ax.plot([100 * row.share_low, 100 * row.share_high], [y, y], color=INK, linewidth=1.4, zorder=3)
    ax.set_yticks(np.arange(len(shares)), [str(c) for c in shares["component"]], color=INK, fontsize=10.5)
    ax.set_ylim(len(shares) - 0.4, -0.6)
    ax.set_xlim(0, 100)
    ax.set_title("share of the variance, %", fontsize=10.5)
    ax.tick_params(left=False)
    ax.grid(axis="x", color=RULE, linewidth=0.6)
    for side in ("left", "right", "top"):
        ax.spines[side].set_visible(False)
