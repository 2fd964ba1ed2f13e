"""What a search found: the best candidates, how it went, and which parameters mattered."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hill_sim.engine.results import RunSet
from hill_sim.report import style
from hill_sim.report.headline import Statement
from hill_sim.report.section import Section
from hill_sim.report.tables import Cell, Table
from hill_sim.report.words import count_of, listed, short
from hill_sim.sweep.search.spec import Objective, SearchSpec
from hill_sim.sweep.search.table import FEWEST, best, importances

SHOWN = 10
_SHARES = ("accuracy", "gain", "recall", "flips", "churn", "f1", "gap", "disparity", "confusion", "group")


class Found:
    """A run's search and its candidates; `of` gives None for a run without one."""

    def __init__(self, search: SearchSpec, table: pd.DataFrame) -> None:
        self.search, self.table = search, table
        self.best = best(table, search)
        self.front = len(search.objectives) > 1

    @classmethod
    def of(cls, runs: RunSet) -> Found | None:
        if "candidates" not in runs.info:
            return None
        return cls(SearchSpec.model_validate(runs.info["spec"]["search"]), runs.info["candidates"])


def search_headline(found: Found) -> list[Statement]:
    """The best candidate, or the front, and why it is not to be believed yet."""
    states = found.table["state"].value_counts()
    tried = ", ".join(f"{count_of(int(states.get(s, 0)), 'candidate')} {s}" for s in ("complete", "pruned", "failed")
                      if states.get(s, 0))  # fmt: skip
    if found.best.empty:
        why = "none keeps the bounds" if states.get("complete", 0) else "none is complete"
        return [Statement("bad", "", f"No candidate is feasible: {why}.", detail=f"{tried or 'None has ended'}.")]
    luck = (
        f"Chosen as the best of {len(found.table):,}, on the seeds that it is shown for: part of it is luck. Run it on "
        "seeds that the search has not seen before believing it."
    )
    if found.front:
        lead = f"{count_of(len(found.best), 'candidate')} that no other beats in all objectives."
        return [Statement("none", "", lead, detail=f"{tried}. {luck}")]
    row, objective = found.best.iloc[0], found.search.objectives[0]
    items = ((objective.name, value_of(row, objective), count_of(int(row["seeds"]), "seed")),)
    lead = f"Best: candidate {row['candidate']}, {_params(found, row)}."
    return [Statement("none", "", lead, items, f"{tried}. {luck}")]


def search_sections(found: Found) -> Iterator[Section]:
    """Best candidates and history, or the front; importances; each parameter against the first objective."""
    if not (found.table["state"] == "complete").any():
        return
    first, tables = found.search.objectives[0], [_best_table(found)]
    if found.front:
        yield Section(
            "front", "What can be had at the price of what?",
            "Each dot is a candidate; the dark ones, listed below, are those that no other beats in all objectives; "
            "bars are their 95 % intervals over the seeds.",
            "Scatter plot of the first two objectives with the Pareto front; the table below holds the front.",
            lambda: _front(found), tables=tables,
        )  # fmt: skip
    yield Section(
        "history", "How did the search go?",
        f"Each dot is a candidate in the order in which they were proposed; the line is the best {first.name} so far"
        f"{', among those that keep the bounds' if found.search.feasible else ''}.",
        f"Scatter plot of {first.name} against the number of the candidate; the table below holds the best.",
        lambda: _history(found), tables=() if found.front else tables,
    )  # fmt: skip
    shares = importances(found.table, found.search)
    if not shares.empty:
        yield Section(
            "importance", "Which parameters matter?",
            "PED-ANOVA: how much each parameter decides whether a candidate is among the best tenth. The shares of an "
            "objective add up to 1, whether it depends on much or on little.",
            "Bars of the importance of each parameter for each objective.",
            lambda: _importance(shares),
        )  # fmt: skip
    yield Section(
        "slices", "Where are the good ones?",
        f"{first.name} against each parameter, all others varying; later candidates are darker."
        + (" Black: the median of each tenth of the candidates, or of each choice." if _many(found) else ""),
        f"Scatter plots of {first.name} against each of {len(found.search.space)} parameters.",
        lambda: _slices(found),
    )  # fmt: skip


def search_text(found: Found, width: int = 100) -> str:
    """The best candidates as text for a terminal."""
    table = _best_table(found)
    rows = [list(table.columns), *([cell.text for cell in row] for row in table.rows)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.columns))]
    lines = [line for s in search_headline(found) for line in textwrap.wrap(str(s), width, subsequent_indent="  ")]
    lines += ["", *("  ".join(text.rjust(w) for text, w in zip(row, widths, strict=True))[:width] for row in rows)]
    shares = importances(found.table, found.search)
    for name, group in shares.groupby("objective", sort=False):
        ranked = group.sort_values("importance", ascending=False, kind="stable")
        parts = [f"{place} {share:.2f}" for place, share in zip(ranked["parameter"], ranked["importance"], strict=True)]
        lines += ["", f"what decides {name}: {listed(parts)} (PED-ANOVA)"]
    if shares.empty:
        lines += ["", f"fewer than {FEWEST} complete candidates: nothing is said about which parameters matter"]
    return "\n".join(lines)


def value_of(row: pd.Series, objective: Objective) -> str:
    """`+1.2 [+0.4, +1.9] points`: shares in percentage points, signed where they are changes."""
    scale, unit = _scale(objective)
    sign = "+" if objective.measure == "gain" or objective.measure.endswith("_change") else ""
    text = [f"{scale * row[name]:{sign}.{2 if scale > 1 else 4}f}".replace("-", "−") for name in
            (objective.name, f"{objective.name} low", f"{objective.name} high")]  # fmt: skip
    interval = "[one seed]" if math.isnan(row[f"{objective.name} low"]) else f"[{text[1]}, {text[2]}]"
    return f"{text[0]} {interval}{unit}"


def _scale(objective: Objective) -> tuple[float, str]:
    return (100.0, " points") if any(word in objective.measure for word in _SHARES) else (1.0, "")


def _axis(objective: Objective) -> str:
    unit = _scale(objective)[1]
    return f"{objective.name},{unit}" if unit else objective.name


def _params(found: Found, row: pd.Series) -> str:
    return ", ".join(f"{place} {_value(row[place])}" for place in found.search.space)


def _value(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _best_table(found: Found) -> Table:
    objectives = found.search.objectives
    rows = [
        [Cell(str(row["candidate"])), *(Cell(value_of(row, o)) for o in objectives),
         *(Cell(_value(row[place])) for place in found.search.space)]
        for _, row in found.best.head(SHOWN).iterrows()
    ]  # fmt: skip
    seeds = count_of(int(found.table["seeds"].iloc[0]), "seed") if len(found.table) else "no seed"
    title = f"{'The front' if found.front else 'The best candidates'}, with 95 % intervals over {seeds}"
    return Table(title, ["candidate", *(o.name for o in objectives), *found.search.space], rows)


def _history(found: Found) -> Figure:
    first, table = found.search.objectives[0], found.table
    made = style.figure(style.WIDTH, 3.6)
    axes = made.add_subplot()
    done = table[table["state"] == "complete"]
    values, kept = _scale(first)[0] * done[first.name], done["feasible"].astype(bool)
    axes.scatter(done["candidate"][kept], values[kept], s=14, color=style.GOOD, alpha=0.6, linewidth=0)
    if not kept.all():
        broken = done["candidate"][~kept]
        axes.scatter(broken, values[~kept], s=18, marker="x", color=style.BAD, linewidth=1, label="breaks a bound")
    gone = table["candidate"][table["state"] != "complete"]
    if len(gone):
        foot = np.full(len(gone), values.min() - 0.06 * (values.max() - values.min()))
        axes.scatter(gone, foot, s=22, marker="|", color=style.MUTED, label="pruned or failed")
    so_far = values[kept].cummax() if first.direction == "maximize" else values[kept].cummin()
    axes.step(done["candidate"][kept], so_far, where="post", color=style.INK, linewidth=1.5, label="best so far")
    if found.search.paced and table["generation"].max() < 40:
        for number in table.groupby("generation")["candidate"].min().iloc[1:]:
            axes.axvline(number - 0.5, color=style.RULE, linewidth=0.8, zorder=0)
    axes.set(xlabel="candidate", ylabel=_axis(first))
    made.legend(loc="outside upper left", ncols=3, frameon=False)
    return made


def _front(found: Found) -> Figure:
    made = style.figure(style.WIDTH, 4.6)
    axes = made.add_subplot()
    one, two = found.search.objectives[:2]
    (sx, _), (sy, _) = _scale(one), _scale(two)
    done = found.table[found.table["state"] == "complete"]
    axes.scatter(sx * done[one.name], sy * done[two.name], s=14, color=style.MUTED, alpha=0.45, linewidth=0)
    for _, row in found.best.iterrows():
        x, y = sx * row[one.name], sy * row[two.name]
        across, up = (
            (sx * row[f"{one.name} {end}"] for end in ("low", "high")),
            (sy * row[f"{two.name} {end}"] for end in ("low", "high")),
        )
        axes.hlines(y, *across, color=style.GOOD, linewidth=0.8, alpha=0.5)
        axes.vlines(x, *up, color=style.GOOD, linewidth=0.8, alpha=0.5)
    axes.scatter(sx * found.best[one.name], sy * found.best[two.name], s=40, color=style.GOOD, zorder=3, linewidth=0)
    better = {"maximize": "more is better", "minimize": "less is better"}
    axes.set(xlabel=f"{_axis(one)} ({better[one.direction]})", ylabel=f"{_axis(two)}\n({better[two.direction]})")
    return made


def _importance(shares: pd.DataFrame) -> Figure:
    objectives = list(dict.fromkeys(shares["objective"]))
    order = shares.groupby("parameter")["importance"].mean().sort_values().index
    made = style.figure(style.WIDTH, 0.8 + 0.38 * len(order))
    for index, name in enumerate(objectives):
        axes = made.add_subplot(1, len(objectives), index + 1)
        values = shares[shares["objective"] == name].set_index("parameter")["importance"].reindex(order)
        axes.barh(range(len(order)), values, color=style.GOOD, height=0.65)
        for place, value in enumerate(values):
            axes.text(value + 0.01, place, f"{value:.2f}", va="center", color=style.INK)
        axes.set_yticks(range(len(order)), list(order) if index == 0 else [""] * len(order))
        axes.set(xlim=(0, max(values.max() * 1.15, 0.1)), xlabel=f"share, for {name}")
    return made


def _slices(found: Found) -> Figure:
    first, places = found.search.objectives[0], list(found.search.space)
    scale, _ = _scale(first)
    done = found.table[found.table["state"] == "complete"]
    columns = min(3, len(places))
    made = style.figure(style.WIDTH, 2.9 * math.ceil(len(places) / columns))
    shared: Axes | None = None
    for index, dimension in enumerate(found.search.dimensions):
        axes = made.add_subplot(math.ceil(len(places) / columns), columns, index + 1, sharey=shared)
        shared = shared or axes
        given, labels = done[dimension.place], None
        if dimension.choices:
            choices = [v if isinstance(v, str) else json.dumps(v) for v in dimension.choices]
            spread = (done["candidate"] * 0.618 % 1 - 0.5) * 0.5  # side by side, not on top of each other
            given, labels = given.map(dimension.encoded.index) + spread, choices
        values = scale * done[first.name]
        axes.scatter(given, values, s=min(14, 6000 / len(done)), c=done["candidate"], cmap="Blues",
                     linewidth=min(0.3, 60 / len(done)), edgecolor=style.MUTED, vmin=-0.5 * len(done))  # fmt: skip
        if _many(found):
            for x, y in _medians(given, values, bool(labels)):
                axes.plot(x, y, color=style.INK, linewidth=1.8)
        if labels:
            names = [short(text, 18) for text in labels]
            turned: dict[str, Any] = (
                {"rotation": 25, "ha": "right", "rotation_mode": "anchor"} if sum(map(len, labels)) > 24 else {}
            )
            axes.set_xticks(range(len(labels)), names, **turned)
        if getattr(dimension.distribution, "log", False):
            axes.set_xscale("log")
        axes.set(xlabel=dimension.place)
        if index % columns == 0:
            axes.set(ylabel=_axis(first))
    return made


def _many(found: Found) -> bool:
    """More dots than the eye finds the middle of."""
    return int((found.table["state"] == "complete").sum()) >= 100


def _medians(given: pd.Series, values: pd.Series, choices: bool) -> Iterator[tuple[Sequence[float], Sequence[float]]]:
    """Lines: one through the medians of ten equally large groups, or a bar across each choice."""
    if choices:
        for place, median in values.groupby(given.round()).median().items():
            yield (place - 0.3, place + 0.3), (median, median)
    else:
        tenths = pd.qcut(given, 10, labels=False, duplicates="drop")
        yield given.groupby(tenths).median().tolist(), values.groupby(tenths).median().tolist()
