"""The sections of the page: each a question, a figure, one sentence on how to read it, and the numbers behind it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from hill_sim import registry
from hill_sim.errors import HillError
from hill_sim.report import tables
from hill_sim.report.attribution import attribution_sections
from hill_sim.report.conflicts import shrugging_off
from hill_sim.report.figure_forest import Panel, forest
from hill_sim.report.figure_latents import Scene, latents
from hill_sim.report.figure_lines import lines
from hill_sim.report.maps import map_sections
from hill_sim.report.measured import bias, fit, flips
from hill_sim.report.overfitting import overfitting_sections
from hill_sim.report.search import Found, search_sections
from hill_sim.report.section import Section
from hill_sim.report.section_trust import trust_section
from hill_sim.report.sensitivity import sensitivity_sections
from hill_sim.report.study import Study
from hill_sim.report.variability import variability_sections
from hill_sim.report.whom import classes, groups
from hill_sim.report.words import alphas, short
from hill_sim.risk.comparison import REFERENCES
from hill_sim.trial import CE_SCALED

MOST_SCENES = 10


def sections(study: Study) -> Iterator[Section]:
    """Those for which the run has something to show."""
    if (searched := Found.of(study.runs)) is not None:  # its users' averages over all candidates would say nothing
        yield from search_sections(searched)
        return
    if not study.done.empty:
        yield from _comparison(study)
    yield from sensitivity_sections(study)


def _comparison(study: Study) -> Iterator[Section]:
    yield _leaderboard(study)
    if len(study.alphas) > 1:
        yield _over_alpha(study)
        yield shrugging_off(study)
    yield from map_sections(study)
    yield from attribution_sections(study)
    yield from variability_sections(study)
    if scenes := _scenes(study):
        yield _latent_space(study, scenes)
    yield from (found for section in (classes, groups, flips, bias, fit) if (found := section(study)) is not None)
    yield from overfitting_sections(study)
    yield from trust_section(study)
    yield from _training(study)


def _leaderboard(study: Study) -> Section:
    panels = [Panel(f"against {n}", _against(study, n), 1, "gain") for n in REFERENCES if _against(study, n)["n"].any()]
    return Section(
        "leaderboard",
        "Who helps, and is it the user's doing?",
        f"Each dot is one user's change of test accuracy, mean over {alphas(study.alphas)}, with its 95 % interval; a "
        "user helps only if the dot lies right of 0 in every column.",
        f"Forest plot: change of test accuracy of {len(study.users)} users against {', '.join(REFERENCES)}, with "
        "intervals; the table below holds the same numbers.",
        lambda: forest(panels, study.users, study.kinds, study.drawn, "Change of test accuracy, percentage points"),
        tables=[tables.leaderboard(study, setting) for setting in study.drawn],
        details=[("The same at each alpha", [tables.by_alpha(study, setting) for setting in study.drawn])]
        if len(study.alphas) > 1
        else (),
    )


def _over_alpha(study: Study) -> Section:
    twin = study.by_alpha[study.by_alpha["against"] == "twin"]
    scaled = set(study.trials.loc[study.trials["policy"] == CE_SCALED, "user"])
    control = twin[twin["user"].isin(scaled)].sort_values("alpha")
    ghost = {s: control[control["setting"] == s] for s in study.drawn if (control["setting"] == s).any()}
    dashed = ""
    if ghost:
        dashed = (
            f" Dashed: {CE_SCALED}, training without any user; where a line stays on it, the gain is not the user's."
        )
    return Section(
        "alpha",
        "How loud may the user be?",
        f"Each panel is one user: gain in test accuracy over the twin as alpha grows, with its 95 % band.{dashed}",
        f"Gain over the twin against alpha, one panel for each of {len(study.users)} users, one line a setting.",
        lambda: lines(twin, "alpha", study.users, study.kinds, study.drawn, xlabel="alpha: how loud the user is",
                      ylabel="gain over the twin, points", ghost=ghost, ghost_label=f"{CE_SCALED}: no user", dots=True),
    )  # fmt: skip


def _latent_space(study: Study, scenes: list[tuple[Scene, int]]) -> Section:
    names, _ = study.classes
    where = f"{study.main}, alpha {study.loudest:g}, seed {study.seeds[0]}"
    return Section(
        "latents",
        "What did the users do to the latent space?",
        f"Each row is one user's first edit ({where}): left, the samples as the model had laid them out, with arrows "
        "for what the user dragged; middle, the layout asked for; right, the same samples when the user came back.",
        f"Scatter plots of the two projected latent coordinates for {len(scenes)} users, before, asked for, and after.",
        lambda: latents([scene for scene, _ in scenes], names, [until for _, until in scenes]),
        raster=True,
    )


def _training(study: Study) -> Iterator[Section]:
    marks = sorted({epoch for r in study.runs.results for epoch in r.trial.interactions})
    if not marks:
        return
    for name, column, question, ylabel, meaning in (
        ("validation", "validation_accuracy", "When does it happen?", "validation accuracy\nminus the twin's, points",
         "validation accuracy minus the twin's"),
        ("gap", "gap", "Does the model overfit more, or less?", "generalisation gap\nminus the twin's, points",
         "training accuracy (as it trains) minus validation accuracy, minus the same of the twin: below 0 the model "
         "overfits less"),
    ):  # fmt: skip
        table = study.curves(study.loudest, max(1, marks[0] - 5), column)
        if table.empty:
            return
        yield Section(
            name,
            question,
            f"Epoch by epoch at alpha {study.loudest:g}: {meaning}; the user edits at the dotted lines.",
            f"{meaning} against the epoch, one panel for each of {len(study.users)} users, with bands.",
            lambda table=table, ylabel=ylabel: lines(  # type: ignore[misc]
                table, "epoch", study.users, study.kinds, study.drawn, xlabel="epoch", ylabel=ylabel, marks=marks,
                marks_label="the user edits"),
        )  # fmt: skip


def _against(study: Study, name: str):  # type: ignore[no-untyped-def]
    return study.overall[study.overall["against"] == name]


def _scenes(study: Study) -> list[tuple[Scene, int]]:
    """The first edit of each user (controls but `hold` left out) at the loudest alpha and the first seed."""
    rows = study.done
    rows = rows[(rows["setting"] == study.main) & (rows["alpha"] == study.loudest) & (rows["seed"] == study.seeds[0])]
    found: dict[str, tuple[Scene, int]] = {}
    for row in rows.itertuples(index=False):
        result = study.runs.results[row.place]
        items = [item for item in result.interactions if len(item.before)]
        if items and (row.kind != "control" or row.policy == "hold"):
            first = items[0]
            until = min((e for e in result.trial.interactions if e > first.epoch), default=result.trial.epochs)
            found[row.user] = Scene(row.user, _says(row.policy), first), until
    return [found[user] for user in study.users if user in found][:MOST_SCENES]


def _says(policy: str) -> str:
    """The first sentence of the policy's docstring."""
    try:
        text = inspect.getdoc(registry.load("policy", policy)) or ""
    except HillError:
        return ""
    words = " ".join(text.split("\n\n")[0].split()).replace("`", "")
    return short(re.split(r"(?<=[^ .])[.:](?: |$)", words)[0], 150)
