"""From which alpha on a user costs more than a model shrugs off: a point and an interval a user, or never."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hill_sim.report.figure_forest import headings_of, legend, places_of
from hill_sim.report.style import INK, MUTED, RULE, WIDTH, figure, setting_colors, zero_line
from hill_sim.report.words import short


def conflict(
    thresholds: pd.DataFrame,
    downside: pd.DataFrame,
    index: pd.DataFrame,
    users: Sequence[str],
    kinds: Mapping[str, str],
    settings: Sequence[str],
    eps: float,
) -> Figure:
    """Three panels: threshold in alpha, chance of losing more than `eps` points, conflict index of successive edits.

    Args:
        thresholds: user, setting, alpha, low, high, last (`risk.threshold.thresholds`).
        downside: user, setting, iqm (the risk, in per cent), low, high.
        index: user, setting, iqm, low, high, of the conflict index in [-1,1].
    """
    places, headings, bottom = places_of(users, kinds)
    made = figure(WIDTH, 1.3 + 0.345 * bottom)
    known = bool(index["n"].any())  # older results have no index
    axes = made.subplots(1, 2 + known, sharey=True, width_ratios=[1.5, 1, 1][: 2 + known])
    look = setting_colors(settings)
    offsets = (np.arange(len(settings)) - (len(settings) - 1) / 2) * min(0.27, 0.7 / max(len(settings), 1))
    last = float(thresholds["last"].max())
    never = 1.12 * last
    for ax in axes:
        ax.hlines(list(places.values()), 0, 1, transform=ax.get_yaxis_transform(), color=RULE, linewidth=0.6, zorder=0)
        ax.set_ylim(bottom - 0.4, -0.7)
        ax.tick_params(left=False)
        for side in ("left", "right", "top"):
            ax.spines[side].set_visible(False)
    first, chance = axes[:2]
    first.axvline(1.05 * last, color=MUTED, linewidth=1.0, linestyle=(0, (3, 2)))
    for setting, offset in zip(settings, offsets, strict=True):
        color, marker = look[setting]
        rows = thresholds[(thresholds["setting"] == setting) & thresholds["user"].isin(list(places))]
        for row in rows[rows["n"] > 0].itertuples(index=False):
            _crossing(first, row, places[row.user] + offset, color, marker, never)
        for ax, table in zip(axes[1:], (downside, index), strict=False):
            part = table[(table["setting"] == setting) & table["user"].isin(list(places)) & table["iqm"].notna()]
            for row in part.itertuples(index=False):
                y = places[row.user] + offset
                ax.plot([row.low, row.high], [y, y], color=color, linewidth=2.2, alpha=0.75, solid_capstyle="butt")
                ax.plot(row.iqm, y, marker, color=color, markersize=6.5)
    ticks = [t for t in np.linspace(0, 1, 6) if t <= last + 1e-9]
    first.set_xticks([*ticks, never], [*(f"{t:g}" for t in ticks), "never"])
    first.set_xlim(0, 1.2 * last)
    first.set_title("threshold in alpha")
    first.set_xlabel("alpha: how loud the user is", color=MUTED, fontsize=9)
    chance.set_xlim(-3, 103)
    chance.set_title(f"chance to lose > {eps:g} point")
    chance.set_xlabel("% of trials", color=MUTED, fontsize=9)
    if known:
        conflicts = axes[2]
        zero_line(conflicts, vertical=True)
        conflicts.set_xlim(-1.08, 1.08)
        conflicts.set_title("conflict index")
        conflicts.set_xticks([-1, 0, 1], ["−1\nsame", "0\nunrelated", "1\nopposite"])
    first.set_yticks(list(places.values()), [short(user, 22) for user in places], color=INK, fontsize=10.5)
    headings_of(first, headings)
    legend(made, settings, "Estimate over seeds, with its 95 % interval", verdict=False)
    return made


def _crossing(ax: Axes, row: Any, y: float, color: str, marker: str, never: float) -> None:
    alpha, low, high = (never if math.isinf(v) else v for v in (row.alpha, row.low, row.high))
    if not math.isnan(low):
        ax.plot([low, high], [y, y], color=color, linewidth=2.2, alpha=0.75, solid_capstyle="butt", zorder=2)
    if math.isinf(row.high) and low < never:
        ax.plot(never, y, ">", color=color, markersize=5, alpha=0.75, zorder=2)
    hollow = alpha == never
    ax.plot(alpha, y, marker, color=MUTED if hollow else color, markersize=6.5, zorder=3,
            markerfacecolor="white" if hollow else color, markeredgewidth=1.6)  # fmt: skip
