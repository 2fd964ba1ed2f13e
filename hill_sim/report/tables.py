"""Tables of the page: every number of the figures, with its interval and its seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hill_sim.report.figure_classes import parts_shown
from hill_sim.report.study import EPS_POINTS, KIND_TITLES, POINTS, Study, sure
from hill_sim.report.verdicts import verdicts
from hill_sim.report.words import crossing, effect, p_value, points
from hill_sim.risk.comparison import REFERENCES
from hill_sim.risk.groups import group_intervals


@dataclass(frozen=True)
class Cell:
    """Text, what stands small beside it, -1, 0 or +1 for its colour, and the number of seeds behind it."""

    text: str
    small: str = ""
    sign: int = 0
    n: int = 0


@dataclass(frozen=True)
class Table:
    """Rows of cells; a row of one cell is a heading across the table."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    @property
    def says_n(self) -> bool:
        """Whether the cells differ in their number of seeds, so that each must say its own."""
        return len({cell.n for row in self.rows for cell in row if cell.n}) > 1


def leaderboard(study: Study, setting: str) -> Table:
    """Users against the twin and the controls, all alphas of a seed averaged."""
    table = study.overall[study.overall["setting"] == setting]
    rows, run = {(r.user, r.against): r for r in table.itertuples(index=False)}, references_run(table)
    body: list[list[Cell]] = []
    kind = ""
    for verdict in verdicts(study, setting):
        if verdict.kind != kind:
            kind = verdict.kind
            body.append([Cell(KIND_TITLES[kind])])
        twin = verdict.twin
        seeds = Cell(f"{int(twin.better)} of {int(twin.n)}") if twin.n else Cell("–")
        cells = [effect_cell(rows[verdict.user, name], name) for name in run]
        sign = {"helps": 1, "harms": -1}.get(verdict.word, 0)
        tested = Cell(p_value(twin.p_holm) if twin.n else "–")
        body.append([Cell(verdict.user, verdict.says, sign), cells[0], seeds, tested, *cells[1:]])
    columns = ["user", "against twin", "better in seeds", "p (Holm)", *_against(run[1:])]
    return Table(titled(setting, rows.values()), columns, body)


def by_alpha(study: Study, setting: str) -> Table:
    """The same at each alpha."""
    table = study.by_alpha[study.by_alpha["setting"] == setting]
    rows, run = {(r.user, r.alpha, r.against): r for r in table.itertuples(index=False)}, references_run(table)
    body: list[list[Cell]] = []
    for user in study.users:
        alphas = sorted(alpha for name, alpha, against in rows if name == user and against == "twin")
        if alphas:
            body.append([Cell(user)])
        for alpha in alphas:
            twin = rows[user, alpha, "twin"]
            cells = [effect_cell(rows[user, alpha, name], name) for name in run]
            seeds = f"{int(twin.better)} of {int(twin.n)}" if twin.n else "–"
            body.append([Cell(f"{alpha:g}"), cells[0], Cell(seeds), *cells[1:]])
    columns = ["alpha", "against twin", "better in seeds", *_against(run[1:])]
    return Table(titled(setting, rows.values()), columns, body)


def per_part(study: Study, setting: str, table: pd.DataFrame, part: str, names: Sequence[str],
             sizes: Sequence[int | None]) -> Table:  # fmt: skip
    """Change in each class or group: `part` names the table's column."""
    shown = parts_shown(table, part)
    table = table[table["setting"] == setting].rename(columns={part: "part"})
    rows = {(r.user, r.part): r for r in table.itertuples(index=False)}
    heads = [f"{names[c]}" + ("" if sizes[c] is None else f" (n={sizes[c]})") for c in shown]
    body = [
        [Cell(user), *(effect_cell(rows[user, c]) for c in shown)]
        for user in study.users
        if shown and (user, shown[0]) in rows
    ]
    return Table(titled(setting, rows.values()), ["user", *heads], body)


def twins_by_group(study: Study) -> Table:
    """How accurate the twin is in each group, which is what the changes are changes of."""
    names, sizes = study.groups
    pairs = [(a, g) for a, g in zip(study.done["group_accuracy"], study.done["group_gain"], strict=True) if len(g)]
    accuracy = np.mean([np.subtract(own, gain) for own, gain in pairs], axis=0)
    known = [size or 0 for size in sizes]
    low, high = group_intervals(accuracy, np.array(known))
    body = [
        [Cell(names[g]), Cell("–" if sizes[g] is None else f"{sizes[g]:,}"),
         Cell(f"{POINTS * accuracy[g]:.1f} %",
              f"[{POINTS * low[g]:.1f}, {POINTS * high[g]:.1f}]" if known[g] else "")]
        for g in np.flatnonzero(~np.isnan(accuracy)).tolist()
    ]  # fmt: skip
    title = "The twin's accuracy, mean over the trials; Wilson's 95 % interval, of one model on that many test samples"
    return Table(title, ["group", "test samples", "accuracy of the twin"], body)


def measures(
    study: Study, setting: str, found: Sequence[pd.DataFrame], columns: Sequence[tuple[str, int, int]]
) -> Table:
    """Several measures side by side.

    Args:
        found: per measure the rows of `Study.change` of this setting.
        columns: per measure its title, its good direction (+1, -1, 0) and its digits.
    """
    rows = [{row.user: row for row in table.itertuples(index=False)} for table in found]
    body = [
        [
            Cell(user),
            *(effect_cell(r[user], "", good, digits) for r, (_, good, digits) in zip(rows, columns, strict=True)),
        ]
        for user in study.users
        if user in rows[0]
    ]
    every = [row for of_user in rows for row in of_user.values()]
    return Table(titled(setting, every), ["user", *(title for title, _, _ in columns)], body)


def shrugging_off(study: Study, setting: str, downside: pd.DataFrame, index: pd.DataFrame) -> Table:
    """Threshold in alpha, risk and shortfall, and the conflict index of each user."""

    def of(table: pd.DataFrame) -> dict[str, Any]:
        return {row.user: row for row in table[table["setting"] == setting].itertuples(index=False)}

    crossings, risks, indices = of(study.thresholds), of(downside), of(index)
    body = []
    for user in (user for user in study.users if user in crossings):
        found, risk = crossings[user], risks[user]
        value, _, interval = crossing(found).partition(" ")
        surely = (
            "–" if math.isnan(found.sure_from) else "never" if math.isinf(found.sure_from) else f"{found.sure_from:g}"
        )
        n = int(found.n)
        body.append([
            Cell(user), Cell(value, interval, n=n), Cell(surely, n=n),
            Cell(f"{risk.risk:.0f} %", f"[{risk.risk_low:.0f}, {risk.risk_high:.0f}]", n=n) if n else Cell("–"),
            effect_cell(risk, "", 1), effect_cell(indices[user], "", 0, 2),
        ])  # fmt: skip
    eps = f"{EPS_POINTS:g} point"
    columns = ["user", f"loses > {eps} from alpha", "surely from alpha", f"chance to lose > {eps}",
               "mean of the worst quarter of seeds", "conflict index"]  # fmt: skip
    return Table(titled(setting, crossings.values()), columns, body)


def references_run(table: pd.DataFrame) -> list[str]:
    """The twin, and the controls that somebody can be compared with."""
    run = set(table.loc[table["n"] > 0, "against"])
    return [name for name in REFERENCES if name == "twin" or name in run]


def titled(setting: str, rows: Iterable[Any]) -> str:
    """The setting, and how many seeds stand behind the numbers."""
    counts = sorted({int(row.n) for row in rows if row.n})
    if not counts:
        return setting
    n = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}, see each cell"
    return f"{setting} · points, n = {n} seeds" if n != "1" else f"{setting} · points, n = 1 seed"


def effect_cell(row: Any, against: str = "", good: int = 1, digits: int = 1) -> Cell:
    """An effect with its interval; `row` has iqm, low, high, n and note, `good` says which way is good (0: neither)."""
    if row.n == 0:
        return Cell("–", "itself" if "itself" in row.note else "not run" if against not in ("", "twin") else "no trial")
    interval = effect(row, digits)
    return Cell(points(row.iqm, digits), interval[interval.index("[") :], sure(row) * good, int(row.n))


def _against(names: Sequence[str]) -> list[str]:
    return [f"against {name}" for name in names]
