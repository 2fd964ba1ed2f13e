"""Whom does it harm: class by class, and group by group (subject, speaker) where the task knows them."""

from __future__ import annotations

from collections.abc import Sequence

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
    return _section(study, "classes", "class", "recall", study.per_class, study.classes)


def groups(study: Study) -> Section | None:
    """None for a task without groups."""
    if not study.n_groups or not study.per_group["n"].any():
        return None
    twins = [tables.twins_by_group(study)]
    return _section(study, "groups", "group", "accuracy", study.per_group, study.groups, twins)


def _section(
    study: Study,
    parts: str,
    noun: str,
    measure: str,
    table: pd.DataFrame,
    named: tuple[Sequence[str], Sequence[int | None]],
    above: Sequence[tables.Table] = (),
) -> Section:
    """One question for all parts of the test split of one kind; `named` are their names and sizes."""
    names, sizes = named
    every = [tables.per_part(study, setting, table, noun, names, sizes) for setting in study.drawn]
    return Section(
        parts,
        f"Whom does it harm? {noun.capitalize()} by {noun}",
        _caption(study, table, noun, parts, measure),
        f"Heatmap of the change of {measure}, users by {parts}; the table below holds the numbers with intervals.",
        lambda: class_harm(table, study.users, study.drawn, names, sizes, study.kinds, noun, measure),
        tables=above,
        details=[("Every number with its interval", every)],
    )


def _caption(study: Study, table: pd.DataFrame, noun: str, parts: str, measure: str) -> str:
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
