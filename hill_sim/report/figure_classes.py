"""Heatmap of what each user did to each class or group: harm is where a cell is orange and carries a number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hill_sim.report.study import sure
from hill_sim.report.style import BAD, GOOD, INK, MUTED, WIDTH, figure
from hill_sim.report.words import points, short

MOST_CLASSES = 12


def parts_shown(table: pd.DataFrame, part: str) -> list[int]:
    """The classes (groups) with test samples, or of many the most affected ones (by any user's effect), in order."""
    sizes = table.assign(size=table["iqm"].abs()).groupby(part)[["n", "size"]].max()
    worst = sizes[sizes["n"] > 0]["size"].sort_values(ascending=False, kind="stable")
    return sorted(int(c) for c in worst.index[:MOST_CLASSES])


def class_harm(
    table: pd.DataFrame,
    users: Sequence[str],
    settings: Sequence[str],
    names: Sequence[str],
    sizes: Sequence[int | None],
    kinds: Mapping[str, str],
    noun: str = "class",
    measure: str = "recall",
) -> Figure:
    """Users by classes or groups, one panel a setting; cells whose interval excludes 0 carry their number.

    Args:
        table: user, setting, the column `noun`, iqm, low, high, n.
        names, sizes: of all classes.
        noun: `class` or `group`; measure: what changed in each.
    """
    shown = parts_shown(table, noun)
    table = table.rename(columns={noun: "part"})
    columns = min(2, len(settings))
    rows = math.ceil(len(settings) / columns)
    made = figure(WIDTH, rows * (1.35 + 0.31 * len(users)))
    grid = made.subplots(rows, columns, sharey=True, squeeze=False)
    largest = np.nanmax(np.abs(table["iqm"]), initial=1.0)
    cmap = sns.blend_palette([BAD, "#f6f3ee", GOOD], as_cmap=True)
    for ax in grid.flat[len(settings) :]:
        ax.set_axis_off()
    mesh = None
    for ax, setting in zip(grid.flat, settings, strict=False):
        part = table[table["setting"] == setting]
        values = part.pivot_table(index="user", columns="part", values="iqm", dropna=False, observed=False)
        values = values.reindex(index=list(users), columns=shown)
        sns.heatmap(values.astype(float), ax=ax, cmap=cmap, vmin=-largest, vmax=largest, cbar=False, linewidths=1.5)
        mesh = ax.collections[0]
        _numbers(ax, part, users, shown, largest)
        ax.set_title(short(setting, 60 // columns))
        ticks = [_class_label(names[c], sizes[c]) for c in shown]
        ax.set_xticks(np.arange(len(shown)) + 0.5, ticks, rotation=0 if max(map(len, ticks)) < 9 else 45, fontsize=9)
        ax.set_yticks(
            np.arange(len(users)) + 0.5, [short(user) for user in users], rotation=0, color=INK, fontsize=10.5
        )
        ax.set_xlabel(f"{noun} (its number of test samples)" if sizes[0] is not None else noun, color=MUTED)
        ax.set_ylabel("")
        ax.tick_params(length=0)
        for index in range(1, len(users)):
            if kinds[users[index]] != kinds[users[index - 1]]:
                ax.axhline(index, color=INK, linewidth=1.2)
    if mesh is not None:
        bar = made.colorbar(mesh, ax=list(grid.flat), shrink=0.7, aspect=30, pad=0.015)
        bar.set_label(f"change of {measure}, points", color=INK)
        bar.outline.set_visible(False)
        bar.ax.yaxis.set_major_locator(MaxNLocator(7, symmetric=True))
    return made


def _numbers(ax: Axes, part: pd.DataFrame, users: Sequence[str], shown: Sequence[int], largest: float) -> None:
    for row in part.itertuples(index=False):
        if row.user not in users or row.part not in shown or not sure(row):
            continue
        at = (shown.index(row.part) + 0.5, users.index(row.user) + 0.5)
        color = "white" if abs(row.iqm) > 0.6 * largest else INK
        ax.text(*at, points(row.iqm), ha="center", va="center", fontsize=9, color=color, fontweight="bold")


def _class_label(name: str, size: int | None) -> str:
    return short(name, 12) if size is None else f"{short(name, 12)}\n({size})"
