"""The section on overfitting: the generalisation gap over alpha, and the alpha from which on it is wider."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from hill_sim.report.figure_lines import lines
from hill_sim.report.section import Section
from hill_sim.report.study import EPS_POINTS, Study, in_points
from hill_sim.report.tables import Cell, Table, effect_cell, titled
from hill_sim.report.words import crossing
from hill_sim.risk.comparison import compare
from hill_sim.risk.threshold import EPS, thresholds

MEASURE = "generalisation_gap_change"


def overfitting_sections(study: Study) -> Iterator[Section]:
    """One, if several alphas were tried."""
    if len(study.alphas) < 2:
        return
    table = gap_table(study)
    yield Section(
        "overfitting",
        "From which alpha on does the user make the model overfit?",
        "Each panel is one user: the generalisation gap (training minus test accuracy at the end) minus the twin's, "
        "with its 95 % band; above 0 the model overfits more, below 0 less. A user who fits the model to the training "
        "data's layout, or to a few shown points, would lift it.",
        f"Change of the generalisation gap against alpha, one panel for each of {len(study.users)} users.",
        lambda: lines(table, "alpha", study.users, study.kinds, study.drawn, xlabel="alpha: how loud the user is",
                      ylabel="generalisation gap\nminus the twin's, points", dots=True),
        details=[("Thresholds, and every number with its interval", [_table(study, table, s) for s in study.drawn])],
    )  # fmt: skip


def gap_table(study: Study) -> pd.DataFrame:
    """One row per setting, user and alpha: change of the generalisation gap against the twin, in points."""
    return in_points(compare(study.trials, ["setting", "kind", "user", "alpha"], MEASURE, ("twin",)))


def overfitting_thresholds(study: Study) -> pd.DataFrame:
    """One row per setting and user: the alpha from which on the gap exceeds the twin's by `EPS` (`risk.threshold`)."""
    return thresholds(study.trials, ["setting", "kind", "user"], MEASURE, worse=1, eps=EPS)


def _table(study: Study, table: pd.DataFrame, setting: str) -> Table:
    found = {(r.user, r.alpha): r for r in table[table["setting"] == setting].itertuples(index=False)}
    found_at = overfitting_thresholds(study)
    crossed = {row.user: row for row in found_at[found_at["setting"] == setting].itertuples(index=False)}
    alphas = sorted({alpha for _, alpha in found})
    rows = []
    for user in (u for u in study.users if u in crossed):
        cells = [effect_cell(found[user, a], good=-1) if (user, a) in found else Cell("–") for a in alphas]
        rows.append([Cell(user), Cell(crossing(crossed[user])), *cells])
    columns = ["user", f"alpha at which it exceeds {EPS_POINTS:g} point", *(f"alpha {alpha:g}" for alpha in alphas)]
    return Table(titled(setting, found.values()), columns, rows)
