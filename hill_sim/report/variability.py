"""The section on user variability: how much depends on who follows a strategy, and how much on which strategy it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pandas as pd

from hill_sim.errors import InvalidInput
from hill_sim.report.figure_variability import people
from hill_sim.report.section import Section
from hill_sim.report.study import POINTS, Study, in_points
from hill_sim.report.tables import Cell, Table, effect_cell, titled
from hill_sim.report.words import count_of
from hill_sim.risk.comparison import compare
from hill_sim.risk.variability import COLUMNS, Variability, variability
from hill_sim.trial import CE_SCALED

MEASURES = {"gain": "gain in test accuracy", "negative_flips": "negative flips", "churn": "churn"}
MOST_STRATEGIES = 5


def variability_sections(study: Study) -> Iterator[Section]:
    """One, if several persons followed the same strategy."""
    trials = person_trials(study)
    if trials.empty or not (found := components(trials, "gain")):
        return
    persons = person_table(trials)
    strategies = [user for user in study.users if user in set(trials["user"])]
    where = f"{trials['setting'].iloc[0]}, alpha {trials['alpha'].iloc[0]:g}"
    more = len(strategies) - MOST_STRATEGIES
    left_out = f" Left out as incomplete: {', '.join(found.lost)}." if found.lost else ""
    yield Section(
        "people",
        "The strategy, or the person?",
        f"{count_of(trials['person'].nunique(), 'person')} follow each strategy ({where}), with hands, eyes and shown "
        f"points of their own. Right: whose doing the spread of {found.n:,} gains is, with 95 % intervals; a component "
        "whose interval reaches 0 cannot be told from chance. Where person counts for little beside strategy, a few "
        f"people suffice to judge a strategy.{left_out}"
        + (f" {more} more strategies are in the table." if more > 0 else ""),
        f"Gain of every person under {len(strategies)} strategies, and components of variance with intervals.",
        lambda: people(persons, found.table, strategies[:MOST_STRATEGIES], MEASURES["gain"]),
        tables=[_components_table(trials)],
        details=[("Every person", [_person_cells(persons, trials, user) for user in strategies])],
    )


def person_trials(study: Study) -> pd.DataFrame:
    """The trials in which several persons took part, of the first setting that has such, at its loudest alpha; `person`
    is who."""
    trials = study.trials[study.trials["policy"] != CE_SCALED]
    trials = trials.assign(person=[json.loads(user or "{}").get("seed", 0) for user in trials["user_options"]])
    trials = trials[trials.groupby(["setting", "alpha", "user"])["person"].transform("nunique") > 1]
    trials = trials[trials["setting"].isin(trials["setting"].iloc[:1])]
    return trials[trials["alpha"] == trials["alpha"].max()]


def components(trials: pd.DataFrame, measure: str) -> Variability | None:
    """`risk.variability` of strategies, persons and seeds; None where too few are left to tell."""
    cells = trials.rename(columns={"user": "strategy"})[["strategy", "person", "seed", measure]]
    try:
        return variability(cells, measure)
    except InvalidInput:
        return None


def component_table(trials: pd.DataFrame) -> pd.DataFrame:
    """One row per measure and component: `risk.variability.COLUMNS`, as standard deviations in points."""
    parts = [
        found.table.assign(measure=measure, mean=POINTS * found.mean, n=found.n)
        for measure in MEASURES
        if (found := components(trials, measure)) is not None
    ]
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*COLUMNS, "measure", "mean", "n"])
    deviations = {name: POINTS * table[name].astype(float) ** 0.5 for name in ("variance", "low", "high")}
    return table.assign(**deviations).rename(columns={"variance": "deviation"})


def person_table(trials: pd.DataFrame) -> pd.DataFrame:
    """One row per strategy and person: the gain over the seeds, in points."""
    return in_points(compare(trials, ["user", "kind", "person"], "gain", ("twin",)))


def _components_table(trials: pd.DataFrame) -> Table:
    table = component_table(trials)
    found = {(r.component, r.measure): r for r in table.itertuples(index=False)}
    names = list(dict.fromkeys(table["component"]))
    shown = [m for m in MEASURES if (names[0], m) in found]
    rows = [[Cell(_named(found[name, shown[0]])), *(_deviation(found[name, m]) for m in shown)] for name in names]
    n = int(table["n"].max())
    return Table(f"Standard deviations in points, n = {n:,} trials", ["component", *(MEASURES[m] for m in shown)], rows)


def _named(row: Any) -> str:
    return f"{row.component} ({row.levels})" if row.levels else str(row.component)


def _deviation(row: Any) -> Cell:
    nothing = " (estimate below 0)" if row.negative else ""
    return Cell(f"{row.deviation:.2f}", f"[{row.low:.2f}, {row.high:.2f}], {row.share:.0%} of the variance{nothing}")


def _person_cells(persons: pd.DataFrame, trials: pd.DataFrame, user: str) -> Table:
    limits = dict(zip(trials["person"], trials["user_options"], strict=True))
    part = persons[persons["user"] == user].sort_values("iqm", ascending=False)
    rows = []
    for row in part.itertuples(index=False):
        who = ", ".join(f"{k} {_said(v)}" for k, v in json.loads(limits[row.person]).items() if k != "seed")
        rows.append([Cell(f"person {row.person}"), Cell(who or "no limits"), effect_cell(row)])
    return Table(titled(user, part.itertuples(index=False)), ["person", "limits", "gain"], rows)


def _said(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)
