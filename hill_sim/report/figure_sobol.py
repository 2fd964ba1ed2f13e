"""Sobol's indices: one row a parameter, what it decides alone and with the others, and how much chance leaves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hill_sim.report.style import INK, MUTED, RULE, WIDTH, figure, setting_colors
from hill_sim.report.words import short

ORDERS = {"total": "with the others (total index)", "first": "alone (first-order index)"}


def sobol(table: pd.DataFrame, users: Sequence[str], measures: dict[str, str], parameters: Sequence[str]) -> Figure:
    """Users by measures; in each panel the parameters from top to bottom, indices with intervals.

    Args:
        table: user, measure, parameter, order (`first`, `total`), index, low, high, residue.
        measures: titles by measure.
    """
    made = figure(WIDTH, 0.9 + len(users) * (0.75 + 0.36 * len(parameters)))
    grid = made.subplots(len(users), len(measures), sharex=True, sharey=True, squeeze=False)
    look = setting_colors(list(ORDERS))
    for number, (axes, user) in enumerate(zip(grid, users, strict=True)):
        for ax, (measure, title) in zip(axes, measures.items(), strict=True):
            part = table[(table["user"] == user) & (table["measure"] == measure)]
            _panel(ax, part, parameters, look)
            if number == 0:
                ax.set_title(title, fontsize=10.5)
            ax.tick_params(axis="y", labelcolor=INK, labelsize=10.5)
        axes[0].set_ylabel(short(user, 20), color=INK, fontweight="bold")
    grid[0][0].set_yticks(np.arange(len(parameters)), list(parameters))
    grid[0][0].set_ylim(len(parameters) - 0.4, -0.6)
    grid[0][0].set_xlim(-0.1, min(max(1.05, table["index"].max() + 0.05), 1.4))  # estimates may err past 1
    for ax in grid[-1]:
        ax.set_xlabel("share of the variance", color=MUTED, fontsize=9.5)
    handles = [
        Line2D([], [], color=look[order][0], marker=look[order][1], linewidth=2.2, markersize=7, label=words)
        for order, words in ORDERS.items()
    ]
    handles.append(Line2D([], [], color=MUTED, linewidth=1.2, linestyle=(0, (3, 2)), label="what chance leaves"))
    made.legend(handles=handles, loc="outside upper left", ncols=3, fontsize=10, borderaxespad=0.2)
    return made


def _panel(ax: Axes, part: pd.DataFrame, parameters: Sequence[str], look: dict[str, tuple[str, str]]) -> None:
    ax.hlines(np.arange(len(parameters)), 0, 1, color=RULE, linewidth=0.6, zorder=0)
    ax.axvline(0, color=INK, linewidth=1.0, zorder=1)
    residue = part["residue"].max()
    if residue > 0:
        ax.axvline(residue, color=MUTED, linewidth=1.2, linestyle=(0, (3, 2)), zorder=1)
    for order, shift in (("total", -0.13), ("first", 0.13)):
        color, marker = look[order]
        for row in part[part["order"] == order].itertuples(index=False):
            if np.isnan(row.index):
                continue
            y = parameters.index(row.parameter) + shift
            ax.plot(
                [row.low, row.high], [y, y], color=color, linewidth=2.2, alpha=0.75, solid_capstyle="butt", zorder=2
            )
            ax.plot(row.index, y, marker, color=color, markersize=6.5, zorder=3)
    for side in ("left", "right", "top"):
        ax.spines[side].set_visible(False)
    ax.tick_params(left=False)
