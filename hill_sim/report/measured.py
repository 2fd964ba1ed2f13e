"""Sections that show several measures side by side, each with its unit, its good direction, intervals and seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hill_sim.report import tables
from hill_sim.report.figure_forest import Panel, forest
from hill_sim.report.section import Section
from hill_sim.report.study import POINTS, Study
from hill_sim.report.words import listed


@dataclass(frozen=True)
class Measure:
    """A column of outcomes as a reader meets it.

    Attributes:
        title: in a few words; good: +1 if more is better, -1 if more is worse, 0 if neither.
        unit: of the number shown; scale: from the column to it; digits: behind the point.
        share: measures of the same name share their x axis.
    """

    title: str
    good: int = 0
    unit: str = "points"
    scale: float = POINTS
    digits: int = 1
    share: str = ""


FLIPS = {
    "worst_recall_change": Measure("worst class's recall", 1),
    "negative_flips": Measure("negative flips", -1, share="flips"),
    "positive_flips": Measure("positive flips", 1, share="flips"),
    "churn": Measure("churn", 0, share="flips"),
}
BIAS = {
    "imprint": Measure("imprint", 0, "% of the way asked for", digits=0),
    "directed_confusion": Measure("edit-directed confusion", -1, digits=2),
    "recall_disparity_change": Measure("recall disparity", -1),
    "group_gap_change": Measure("gap between groups", -1),
}
FIT = {
    "generalisation_gap_change": Measure("generalisation gap", -1),
    "human_fit_gap": Measure("human-fit gap", -1, "L_human x 1000", 1000.0),
    "ece_change": Measure("calibration error (ECE)", -1),
    "brier_change": Measure("Brier score x 100", -1, "units"),
}


def flips(study: Study) -> Section | None:
    return _section(
        study,
        "flips",
        "What changes behind the average?",
        "The worst class's recall, and the share of test samples that flip against the twin: negative flips were right "
        "and are wrong now, positive ones the reverse, churn is any change of prediction. Any change of the training "
        "flips some: compare a user with hold and random, not with 0.",
        FLIPS,
    )


def bias(study: Study) -> Section | None:
    return _section(
        study,
        "bias",
        "Does the model take over the user's view?",
        "Imprint: how far the classes went where the user wanted them, beyond the twin; 0 is shrugged off. "
        "Edit-directed confusion: how much more the pairs of classes that the user pulled together are confused than "
        "other pairs (only for users who pull some together). Disparity and gap: between the best and "
        "the worst class or group.",
        BIAS,
    )


def fit(study: Study) -> Section | None:
    return _section(
        study,
        "fit",
        "Does it overfit, to the data or to the person?",
        "Generalisation gap: accuracy on the training samples minus the test samples, against the twin. Human-fit "
        "gap: how much worse the user's wish is met on test samples than on those trained on; it has no twin, so "
        "compare with hold. Calibration: do the model's probabilities mean what they say? Less is better.",
        FIT,
    )


def _section(study: Study, name: str, question: str, caption: str, measures: Mapping[str, Measure]) -> Section | None:
    """A forest plot of the measures that the run has; None if it has none of them."""
    found = {column: study.change(column, m.scale) for column, m in measures.items() if column in study.trials}
    found = {column: table for column, table in found.items() if table["n"].any()}
    if not found:
        return None
    shown = {column: measures[column] for column in found}
    panels = [Panel(m.title, found[c], m.good, m.share, m.unit) for c, m in shown.items()]
    return Section(
        name,
        question,
        caption,
        f"Forest plot of {listed([m.title for m in shown.values()])}, per user, with intervals.",
        lambda: forest(panels, study.users, study.kinds, study.drawn, "Change against the twin"),
        details=[("Every number with its interval", [_table(study, s, found, shown) for s in study.drawn])],
    )


def _table(study: Study, setting: str, found: dict, shown: Mapping[str, Measure]) -> tables.Table:
    columns = [(m.title if m.unit == "points" else f"{m.title} ({m.unit})", m.good, m.digits) for m in shown.values()]
    parts = [table[table["setting"] == setting] for table in found.values()]
    return tables.measures(study, setting, parts, columns)
