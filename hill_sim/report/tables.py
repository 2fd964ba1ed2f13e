"""Tables of the page: every number of the figures, with its interval and its seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hill_sim.report.figure_classes import classes_shown
from hill_sim.report.study import KIND_TITLES, Study, sure
from hill_sim.report.verdicts import verdicts
from hill_sim.report.words import effect, p_value, points
from hill_sim.risk.comparison import REFERENCES


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
    rows = {(r.user, r.against): r for r in study.overall[study.overall["setting"] == setting].itertuples(index=False)}
    body: list[list[Cell]] = []
    kind = ""
    for verdict in verdicts(study, setting):
        if verdict.kind != kind:
            kind = verdict.kind
            body.append([Cell(KIND_TITLES[kind])])
        twin = verdict.twin
        seeds = Cell(f"{int(twin.better)} of {int(twin.n)}") if twin.n else Cell("–")
        cells = [_cell(rows[verdict.user, name], name) for name in REFERENCES]
        sign = {"helps": 1, "harms": -1}.get(verdict.word, 0)
        tested = Cell(p_value(twin.p_holm) if twin.n else "–")
        body.append([Cell(verdict.user, verdict.says, sign), cells[0], seeds, tested, *cells[1:]])
    columns = ["user", "against twin", "better in seeds", "p (Holm)", *_against(REFERENCES[1:])]
    return Table(_title(setting, rows.values()), columns, body)


def by_alpha(study: Study, setting: str) -> Table:
    """The same at each alpha."""
    table = study.by_alpha[study.by_alpha["setting"] == setting]
    rows = {(r.user, r.alpha, r.against): r for r in table.itertuples(index=False)}
    body: list[list[Cell]] = []
    for user in study.users:
        alphas = sorted(alpha for name, alpha, against in rows if name == user and against == "twin")
        if alphas:
            body.append([Cell(user)])
        for alpha in alphas:
            twin = rows[user, alpha, "twin"]
            cells = [_cell(rows[user, alpha, name], name) for name in REFERENCES]
            seeds = f"{int(twin.better)} of {int(twin.n)}" if twin.n else "–"
            body.append([Cell(f"{alpha:g}"), cells[0], Cell(seeds), *cells[1:]])
    columns = ["alpha", "against twin", "better in seeds", *_against(REFERENCES[1:])]
    return Table(_title(setting, rows.values()), columns, body)


def per_class(study: Study, setting: str) -> Table:
    """Change of each class's recall."""
    names, sizes = study.classes
    shown = classes_shown(study.per_class, len(names))
    table = study.per_class[study.per_class["setting"] == setting].rename(columns={"class": "cls"})
    rows = {(r.user, r.cls): r for r in table.itertuples(index=False)}
    heads = [f"{names[c]}" + ("" if sizes[c] is None else f" (n={sizes[c]})") for c in shown]
    body = [
        [Cell(user), *(_cell(rows[user, c]) for c in shown)]
        for user in study.users
        if shown and (user, shown[0]) in rows
    ]
    return Table(_title(setting, rows.values()), ["user", *heads], body)


def harm(study: Study, setting: str, measures: dict[str, tuple[str, int]]) -> Table:
    """Changes of several measures against the twin; `measures` gives a title and which way is good."""
    found = {}
    for measure in measures:
        table = study.change(measure)
        for row in table[table["setting"] == setting].itertuples(index=False):
            found[row.user, measure] = row
    body = [
        [Cell(user), *(_cell(found[user, m], good=good) for m, (_, good) in measures.items())]
        for user in study.users
        if (user, next(iter(measures))) in found
    ]
    return Table(_title(setting, found.values()), ["user", *(title for title, _ in measures.values())], body)


def _title(setting: str, rows: Iterable[Any]) -> str:
    """The setting, and how many seeds stand behind the numbers."""
    counts = sorted({int(row.n) for row in rows if row.n})
    if not counts:
        return setting
    n = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}, see each cell"
    return f"{setting} · points, n = {n} seeds" if n != "1" else f"{setting} · points, n = 1 seed"


def _cell(row: Any, against: str = "", good: int = 1) -> Cell:
    if row.n == 0:
        return Cell("–", "itself" if "itself" in row.note else "not run" if against not in ("", "twin") else "no trial")
    interval = effect(row)
    return Cell(points(row.iqm), interval[interval.index("[") :], sure(row) * good, int(row.n))


def _against(names: Sequence[str]) -> list[str]:
    return [f"against {name}" for name in names]
