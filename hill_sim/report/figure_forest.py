"""Forest plot: one row a user, one panel a comparison, one marker a setting, always with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hill_sim.report.study import KIND_TITLES, sure
from hill_sim.report.style import INK, MUTED, RULE, WIDTH, figure, setting_colors, zero_line
from hill_sim.report.words import short


@dataclass(frozen=True)
class Panel:
    """One column of the plot.

    Attributes:
        title: what is compared.
        rows: a table with user, setting, iqm, low, high, n.
        good: +1 if more is better, -1 if more is worse, 0 if neither.
        share: panels of the same name share their x axis.
        unit: of the x axis.
    """

    title: str
    rows: pd.DataFrame
    good: int = 1
    share: str = ""
    unit: str = "points"


def forest(
    panels: Sequence[Panel], users: Sequence[str], kinds: Mapping[str, str], settings: Sequence[str], label: str
) -> Figure:
    """Users from top to bottom by kind; a filled marker has an interval that excludes 0, a hollow one includes it."""
    places, headings, bottom = places_of(users, kinds)
    made = figure(WIDTH, 1.3 + 0.345 * bottom)
    axes = made.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    look = setting_colors(settings)
    offsets = (np.arange(len(settings)) - (len(settings) - 1) / 2) * min(0.27, 0.7 / max(len(settings), 1))
    for ax, panel in zip(axes, panels, strict=True):
        zero_line(ax, vertical=True)
        ax.hlines(list(places.values()), 0, 1, transform=ax.get_yaxis_transform(), color=RULE, linewidth=0.6, zorder=0)
        for setting, offset in zip(settings, offsets, strict=True):
            _markers(ax, panel.rows[panel.rows["setting"] == setting], places, offset, *look[setting])
        ax.set_title(panel.title)
        ax.set_ylim(bottom - 0.4, -0.7)
        ax.tick_params(left=False)
        for side in ("left", "right", "top"):
            ax.spines[side].set_visible(False)
        ax.set_xlabel(_direction(panel), color=MUTED, fontsize=9)
        ax.locator_params(axis="x", nbins=5)
    _share(axes, panels)
    axes[0].set_yticks(list(places.values()), [short(user) for user in places], color=INK, fontsize=10.5)
    headings_of(axes[0], headings)
    legend(made, settings, label)
    return made


def headings_of(ax: Axes, headings: Mapping[str, float]) -> None:
    """The kinds' names beside the y axis."""
    for kind, place in headings.items():
        ax.annotate(KIND_TITLES[kind].upper(), (0, place), xycoords=("axes fraction", "data"), xytext=(-8, 0),
                    va="center", ha="right", textcoords="offset points", color=MUTED, fontsize=8.5,
                    fontweight="bold")  # fmt: skip


def places_of(users: Sequence[str], kinds: Mapping[str, str]) -> tuple[dict[str, float], dict[str, float], float]:
    """Vertical place of each user and of each kind's heading, and where the next row would be."""
    places: dict[str, float] = {}
    headings: dict[str, float] = {}
    at = 0.0
    for user in users:
        if kinds[user] not in headings:
            headings[kinds[user]] = at
            at += 0.85
        places[user] = at
        at += 1.0
    return places, headings, max(at, 1.0)


def _markers(ax: Axes, rows: pd.DataFrame, places: Mapping[str, float], offset: float, color: str, marker: str) -> None:
    rows = rows[rows["user"].isin(list(places)) & rows["iqm"].notna()]
    for row in rows.itertuples(index=False):
        y = places[row.user] + offset
        ax.plot([row.low, row.high], [y, y], color=color, linewidth=2.2, solid_capstyle="butt", alpha=0.75, zorder=2)
        face = color if sure(row) else "white"
        ax.plot(row.iqm, y, marker, color=color, markerfacecolor=face, markeredgewidth=1.6, markersize=6.5, zorder=3)


def _share(axes: Sequence[Axes], panels: Sequence[Panel]) -> None:
    for name in {panel.share for panel in panels if panel.share}:
        group = [ax for ax, panel in zip(axes, panels, strict=True) if panel.share == name]
        limits = np.array([ax.get_xlim() for ax in group])
        for ax in group:
            ax.set_xlim(limits[:, 0].min(), limits[:, 1].max())


def legend(made: Figure, settings: Sequence[str], label: str, verdict: bool = True) -> None:
    """The settings, and with `verdict` what filled and hollow markers mean."""
    look = setting_colors(settings)
    handles = [
        Line2D([], [], color=color, marker=marker, linewidth=2.2, markersize=7, label=short(setting, 60))
        for setting, (color, marker) in look.items()
    ]
    if verdict:
        handles += [
            Line2D([], [], color=MUTED, marker="o", linestyle="", markersize=7, label="interval excludes 0"),
            Line2D([], [], color=MUTED, marker="o", linestyle="", markersize=7, markerfacecolor="white",
                   markeredgewidth=1.6, label="includes 0, or too few seeds"),
        ]  # fmt: skip
    made.legend(handles=handles, loc="outside upper left", ncols=4, fontsize=10, title=label, alignment="left",
                title_fontsize=10.5, handletextpad=0.6, columnspacing=1.8, borderaxespad=0.2)  # fmt: skip


def _direction(panel: Panel) -> str:
    return {1: f"← worse   {panel.unit}   better →", -1: f"{panel.unit}   worse →", 0: panel.unit}[panel.good]
