"""The section on trust: harm removed against benefit kept, per rule and setting."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hill_sim.report.section import Section
from hill_sim.report.study import Study
from hill_sim.report.style import GOOD, INK, MUTED, PAPER, WIDTH, figure
from hill_sim.report.tables import Cell, Table
from hill_sim.risk.trust import FIXED, trust_effect

LIMITS = (-60.0, 160.0)
"""Percent that the figure shows; what lies beyond stands at the edge, with its number."""
LONG = 28
"""Letters of a rule's name from which its options go into a second line."""
_MEASURES = (("harm", "harm_removed", "harmed", "Harm removed"), ("benefit", "benefit_kept", "helped", "Benefit kept"))


def trust_section(study: Study) -> Iterator[Section]:
    """Nothing unless some trials differ in their trust alone, and fixed trust harmed or helped somewhere."""
    table = effects(study)
    if table.empty or not (table["harmed"].any() or table["helped"].any()):
        return
    yield Section(
        "trust",
        "How far may the model trust the user?",
        "Left: how much of the harm that users do under fixed trust a rule removes (100 %: no harm is left; more: it "
        "has turned into gain). Right: how much of the benefit it keeps. A good rule is at or beyond the line on both "
        "sides. Bars are 95 % intervals over seeds.",
        f"Dot plot: harm removed and benefit kept by {table['trust'].nunique()} rules of trust, as in the table below.",
        lambda: draw(table),
        tables=[_table(table)],
    )


def effects(study: Study) -> pd.DataFrame:
    """`trust_effect` per task."""
    trials = study.trials.assign(trust=[rule_name(rule) for rule in study.trials["trust"]])
    trials = trials[trials["kind"] != "control"]
    apart = [n for n in ("task", "task_options", "objective") if n == "task" or trials[n].nunique() > 1]
    cells = ["user", "alpha", *(n for n in ("lam", "interactions") if trials[n].astype(str).nunique() > 1)]
    return trust_effect(trials, apart, cells)


def rule_name(written: str) -> str:
    """A rule as its trial's table has it (a name, or a mapping as JSON), in short."""
    if not written.startswith("{"):
        return written
    options = json.loads(written)
    rest = ", ".join(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
                     for name, value in options.items() if name != "rule")  # fmt: skip
    return f"{options['rule']} ({rest})" if rest else options["rule"]


def draw(table: pd.DataFrame) -> Figure:
    """Rules from top to bottom, grouped by task; two panels share their rows."""
    rows, labels, headings, place = [], [], [], 0.0
    for task, members in table.groupby("task", sort=False):
        headings.append((place, str(task)))
        place += 1.0
        for row in members.itertuples(index=False):
            rows.append((place, row))
            labels.append((place, row.trust.replace(" (", "\n(") if len(row.trust) > LONG else row.trust))
            place += 1.0
        place += 0.3
    made = figure(WIDTH, 1.2 + 0.4 * place)
    axes = made.subplots(1, 2, sharey=True)
    for ax, (prefix, value, _, title) in zip(axes, _MEASURES, strict=True):
        ax.axvline(100, color=GOOD, linewidth=1.2, zorder=1)
        ax.axvline(0, color=MUTED, linewidth=0.8, linestyle=":", zorder=1)
        for at, row in rows:
            _mark(ax, at, *(100.0 * getattr(row, name) for name in (value, f"{prefix}_low", f"{prefix}_high")))
        ax.set_xlim(*LIMITS)
        ax.set_title(title)
        ax.set_xlabel("percent of fixed trust's; 100 is the aim", color=MUTED, fontsize=9)
        for side in ("left", "right", "top"):
            ax.spines[side].set_visible(False)
        ax.tick_params(left=False)
    axes[0].set_ylim(place, -0.8)
    axes[0].set_yticks([at for at, _ in labels], [name for _, name in labels], color=INK, fontsize=10)
    for at, task in headings:
        axes[0].annotate(
            task.upper(), (0, at), xycoords=("axes fraction", "data"), xytext=(-8, 0), textcoords="offset points",
            ha="right", va="center", fontsize=8.5, color=MUTED, fontweight="bold",
        )  # fmt: skip
    return made


def _mark(ax: Axes, at: float, value: float, low: float, high: float) -> None:
    if np.isnan(value):
        ax.annotate("nothing to measure", (0, at), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8,
                    color=MUTED)  # fmt: skip
        return
    left, right = np.clip([low, high], *LIMITS)
    ax.plot([left, right], [at, at], color=INK, linewidth=1.6, solid_capstyle="butt", zorder=2)
    inside = LIMITS[0] < value < LIMITS[1]
    shown = float(np.clip(value, *LIMITS))
    ax.plot([shown], [at], marker="o" if inside else (">" if value > 0 else "<"), markersize=7, color=INK, zorder=3,
            clip_on=False)  # fmt: skip
    ax.annotate(
        f"{value:.0f}", (shown, at), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=8, color=INK,
        bbox={"boxstyle": "square,pad=0.1", "color": PAPER}, zorder=4,
    )  # fmt: skip


def _table(table: pd.DataFrame) -> Table:
    body: list[list[Cell]] = []
    for task, members in table.groupby("task", sort=False):
        body.append([Cell(str(task))])
        for row in members.itertuples(index=False):
            cells = [Cell(row.trust)]
            for prefix, value, count, _ in _MEASURES:
                numbers = [100.0 * getattr(row, name) for name in (value, f"{prefix}_low", f"{prefix}_high")]
                cells.append(_cell(numbers, int(row.n)))
                cells.append(Cell(str(getattr(row, count))))
            body.append([*cells, Cell(str(row.n))])
    columns = ["trust", "harm removed, %", "harmed cells", "benefit kept, %", "helped cells", "seeds"]
    return Table(f"Against {FIXED} trust; a cell is one user at one alpha", columns, body)


def _cell(numbers: Sequence[float], n: int) -> Cell:
    value, low, high = numbers
    return Cell("–") if np.isnan(value) else Cell(f"{value:.0f}", f"{low:.0f} to {high:.0f}", n=n)
