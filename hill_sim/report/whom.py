"""Whom does it harm: class by class, and group by group (subject, speaker) where the task knows them."""

from __future__ import annotations

import pandas as pd

from hill_sim.report import tables
from hill_sim.report.figure_classes import class_harm, parts_shown
from hill_sim.report.section import Section
from hill_sim.report.study import Study
from hill_sim.report.words import alphas


def classes(study: Study) -> Section | None:
    """None for a run without any class's recall."""
    if not study.n_classes:
        return None
    names, sizes = study.classes
    return Section(
        "classes",
        "Whom does it harm? Class by class",
        _caption(study, study.per_class, "class", "recall"),
        "Heatmap of the change of recall, users by classes; the table below holds the numbers with intervals.",
        lambda: class_harm(study.per_class, study.users, study.drawn, names, sizes, study.kinds),
        details=[
            (
                "Every number with its interval",
                [tables.per_part(study, s, study.per_class, "class", names, sizes) for s in study.drawn],
            )
        ],
    )


def groups(study: Study) -> Section | None:
    """None for a task without groups."""
    if not study.n_groups or not study.per_group["n"].any():
        return None
    names, sizes = study.groups
    return Section(
        "groups",
        "Whom does it harm? Group by group",
        _caption(study, study.per_group, "group", "accuracy"),
        "Heatmap of the change of accuracy, users by groups; the table below holds the numbers with intervals.",
        lambda: class_harm(study.per_group, study.users, study.drawn, names, sizes, study.kinds, "group", "accuracy"),
        tables=[tables.twins_by_group(study)],
        details=[
            (
                "Every number with its interval",
                [tables.per_part(study, s, study.per_group, "group", names, sizes) for s in study.drawn],
            )
        ],
    )


def _caption(study: Study, table: pd.DataFrame, noun: str, measure: str) -> str:
    parts = {"class": "classes", "group": "groups"}[noun]
    there = int((table.groupby(noun)["n"].max() > 0).sum())
    shown, count = parts_shown(table, noun), table[noun].nunique()
    said = ""
    if len(shown) < there:
        said += f" Only the {len(shown)} most affected of {there} {parts} are shown."
    if there < count:
        said += f" {count - there} of {count} {parts} have no test sample and no number."
    chance = round(0.05 * len(study.users) * len(shown))
    return (
        f"Orange cells are {parts} that lost {measure} against the twin, blue ones gained, mean over "
        f"{alphas(study.alphas)}; only cells whose 95 % interval excludes 0 carry a number, and about {max(chance, 1)} "
        f"a panel would by chance.{said}"
    )
