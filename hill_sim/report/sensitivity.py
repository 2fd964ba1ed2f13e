"""The section on sensitivity: which parameter of a Sobol design decides the outcome."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from hill_sim.engine.results import RunSet
from hill_sim.report.figure_sobol import sobol
from hill_sim.report.section import Section
from hill_sim.report.study import Study
from hill_sim.report.tables import Cell, Table
from hill_sim.report.words import count_of
from hill_sim.risk.sensitivity import SobolIndices, sobol_indices
from hill_sim.sweep.design import Design
from hill_sim.trial import plain

MEASURES = {
    "gain": "gain in test accuracy",
    "negative_flips": "negative flips",
    "generalisation_gap_change": "generalisation gap",
}
COLUMNS = ("case", "user", "measure", "parameter", "order", "index", "low", "high", "residue", "noise", "noise_low",
           "noise_high", "rows", "rows_lost", "seeds", "deviation")  # fmt: skip


def sensitivity_sections(study: Study) -> Iterator[Section]:
    """One for each case with a design."""
    table = sensitivity_table(study.whole)
    for case, part in table.groupby("case", sort=False):
        users, parameters = list(dict.fromkeys(part["user"])), list(dict.fromkeys(part["parameter"]))
        first = part.iloc[0]
        failed, seeds = int(part["rows_lost"].max()), count_of(int(first["seeds"]), "seed")
        lost = f", {count_of(failed, 'row')} lost to failed trials," if failed else ""
        yield Section(
            f"sensitivity-{case}" if case else "sensitivity",
            "Which parameter decides?",
            f"Sobol's indices of a design of {int(first['rows'])} rows{lost} with {seeds} at each point: the share of "
            "the outcome's variance that a parameter decides alone, and the share that it has a hand in, with 95 % "
            "bootstrap intervals. The outcome is the mean over the seeds; a total index left of the dashed line is no "
            "more than the chance that this mean still holds.",
            f"First-order and total indices of {len(parameters)} parameters for {count_of(len(users), 'user')}.",
            lambda part=part, users=users, parameters=parameters: sobol(part, users, MEASURES, parameters),  # type: ignore[misc]
            details=[("Every number with its interval", [_table(part, user) for user in users])],
        )


def sensitivity_table(runs: RunSet) -> pd.DataFrame:
    """One row per case, user, measure, parameter and order of index; empty if the run holds no design.

    Columns: `COLUMNS`; indices are shares of the variance of the mean over seeds, whose square root is `deviation` (in
    the measure's unit), `noise` the share of a single trial's variance that is chance.
    """
    spec = runs.info.get("spec") or {}
    cases: dict[str, Mapping[str, Any]] = {case["name"]: case for case in spec.get("cases", [])} or {"": {}}
    rows: list[list[Any]] = []
    for name, case in cases.items():
        given = case.get("design") or spec.get("design")
        if given:
            rows += _of_case(runs, name, Design.model_validate(given))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _of_case(runs: RunSet, case: str, design: Design) -> Iterator[list[Any]]:
    places = list(design.parameters)
    points = [_key(point, places) for point in design.points()]
    found: dict[tuple[str, str], dict[int, list[int]]] = {}
    users: dict[str, None] = {}
    seeds: dict[int, None] = {}
    for row, (result, name, label, role) in enumerate(
        zip(runs.results, runs.info["cases"], runs.info["labels"], runs.info["roles"], strict=True)
    ):
        if name == case and role == "point":
            users[label], seeds[result.trial.seed] = None, None
            at = found.setdefault((label, _key(_flat(result.trial.to_dict(), places), places)), {})
            at.setdefault(result.trial.seed, []).append(row)
    for user in users:
        for measure in MEASURES:
            outcomes = [getattr(result.outcome, measure) for result in runs.results]
            values = np.array([
                [_mean(outcomes, found.get((user, point), {}).get(seed, [])) for seed in seeds] for point in points
            ])  # fmt: skip
            indices = sobol_indices(values, len(places))
            yield from _rows(case, user, measure, places, indices)


def _rows(case: str, user: str, measure: str, places: list[str], found: SobolIndices) -> Iterator[list[Any]]:
    shared = [found.residue, found.noise, *found.noise_interval, found.rows, found.rows_lost, found.seeds,
              float(np.sqrt(found.variance))]  # fmt: skip
    for i, place in enumerate(places):
        yield [case, user, measure, place, "first", found.first[i], *found.first_interval[i], *shared]
        yield [case, user, measure, place, "total", found.total[i], *found.total_interval[i], *shared]


def _mean(outcomes: list[float], rows: list[int]) -> float:
    """Over the persons of one point and seed; NaN where there is none, or one failed."""
    return float(np.mean([outcomes[row] for row in rows])) if rows else float("nan")


def _flat(trial: Mapping[str, Any], places: list[str]) -> dict[str, Any]:
    """The trial's values at the design's places."""
    values = {}
    for place in places:
        head, _, inside = place.partition(".")
        values[place] = trial[head].get(inside) if inside and isinstance(trial[head], Mapping) else trial[head]
    return values


def _key(values: Mapping[str, Any], places: list[str]) -> str:
    """Numbers as the trial stores them: floats, whatever the YAML said."""
    return json.dumps([_float(plain(values[place])) for place in places])


def _float(value: Any) -> Any:
    if isinstance(value, list):
        return [_float(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _table(part: pd.DataFrame, user: str) -> Table:
    part = part[part["user"] == user]
    found = {(r.parameter, r.measure, r.order): r for r in part.itertuples(index=False)}
    columns = [f"{title}, {order}" for title in MEASURES.values() for order in ("alone", "total")]
    rows = [
        [
            Cell(parameter),
            *(_cell(found[parameter, measure, order]) for measure in MEASURES for order in ("first", "total")),
        ]
        for parameter in dict.fromkeys(part["parameter"])
    ]
    of_measure = {m: part[part["measure"] == m].iloc[0] for m in MEASURES}
    chance = [Cell("chance, of one trial's variance")]
    for row in of_measure.values():
        chance += [Cell(""), Cell(f"{row['noise']:.2f}", f"[{row['noise_low']:.2f}, {row['noise_high']:.2f}]")]
    first = part.iloc[0]
    n = f"n = {int(first['rows'])} design rows, {count_of(int(first['seeds']), 'seed')}"
    return Table(f"{user} · shares of the variance, {n}", ["parameter", *columns], [*rows, chance])


def _cell(row: Any) -> Cell:
    if np.isnan(row.index):
        return Cell("–")
    return Cell(f"{row.index:.2f}", f"[{row.low:.2f}, {row.high:.2f}]")
