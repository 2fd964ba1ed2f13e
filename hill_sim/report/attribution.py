"""The section on attribution: what each interaction did to the outcome, to the classes, and to the bias."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from hill_sim.engine import attribution_cost
from hill_sim.errors import HillError
from hill_sim.report.figure_classes import MOST_CLASSES
from hill_sim.report.figure_lines import lines
from hill_sim.report.section import Section
from hill_sim.report.study import Study, in_points
from hill_sim.report.tables import Cell, Table, effect_cell, titled
from hill_sim.report.words import alphas
from hill_sim.risk import attribution as risk

SAYS = {risk.LEAVE_ONE_OUT: "what it adds to the others", risk.ONLY_ONE: "what it does alone"}
MEASURES = {
    "gain": ("test accuracy", 1),
    "worst_recall_change": ("worst class's recall", 1),
    "recall_disparity_change": ("recall disparity", -1),
    "negative_flips": ("negative flips", -1),
    "churn": ("churn", 0),
    "generalisation_gap_change": ("generalisation gap", -1),
}


def attribution_sections(study: Study) -> Iterator[Section]:
    """One, if the run holds branches."""
    table = attribution_table(study)
    if table.empty:
        return
    drawn = table[(table["setting"] == study.main) & (table["measure"] == "gain")]
    shown = [user for user in study.users if user in set(drawn["user"])]
    if not shown:
        return
    rows = drawn.assign(setting=drawn["kind_of"].map(SAYS))
    kinds = [SAYS[kind] for kind in risk.KINDS if kind in set(drawn["kind_of"])]
    yield Section(
        "attribution",
        "Which interaction did it?",
        f"Each panel is one user ({study.main}, mean over {alphas(study.alphas)}): the effect of the interaction at "
        "each epoch on test accuracy. What it adds: the full trial minus the trial without it. What it does alone: the "
        "trial with it alone minus the twin. The user acts anew on what is seen then, so the two need not agree, nor "
        "sum up."
        + _cost(study),
        f"Effect of each interaction on test accuracy with intervals, one panel for each of {len(shown)} users.",
        lambda: lines(rows, "epoch", shown, study.kinds, kinds, xlabel="epoch of the interaction",
                      ylabel="effect on test accuracy, points", dots=True),
        details=[
            ("On bias, flips and overfitting", [_measures(table, study, user) for user in shown]),
            ("Class by class, what each adds to the others", [_classes(table, study, user) for user in shown]),
        ],
    )  # fmt: skip


def attribution_table(study: Study) -> pd.DataFrame:
    """`risk.attribution` per setting and user, in points; the kind of branch stands in `kind_of`."""
    compared = [result.trial for result in study.runs.results]
    trials = [result.trial for result in study.whole.results]
    found = risk.effects(trials, study.whole.outcomes, of=compared) if trials else pd.DataFrame()
    if found.empty:
        return found
    found = found.merge(study.trials[["key", "setting", "user"]], on="key")
    return in_points(risk.attribution(found, ["setting", "user"]).rename(columns={"kind": "kind_of"}))


def _cost(study: Study) -> str:
    seed = study.seeds[0]  # every seed costs the same
    try:
        cost = attribution_cost([r.trial for r in study.runs.results if r.trial.seed == seed])
    except HillError:  # a user's task file that has since moved: the effects still stand
        return ""
    return (
        f" Attributing every trial of a seed takes {cost.branches:,} branches: {cost.extra:,} epochs beside the "
        f"{cost.epochs:,} of the trials and their twins, and {cost.alone:,} if each were trained alone."
    )


def _measures(table: pd.DataFrame, study: Study, user: str) -> Table:
    part = table[(table["setting"] == study.main) & (table["user"] == user) & (table["class"] == -1)]
    found = {(r.kind_of, r.epoch, r.measure): r for r in part.itertuples(index=False)}
    rows = []
    for kind, says in SAYS.items():
        epochs = sorted({epoch for k, epoch, _ in found if k == kind})
        rows += [[Cell(says)]] if epochs else []
        for epoch in epochs:
            cells = [effect_cell(found[kind, epoch, m], good=good) for m, (_, good) in MEASURES.items()]
            rows.append([Cell(f"epoch {epoch}"), *cells])
    return Table(_titled(user, part), ["interaction", *(title for title, _ in MEASURES.values())], rows)


def _classes(table: pd.DataFrame, study: Study, user: str) -> Table:
    of_class = (table["class"] >= 0) & (table["kind_of"] == risk.LEAVE_ONE_OUT)
    part = table[(table["setting"] == study.main) & (table["user"] == user) & of_class].rename(columns={"class": "cls"})
    names, _ = study.classes
    largest = part.assign(size=part["iqm"].abs()).groupby("cls")["size"].max().sort_values(ascending=False)
    shown = sorted(int(c) for c in largest.index[:MOST_CLASSES])
    found = {(r.epoch, r.cls): r for r in part.itertuples(index=False)}
    rows = [[Cell(f"epoch {e}"), *(effect_cell(found[e, c]) for c in shown)] for e in sorted({e for e, _ in found})]
    return Table(_titled(user, part), ["interaction", *(names[c] for c in shown)], rows)


def _titled(user: str, part: pd.DataFrame) -> str:
    lost = int(part["lost"].max()) if len(part) else 0
    title = titled(user, part.itertuples(index=False))
    return title + (f", up to {lost} lost to failed trials" if lost else "")
