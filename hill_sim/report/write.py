"""Writes the report of a run: `report.html`, one file that needs nothing else, and its figures as PNG."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from hill_sim.engine.results import RunSet
from hill_sim.report import style
from hill_sim.report.headline import caveats, headline
from hill_sim.report.reproduce import facts
from hill_sim.report.search import Found, search_headline
from hill_sim.report.section import Section
from hill_sim.report.sections import sections
from hill_sim.report.study import Study
from hill_sim.report.words import alphas, count_of, short
from hill_sim.trial import plain

REPORT, FIGURES = "report.html", "figures"
DEFAULT_QUESTIONS = ("Which simulated user helps, and whom does it harm?", "What did the search find?")


@dataclass(frozen=True)
class Shown:
    """A section with its figure as a data URI, `width` and `height` in CSS pixels."""

    section: Section
    uri: str
    width: int
    height: int


def write_report(folder: Path | str) -> Path:
    """The report of a run folder (`hill-sim sweep` makes them), written into it; returns the path of `report.html`.

    Raises:
        InvalidInput: not a run folder, or results that cannot be read.
    """
    from hill_sim.sweep import load_results

    folder = Path(folder)
    runs = load_results(folder, details=lambda runs: set() if Found.of(runs) else Study.of(runs).detailed)
    spec = runs.info.get("spec", {})
    name = str(spec.get("name", folder.name))
    command = "hill-sim sweep sweep.yaml --out again"
    # In the folder of the page, whose sweep.yaml says all that was run: right wherever the folder has been copied to.
    return write_report_from(runs, folder, title=name, question=str(spec.get("question", "")), command=command)


def write_report_from(
    runs: RunSet, folder: Path | str, *, title: str = "run", question: str = "", command: str = ""
) -> Path:
    """The report of any results, written into `folder` (made if it is not there).

    Args:
        title: names the run; question: what it was to answer, the page's heading.
        command: what makes these results again.

    Returns:
        The path of `report.html`; the figures stand beside it in `figures/`, as PNG.

    Example:
        >>> from hill_sim import Trial, simulate
        >>> runs = simulate([Trial(policy="hold", epochs=3, interactions=(1, 2))])
        >>> write_report_from(runs, getfixture("tmp_path")).name
        'report.html'
    """
    folder = Path(folder)
    (folder / FIGURES).mkdir(parents=True, exist_ok=True)
    study = Study.of(runs)
    with style.theme():
        shown = [_shown(section, folder / FIGURES) for section in sections(study)]
    page = _page(study, shown, title, question, command)
    part = folder / f"{REPORT}.part"
    part.write_text(page, encoding="utf-8")
    os.replace(part, folder / REPORT)
    return folder / REPORT


def _shown(section: Section, folder: Path) -> Shown:
    made = section.draw()
    png = style.png(made, folder / f"{section.name}.png")
    uri = style.data_uri(png, "png") if section.raster else style.data_uri(style.svg(made), "svg+xml")
    width, height = made.get_size_inches() * 96
    return Shown(section, uri, round(width), round(height))


def _page(study: Study, shown: list[Shown], title: str, question: str, command: str) -> str:
    here, found = files("hill_sim.report"), Found.of(study.runs)
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string((here / "report.html").read_text(encoding="utf-8"))
    return template.render(
        css=Markup((here / "report.css").read_text(encoding="utf-8")),  # ours, not a user's
        title=title,
        question=question or f"{DEFAULT_QUESTIONS[found is not None]} ({title})",
        size=_size(study),
        statements=search_headline(found) if found else headline(study),
        caveats=caveats(study) if not study.done.empty and not found else [],
        settings=_settings(study) if study.settings and not found else [],
        hidden_settings=len(study.settings) - len(study.drawn) if study.settings and not found else 0,
        hidden_users=0 if found else study.hidden_users,
        shown=shown,
        failed=_failed(study),
        facts=facts(study, command),
        recipe=_recipe(study),
        twins=any(item.section.name == "validation" for item in shown),
    )


def _size(study: Study) -> list[str]:
    tasks = sorted({result.trial.task for result in study.runs.results})
    return [
        short(", ".join(tasks), 60),
        count_of(len(study.runs.results), "trial"),
        count_of(study.trials["user"].nunique(), "simulated user"),
        count_of(len(study.seeds), "seed"),
        alphas(study.alphas),
    ]


def _settings(study: Study) -> list[tuple[list[tuple[str, str]], str]]:
    """The drawn settings (name and colour) and their objective in words, those of one objective together."""
    told: dict[str, list[tuple[str, str]]] = {}
    for name, (color, _) in style.setting_colors(study.drawn).items():
        told.setdefault(_objective(study, name), []).append((name, color))
    return [(named, words) for words, named in told.items()]


def _objective(study: Study, name: str) -> str:
    """The objective of a setting in words."""
    row = study.trials[study.trials["setting"] == name].iloc[0]
    options = study.runs.results[row["place"]].trial.objective_options
    if options.mixing == "convex":
        return (
            "the loss is shared out, (1 − alpha) for the data and alpha for the user: a louder user also turns the "
            "data down."
        )
    if options.balance == "gradient":
        return (
            "the user's pull is added to the data's and scaled to match it: at alpha 0.5 both pull equally hard, and "
            "the data is never turned down (so ce_scaled is the twin itself)."
        )
    return "the user's loss is added to the data's, unscaled; the data is never turned down."


def _failed(study: Study) -> list[dict[str, str]]:
    """User, alpha, seed, key and the last line of the traceback of each failed trial."""
    rows = study.trials[study.trials["status"] == "failed"]
    told = []
    for row in rows.itertuples(index=False):
        last = (str(row.error).strip().splitlines() or ["no message"])[-1]
        told.append({"user": row.user, "setting": row.setting, "alpha": f"{row.alpha:g}", "seed": str(row.seed),
                     "key": row.key, "error": last[:300]})  # fmt: skip
    return told


def _recipe(study: Study) -> list[tuple[str, str]]:
    """What all trials share: task, model, training."""
    trials: list[dict[str, Any]] = [result.trial.to_dict() for result in study.runs.results if not result.trial.is_twin]
    names = ("task", "task_options", "model", "model_options", "batch_size", "optimizer", "lr", "weight_decay",
             "epochs", "interactions", "view", "lam")  # fmt: skip
    rows = []
    for name in names:
        values = {str(_words(trial[name])) for trial in trials}
        if len(values) == 1 and (value := values.pop()):
            rows.append((name.replace("_", " "), value))
    return rows


def _words(value: Any) -> str:
    value = plain(value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
