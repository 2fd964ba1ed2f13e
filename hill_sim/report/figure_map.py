"""Heat maps of effects: colour is the estimate, a number stands where the interval excludes 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hill_sim.report.study import sure
from hill_sim.report.style import BAD, GOOD, INK, MUTED, WIDTH, figure
from hill_sim.report.words import points, short


@dataclass(frozen=True)
class HeatMap:
    """One panel.

    Attributes:
        title: over it.
        table: `row`, `column`, iqm, low, high, n; cells without a row of the table stay empty.
        rows, columns: in this order, with the labels to print.
    """

    title: str
    table: pd.DataFrame
    rows: Sequence[tuple[Any, str]]
    columns: Sequence[tuple[Any, str]]


@dataclass(frozen=True)
class Row:
    """Panels side by side on one colour scale; `good` is +1 where more is better, -1 where more is worse."""

    label: str
    panels: Sequence[HeatMap]
    good: int = 1


def heat_maps(rows: Sequence[Row], xlabel: str, ylabel: str) -> Figure:
    """Rows of panels. Orange is worse and blue better, whatever the measure; every row has its own scale."""
    tallest = [max(len(panel.rows) for panel in row.panels) for row in rows]
    wide = max(len(row.panels) for row in rows)
    long_ticks = any(_turned(panel, wide) for row in rows for panel in row.panels)
    made = figure(WIDTH, 0.35 + sum(1.05 + 0.55 * long_ticks + 0.34 * n for n in tallest))
    grid = made.subplots(len(rows), wide, squeeze=False, sharey="row", height_ratios=[n + 2 for n in tallest])
    for axes, row in zip(grid, rows, strict=True):
        largest = max([0.5, *(panel.table["iqm"].abs().max() for panel in row.panels if panel.table["n"].any())])
        for ax, panel in zip(axes, row.panels, strict=False):
            _draw(ax, panel, largest, row.good, _turned(panel, wide))
        for ax in axes[len(row.panels) :]:
            ax.set_axis_off()
        _bar(made, axes, row.label, largest, row.good)
        axes[0].set_ylabel(ylabel, color=MUTED)
    for ax in grid[-1][: len(rows[-1].panels)]:
        ax.set_xlabel(xlabel, color=MUTED)
    return made


def _turned(panel: HeatMap, wide: int) -> bool:
    """Whether the columns' names would run into each other: a panel row has room for about 100 letters."""
    return wide * len(panel.columns) * (2 + max(len(short(name, 24)) for _, name in panel.columns)) > 100


def _draw(ax: Axes, panel: HeatMap, largest: float, good: int, turned: bool) -> None:
    place = {value: i for i, (value, _) in enumerate(panel.rows)}
    across = {value: i for i, (value, _) in enumerate(panel.columns)}
    cells = np.full((len(place), len(across)), np.nan)
    marks = []
    for row in panel.table.itertuples(index=False):
        if row.row in place and row.column in across:
            at = place[row.row], across[row.column]
            cells[at] = row.iqm
            if sure(row):
                marks.append((at, row.iqm))
    # not seaborn's heatmap, which draws the whole figure once for each panel to see whether labels overlap
    ax.pcolormesh(cells, cmap=_cmap(good), vmin=-largest, vmax=largest, edgecolors="white", linewidth=1.5)
    ax.set_ylim(len(place), 0)
    for side in ax.spines.values():
        side.set_visible(False)
    for (y, x), value in marks:
        color = "white" if abs(value) > 0.6 * largest else INK
        ax.text(x + 0.5, y + 0.5, points(value), ha="center", va="center", fontsize=9, color=color, fontweight="bold")
    names = [name for _, name in panel.columns]
    ax.set_xticks(np.arange(len(names)) + 0.5, [short(name, 24) for name in names], rotation=30 if turned else 0,
                  ha="right" if turned else "center", fontsize=9.5)  # fmt: skip
    ax.set_yticks(np.arange(len(place)) + 0.5, [short(name, 24) for _, name in panel.rows], rotation=0, color=INK)
    ax.set_title(panel.title, fontsize=10.5)
    ax.set_xlabel("")
    ax.tick_params(length=0)


def _cmap(good: int) -> Any:
    ends = [BAD, "#f6f3ee", GOOD]
    return sns.blend_palette(ends if good >= 0 else ends[::-1], as_cmap=True)


def _bar(made: Figure, axes: Sequence[Axes], label: str, largest: float, good: int) -> None:
    mesh = axes[0].collections[0]
    bar = made.colorbar(mesh, ax=list(axes), shrink=0.9, aspect=18, pad=0.015)
    bar.set_label(f"{label},\npoints", color=INK, fontsize=9.5)
    bar.outline.set_visible(False)
    bar.ax.yaxis.set_major_locator(MaxNLocator(5, symmetric=True))
