"""The figures of docs/findings.md, drawn from the committed tables with the functions that the reports use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from docs.findings.answers import Tables, users_of
from hill_sim.report import style
from hill_sim.report.attribution import SAYS
from hill_sim.report.figure_forest import Panel, forest
from hill_sim.report.figure_lines import lines
from hill_sim.report.figure_map import HeatMap, Row, heat_maps
from hill_sim.report.figure_sobol import sobol
from hill_sim.report.figure_thresholds import conflict
from hill_sim.report.figure_variability import people
from hill_sim.report.section_trust import draw
from hill_sim.report.sensitivity import MEASURES as SENSITIVE
from hill_sim.report.study import EPS_POINTS
from hill_sim.risk.comparison import REFERENCES
from hill_sim.trial import CE_SCALED

DPI = 110
MOST_PARTS = 6


@dataclass(frozen=True)
class Drawing:
    """A figure: its file's name, how to read it, what it shows for those who cannot see it, and who draws it."""

    name: str
    caption: str
    alt: str
    draw: Callable[[], Figure]

    def save(self, folder: Path) -> None:
        with style.theme():
            self.draw().savefig(folder / f"{self.name}.png", format="png", dpi=DPI, metadata={"Software": None})


def across_tasks(tables: Tables, experiment: str) -> Drawing:
    overall = tables.of("overall", experiment)
    gains = overall[overall["main"] & (overall["against"] == "twin")]
    tasks = tables.tasks(experiment)
    kinds = dict(zip(gains["user"], gains["kind"], strict=True))
    alphas = " and ".join(tables.runs.loc[tables.runs["experiment"] == experiment, "alphas"].iloc[0].split())
    label = f"alpha {alphas} (cifar10: 0.9)"
    panels = [Panel(task, gains[gains["task"] == task].assign(setting=label)) for task in tasks]
    return Drawing(
        "tasks",
        "Change of test accuracy against the twin, one column a task; filled: the 95 % interval excludes 0.",
        f"Forest plot of the gain of {len(kinds)} users on {', '.join(tasks)}.",
        lambda: forest(panels, users_of(gains), kinds, [label], "Change of test accuracy, percentage points"),
    )


def against_controls(tables: Tables, experiment: str) -> Drawing:
    rows = tables.of("overall", experiment)
    kinds = dict(zip(rows["user"], rows["kind"], strict=True))
    settings = list(dict.fromkeys(rows["setting"]))
    panels = [Panel(f"against {name}", rows[rows["against"] == name], 1, "gain") for name in REFERENCES]
    return Drawing(
        "controls",
        "Each user against the twin and the three controls, under the calibrated objective (hill) and the published one "
        "(paper). A user helps only where the dot lies right of 0 in every column.",
        f"Forest plot of {len(kinds)} users against four references under {' and '.join(settings)}.",
        lambda: forest(panels, users_of(rows), kinds, settings, "Change of test accuracy, percentage points"),
    )  # fmt: skip


def over_alpha(tables: Tables, experiment: str) -> Drawing:
    rows = tables.of("by_alpha", experiment)
    said = {"gain": "test accuracy", "generalisation_gap_change": "generalisation gap"}
    rows = rows.assign(setting=rows["measure"].map(said))
    kinds = dict(zip(rows["user"], rows["kind"], strict=True))
    users = users_of(tables.of("overall", experiment))
    return Drawing(
        "alpha",
        "Against the twin, as the user gets louder: test accuracy (up is better) and the generalisation gap (up is "
        "worse), with 95 % bands.",
        f"Lines of accuracy and generalisation gap over alpha, one panel for each of {len(kinds)} users.",
        lambda: lines(rows, "alpha", users, kinds, list(said.values()), xlabel="alpha: how loud the user is",
                      ylabel="against the twin, points", dots=True),
    )  # fmt: skip


def conflicts(tables: Tables, experiment: str) -> Drawing:
    thresholds = tables.of("thresholds", experiment)
    thresholds = thresholds[thresholds["measure"] == "gain"]
    risk = tables.of("risk", experiment)
    risk = risk.assign(iqm=risk["risk"], low=risk["risk_low"], high=risk["risk_high"])
    measures = tables.of("measures", experiment)
    index = measures[measures["measure"] == "conflict_index"]
    users, kinds = users_of(tables.of("overall", experiment)), dict(zip(risk["user"], risk["kind"], strict=True))
    settings = list(dict.fromkeys(risk["setting"]))
    return Drawing(
        "conflicts",
        "Left: the alpha from which on more than a point of test accuracy is lost (hollow: never; arrow: the interval "
        "reaches into never). Middle: how often a trial loses that much. Right: does the next edit take the last back?",
        f"Thresholds in alpha, chance of loss and conflict index of {len(users)} users.",
        lambda: conflict(thresholds, risk, index, users, kinds, settings, EPS_POINTS),
    )


def whom(tables: Tables, experiment: str, part: str) -> Drawing:
    """Users by classes (groups), one panel a task; of many classes the most affected ones."""
    rows = tables.of("parts", experiment)
    rows = rows[rows["part"] == part].rename(columns={"user": "row", "name": "column"})
    users = [(user, user) for user in users_of(tables.of("overall", experiment)) if user != CE_SCALED]
    panels = []
    for task, of_task in rows.groupby("task", sort=False):
        sizes = dict(zip(of_task["column"], of_task["size"], strict=True))
        most = of_task.assign(size=of_task["iqm"].abs()).groupby("column")["size"].max().sort_values(ascending=False)
        shown = [name for name in sizes if name in set(most.index[:MOST_PARTS]) and sizes[name] > 0]
        panels.append(
            HeatMap(str(task), of_task, users, [(n, f"{shortened(str(n))} ({int(sizes[n])})") for n in shown])
        )
    noun = {"class": "classes", "group": "groups"}[part]
    what = {"class": "recall", "group": "accuracy"}[part]
    return Drawing(
        noun,
        f"Change of {what} against the twin by {part} (number of test samples), orange is worse; a number stands where "
        f"the 95 % interval excludes 0, not corrected for how many there are. At most {MOST_PARTS} {noun} a task.",
        f"Heat maps of users by {noun} for {len(panels)} tasks.",
        lambda: heat_maps([Row(f"change of {what}", panels[i : i + 2]) for i in range(0, len(panels), 2)], "", ""),
    )


def shortened(name: str, most: int = 18) -> str:
    return name if len(name) <= most else f"{name[:9]}…{name[-8:]}"


def settings_map(tables: Tables, experiment: str, name: str, what: str) -> Drawing:
    """Settings by users: accuracy and generalisation gap. Users of one setting alone have nothing to be compared with."""
    overall = tables.of("overall", experiment)
    gain = overall[overall["against"] == "twin"].assign(measure="gain")
    gain = gain[gain.groupby("user")["setting"].transform("nunique") > 1]
    measures = tables.of("measures", experiment)
    rows = pd.concat([gain, measures[measures["measure"] == "generalisation_gap_change"]], ignore_index=True)
    rows = rows.rename(columns={"setting": "row", "user": "column"})
    shown = [(s, s) for s in dict.fromkeys(gain["setting"])]
    users = [(u, u) for u in users_of(gain)]
    maps = [
        Row(title, [HeatMap(title, rows[rows["measure"] == measure], shown, users)], good)
        for measure, title, good in (
            ("gain", "gain in test accuracy", 1),
            ("generalisation_gap_change", "generalisation gap", -1),
        )
    ]
    return Drawing(
        name,
        f"One row a {what}, one column a user, effects against the twin in points; orange is worse. A number stands "
        "where the 95 % interval excludes 0.",
        f"Heat maps of gain and generalisation gap, {len(shown)} settings by {len(users)} users.",
        lambda: heat_maps(maps, "", ""),
    )


def edits(tables: Tables, experiment: str) -> Drawing:
    rows = tables.of("attribution", experiment)
    main = tables.of("overall", experiment).query("main")
    rows = rows[(rows["measure"] == "gain") & rows["setting"].isin(main["setting"])]
    rows = rows.assign(setting=rows["kind_of"].map(SAYS))
    users = [user for user in users_of(main) if user in set(rows["user"])]
    kinds = dict(zip(main["user"], main["kind"], strict=True))
    shown = [says for says in SAYS.values() if says in set(rows["setting"])]
    return Drawing(
        "edits",
        "The effect of each interaction on test accuracy at the end: what it adds to the other three, and what it does "
        "alone, with 95 % bands.",
        f"Effect of each interaction, one panel for each of {len(users)} users.",
        lambda: lines(rows, "epoch", users, kinds, shown, xlabel="epoch of the interaction",
                      ylabel="effect on test accuracy, points", dots=True),
    )  # fmt: skip


def parameters(tables: Tables, experiment: str) -> Drawing:
    rows = tables.of("sensitivity", experiment)
    users, places = list(dict.fromkeys(rows["user"])), list(dict.fromkeys(rows["parameter"]))
    return Drawing(
        "parameters",
        "Sobol's indices: the share of the outcome's variance that a parameter decides alone, and has a hand in. A total "
        "index left of the dashed line is no more than chance.",
        f"First-order and total indices of {len(places)} parameters for {len(users)} users.",
        lambda: sobol(rows, users, SENSITIVE, places),
    )


def persons(tables: Tables, experiment: str) -> Drawing:
    rows, shares = tables.of("persons", experiment), tables.of("components", experiment)
    shares = shares[shares["measure"] == "gain"]
    strategies = users_of(rows.assign(against="twin").sort_values("iqm"))
    return Drawing(
        "persons",
        "Left: every mark is a person's gain over the twin under that strategy, with its 95 % interval. Right: whose "
        "doing the spread is.",
        f"Gains of {rows['person'].nunique()} persons under {len(strategies)} strategies, and shares of the variance.",
        lambda: people(rows, shares, strategies, "gain in test accuracy"),
    )


def trust(tables: Tables, experiment: str) -> Drawing:
    rows = tables.of("trust", experiment)
    return Drawing(
        "trust",
        "Left: how much of the harm under fixed trust a rule removes (100 %: none is left). Right: how much of the "
        "benefit it keeps. Bars are 95 % intervals over seeds.",
        f"Dot plot of harm removed and benefit kept by {rows['trust'].nunique()} rules of trust.",
        lambda: draw(rows),
    )
