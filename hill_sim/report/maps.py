"""Sections of maps: users over settings, and alpha against a second parameter of the grid."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from hill_sim.report.figure_map import HeatMap, Row, heat_maps
from hill_sim.report.section import Section
from hill_sim.report.study import Study, in_points
from hill_sim.report.tables import Cell, Table, effect_cell, titled
from hill_sim.report.words import alphas
from hill_sim.risk.comparison import compare

MEASURES = {
    "gain": ("gain in test accuracy", 1),
    "negative_flips": ("negative flips", -1),
    "generalisation_gap_change": ("generalisation gap", -1),
}
"""What a map shows: benefit, bias against what was right, overfitting; and which way is good."""
MANY_SETTINGS = 3
MOST_ROWS, MOST_MAPS = 24, 4


def map_sections(study: Study) -> Iterator[Section]:
    """Alpha against another parameter where the grid has one; users over settings where there are many of these."""
    place = second_parameter(study)
    if place:
        yield _parameter_map(study, place)
    elif len(study.settings) >= MANY_SETTINGS and study.trials.groupby("user")["setting"].nunique().max() > 1:
        yield _setting_map(study)


def setting_table(study: Study) -> pd.DataFrame:
    """One row per setting, user and measure: the effect against the twin, all alphas of a seed averaged; in points."""
    parts = [study.change(measure).assign(measure=measure) for measure in MEASURES]
    return pd.concat(parts, ignore_index=True)


def second_parameter(study: Study) -> str:
    """The parameter beside alpha that the sweep's grid varies over at least two numbers; empty if there is none."""
    if len(study.alphas) < 2:
        return ""
    spec = study.runs.info.get("spec", {})
    grids = [part.get("grid", {}) for part in (spec, *spec.get("cases", []))] if spec else [{"lam": None}]
    for place in dict.fromkeys(place for grid in grids for place in grid):
        if place != "alpha" and study.trials.groupby("case")[[place.partition(".")[0]]].nunique().max().iloc[0] > 1:
            values = {_value(row, place) for row in study.trials.to_dict("records")}
            if len(values) > 1 and all(isinstance(value, int | float) for value in values):
                return place
    return ""


def parameter_table(study: Study, place: str) -> pd.DataFrame:
    """One row per case, user, alpha, value of the parameter and measure: the effect against the twin, in points."""
    records = study.trials[[*{place.partition(".")[0]}]].to_dict("records")
    trials = study.trials.assign(value=[_value(row, place) for row in records])
    by = ["case", "kind", "user", "alpha", "value"]
    parts = [in_points(compare(trials, by, measure, ("twin",))).assign(measure=measure) for measure in MEASURES]
    return pd.concat(parts, ignore_index=True)


def _value(row: Mapping[str, Any], place: str) -> Any:
    head, _, inside = place.partition(".")
    if not inside:
        return row[head]
    options = json.loads(row[head]) if str(row[head]).startswith("{") else {}
    return options.get(inside)


def _parameter_map(study: Study, place: str) -> Section:
    table = parameter_table(study, place)
    case = next(c for c in dict.fromkeys(table["case"]) if table.loc[table["case"] == c, "value"].nunique() > 1)
    table = table[table["case"] == case].rename(columns={"value": "row", "alpha": "column"})
    users = [user for user in study.users if user in set(table["user"])]
    shown = sorted(users, key=lambda user: study.kinds[user] == "control")[:MOST_MAPS]
    ups = [(v, f"{v:g}") for v in sorted(table["row"].unique(), reverse=True)]
    across = [(a, f"{a:g}") for a in sorted(table["column"].unique())]
    rows = [
        Row(
            title, [HeatMap(u, table[(table["user"] == u) & (table["measure"] == m)], ups, across) for u in shown], good
        )
        for m, (title, good) in MEASURES.items()
    ]
    more = f" {len(users) - len(shown)} more users are in the table below." if len(users) > len(shown) else ""
    name = place.rpartition(".")[2]
    return Section(
        "map",
        f"Does {name} change how loud the user may be?",
        f"Each panel is one user under one measure: {name} upwards, alpha to the right, effects against the twin. "
        f"Orange is worse, blue better; a number stands where the 95 % interval excludes 0.{more}",
        f"Heat maps of {', '.join(title for title, _ in MEASURES.values())} over alpha and {name} for each user.",
        lambda: heat_maps(rows, "alpha", name),
        details=[("Every number with its interval", [_parameter_cells(table, user, name) for user in users])],
    )


def _part(table: pd.DataFrame, user: str, measure: str) -> pd.DataFrame:
    return table[(table["user"] == user) & (table["measure"] == measure)]


def _parameter_cells(table: pd.DataFrame, user: str, name: str) -> Table:
    own = table[table["user"] == user]
    rows = []
    for (value, alpha), part in own.groupby(["row", "column"]):
        found = {row.measure: row for row in part.itertuples(index=False)}
        cells = [effect_cell(found[measure], good=good) for measure, (_, good) in MEASURES.items()]
        rows.append([Cell(f"{name} {value:g}, alpha {alpha:g}"), *cells])
    return Table(titled(user, own.itertuples(index=False)), [name, *(title for title, _ in MEASURES.values())], rows)


def _setting_map(study: Study) -> Section:
    table = setting_table(study).rename(columns={"setting": "row", "user": "column"})
    tried = table.groupby("column")["row"].nunique()
    compared = [user for user in study.users if tried.get(user, 0) > 1]  # a user of one setting compares nothing
    there = set(table.loc[table["column"].isin(compared), "row"])
    shown = [setting for setting in study.settings if setting in there][:MOST_ROWS]
    settings, users = [(s, s) for s in shown], [(u, u) for u in compared]
    rows = [
        Row(title, [HeatMap(title, table[table["measure"] == measure], settings, users)], good)
        for measure, (title, good) in MEASURES.items()
    ]
    return Section(
        "settings",
        "Does it hold everywhere?",
        f"Each row is one setting, each column one user: effect against the twin, mean over {alphas(study.alphas)}. "
        "Orange is worse, blue better; a number stands where the 95 % interval excludes 0.",
        f"Heat maps of {', '.join(title for title, _ in MEASURES.values())}, settings by users.",
        lambda: heat_maps(rows, "", ""),
        details=[("Every number with its interval", [_setting_cells(table, m, shown, compared) for m in MEASURES])],
    )


def _setting_cells(table: pd.DataFrame, measure: str, settings: Sequence[str], users: Sequence[str]) -> Table:
    title, good = MEASURES[measure]
    found = {(r.row, r.column): r for r in table[table["measure"] == measure].itertuples(index=False)}
    rows = [[Cell(s), *(effect_cell(found[s, u], good=good) if (s, u) in found else Cell("–") for u in users)]
            for s in settings]  # fmt: skip
    return Table(titled(title, found.values()), ["setting", *users], rows)
