"""From the committed tables to the page: `python -m docs.findings.write` writes docs/findings.md and its figures.

The text is computed: `answers` turns tables into sentences by the rules that the page states. Nothing is run, and the
same tables give the same page, to the byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from docs.findings import answers, figures, paper
from docs.findings.answers import RULES, SAYS, Answer, Tables, told, users_of
from docs.findings.figures import Drawing
from docs.findings.sweeps import command
from hill_sim.report.words import effect
from hill_sim.risk.comparison import REFERENCES

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "findings.md"
INTRO = """\
# Findings

What simulated users did to real classifiers. This page is written by a script (`docs/findings/write.py`) from the tables
in `docs/findings/tables`: every number has its 95 % interval and its n, and changes when the experiments are run again
(`make findings`). Effects are percentage points of test accuracy against the *twin*, the same training without edits;
n counts seeds unless something else is named.
"""
PAPER = """\
HILL ([arXiv 2505.06325](https://arxiv.org/abs/2505.06325)) was studied with 14 people on CIFAR-10 and PAMAP2. Its full
models and data were not run here; what is compared is the direction and the cause of an effect, not its size."""
UNTOLD = """\
Seeds vary initialisation, data order and the user's chance; the split of the data is fixed, so nothing is said about
other samples of the same kind. Simulated users are programs: that people do the same is not shown here. Users without a
verdict on each task, and what their intervals leave open:"""


@dataclass(frozen=True)
class Part:
    """A section of the page."""

    title: str
    answers: Sequence[Answer]
    experiment: str
    drawings: Sequence[Drawing] = ()
    table: str = ""
    question: str = ""

    def markdown(self) -> str:
        lines = [f"## {self.title}", ""]
        lines += [f"*{self.question}*", ""]
        lines += [f"* {answer.text}" for answer in self.answers]
        for drawing in self.drawings:
            made = f"{drawing.caption} Made by `{command(self.experiment)}`, then `make findings`."
            lines += ["", f"![{drawing.alt}](findings/figures/{drawing.name}.png)", "", made]
        lines += ["", self.table] if self.table else []
        return "\n".join(lines).rstrip() + "\n"


def parts(tables: Tables) -> Iterator[Part]:
    """The sections for which there are tables."""
    for made in (_who, _controls, _alpha, _conflicts, _whom, _overfitting, _when, _terms, _knobs, _people, _trust):
        part = made(tables)
        if part is not None:
            rows = tables.runs[tables.runs["experiment"] == part.experiment]
            yield replace(part, question=rows["question"].iloc[0])


def _who(tables: Tables) -> Part | None:
    name = "cross_dataset"
    if not tables.has(name):
        return None
    by_task = tables.verdicts(name)
    said = [answers.who_helps(by_task), answers.who_harms(by_task), *answers.controls_move(by_task)]
    drawing = figures.across_tasks(tables, name)
    return Part("Who helps, who harms, on which data", said, name, [drawing], _verdict_table(by_task))


def _controls(tables: Tables) -> Part | None:
    name = "baseline"
    if not tables.has(name):
        return None
    said = [*answers.whose_gain(tables, name, "paper"), *answers.whose_gain(tables, name, "hill")]
    table = _control_table(tables.of("overall", name))
    return Part("Is the published gain the user's?", said, name, [figures.against_controls(tables, name)], table)


def _alpha(tables: Tables) -> Part | None:
    name = "alpha_sensitivity"
    if not tables.has(name):
        return None
    found = tables.of("thresholds", name)
    said = [
        *answers.from_which_alpha(found, "gain", "test accuracy"),
        *answers.from_which_alpha(found, "gap", "generalisation (a wider gap)"),
    ]
    return Part("From which alpha", said, name, [figures.over_alpha(tables, name)])


def _conflicts(tables: Tables) -> Part | None:
    name = "conflict_stress"
    if not tables.has(name):
        return None
    found = tables.of("thresholds", name)
    by_task = tables.verdicts(name)
    said = [answers.who_harms(by_task), *answers.from_which_alpha(found, "gain", "test accuracy")]
    said += answers.which_edit(tables.of("attribution", name), ["merge_distinct", "swap"])
    return Part("Users who fight the data or contradict themselves", said, name, [figures.conflicts(tables, name)])


def _whom(tables: Tables) -> Part | None:
    name = "cross_dataset"
    rows = tables.of("parts", name)
    if rows.empty:
        return None
    said = answers.for_whom(rows)
    measures = tables.of("measures", name)
    measures = measures[measures["setting"].isin(tables.of("overall", name).query("main")["setting"])]
    said.append(
        answers.change_of(measures, "directed_confusion", "Confusion of the classes that the user pulled together", -1)
    )
    drawn = [figures.whom(tables, name, part) for part in ("class", "group") if (rows["part"] == part).any()]
    return Part("For whom: classes and groups", said, name, drawn)


def _overfitting(tables: Tables) -> Part | None:
    name = "overfitting_stress"
    if not tables.has(name):
        return None
    said = answers.wrong_labels(tables.of("overall", name))
    said += answers.by_setting(tables.of("overall", name), "amounts of data and ways to show them")
    drawing = figures.settings_map(tables, name, "overfitting", "amount of data and share of wrong labels")
    return Part("Where the model overfits", said, name, [drawing])


def _when(tables: Tables) -> Part | None:
    name = "schedule"
    if not tables.has(name):
        return None
    said = answers.timing(tables.of("overall", name))
    said += answers.by_setting(tables.of("overall", name), "schedules")
    said += answers.which_edit(_main(tables, "attribution", name), ["compactness", "merge_distinct"])
    drawn = [figures.settings_map(tables, name, "schedule", "schedule"), figures.edits(tables, name)]
    return Part("When the user comes", said, name, drawn)


def _terms(tables: Tables) -> Part | None:
    name = "strategy_ablation"
    if not tables.has(name):
        return None
    said = answers.by_setting(tables.of("overall", name), "choices of terms")
    drawing = figures.settings_map(tables, name, "terms", "choice of terms in the human loss")
    return Part("Which term of the human loss does it", said, name, [drawing])


def _knobs(tables: Tables) -> Part | None:
    return _of(tables, "sensitivity", "alpha_lambda", "Which parameter decides", answers.which_parameter,
               figures.parameters)  # fmt: skip


def _people(tables: Tables) -> Part | None:
    return _of(tables, "components", "user_variability", "The strategy, or the person", answers.person_or_strategy,
               figures.persons)  # fmt: skip


def _trust(tables: Tables) -> Part | None:
    return _of(tables, "trust", "trust", "How far to trust the user", answers.trusted, figures.trust)


def _of(
    tables: Tables,
    table: str,
    experiment: str,
    title: str,
    answer: Callable[[pd.DataFrame], list[Answer]],
    figure: Callable[[Tables, str], Drawing],
) -> Part | None:
    """One table's answers and one figure."""
    rows = tables.of(table, experiment)
    return None if rows.empty else Part(title, answer(rows), experiment, [figure(tables, experiment)])


def _main(tables: Tables, table: str, experiment: str) -> pd.DataFrame:
    rows = tables.of(table, experiment)
    return rows[rows["setting"].isin(tables.of("overall", experiment).query("main")["setting"])]


def headlines(found: Sequence[Part]) -> list[Answer]:
    """The five to read first: of each section the first answer that told something, most surprising sections first."""
    order = (
        "Is the published gain the user's?",
        "When the user comes",
        "Where the model overfits",
        "Who helps, who harms, on which data",
        "How far to trust the user",
        "The strategy, or the person",
        "Users who fight the data or contradict themselves",
        "From which alpha",
        "For whom: classes and groups",
        "Which parameter decides",
    )
    by_title = {part.title: told(part.answers) for part in found}
    first = [by_title[title][0] for title in order if by_title.get(title)]
    return first[:5]


def _verdict_table(by_task: dict[str, list[Any]]) -> str:
    users = dict.fromkeys(v.user for some in by_task.values() for v in some)
    rows = ["| user | " + " | ".join(by_task) + " |", "|---" * (len(by_task) + 1) + "|"]
    for user in users:
        cells = []
        for some in by_task.values():
            verdict = next((v for v in some if v.user == user), None)
            if verdict is None or verdict.word in ("nothing", "same"):
                cells.append("–" if verdict is None or verdict.word == "nothing" else "the twin itself")
                continue
            word = SAYS.get(verdict.word, "")
            cells.append(f"{effect(verdict.twin)}" + (f" **{word}**" if word else ""))
        rows.append(f"| `{user}` | " + " | ".join(cells) + " |")
    counts = "; ".join(f"{task} n = {max(int(v.twin.n) for v in some)}" for task, some in by_task.items())
    return "\n".join([*rows, "", f"Without a word: cannot tell. Seeds: {counts}."])


def _control_table(overall: pd.DataFrame) -> str:
    columns = ["setting", "user", *(f"against {name}" for name in REFERENCES)]
    rows = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for setting, part in overall.groupby("setting", sort=False):
        for user in users_of(part):
            of_user = {r.against: r for r in part[part["user"] == user].itertuples(index=False)}
            cells = [effect(of_user[name]) if of_user[name].n else "–" for name in REFERENCES]
            rows.append(f"| {setting} | `{user}` | " + " | ".join(cells) + " |")
    counts = sorted({int(n) for n in overall["n"] if n})
    return "\n".join([*rows, "", f"n = {' to '.join(map(str, counts))} seeds."])


def runs_table(tables: Tables) -> str:
    rows = [
        "| command | task | trials | failed | seeds | alpha | twin's accuracy, % | test samples |",
        "|---" * 8 + "|",
    ]
    for row in tables.runs.itertuples(index=False):
        seeds = f"{row.first_seed} to {row.last_seed}"
        rows.append(
            f"| `{command(row.experiment)}` | {row.task} | {row.trials:,} | {row.failed} | {seeds} | {row.alphas} | "
            f"{row.twin_accuracy:.1f} | {row.test_size:,} |"
        )
    versions = tables.runs.drop_duplicates(["hill_sim", "torch", "python", "commit"]).iloc[0]
    made = f"hill-sim {versions.hill_sim}, torch {versions.torch}, Python {versions.python}"
    return "\n".join(
        [
            *rows,
            "",
            f"Made with {made}. The settings of each sweep as it ran: `docs/findings/tables/sweeps`; where seeds are fewer than the experiment names now, the table says so.",
        ]
    )


def page(tables: Tables) -> str:
    """docs/findings.md."""
    found = list(parts(tables))
    lines = [INTRO, "## In two minutes", ""]
    lines += [f"{i}. {answer.text}" for i, answer in enumerate(headlines(found), 1)]
    lines += ["", "## What the words mean", "", RULES]
    lines += [part.markdown() for part in found]
    if beside := paper.table(tables):
        lines += ["## Beside the paper", "", PAPER, "", beside, ""]
    open_ = answers.not_told(tables.verdicts("cross_dataset") if tables.has("cross_dataset") else {})
    lines += ["## What could not be told", "", UNTOLD, ""]
    lines += [*(f"* {answer.text}" for answer in open_), ""] if open_ else []
    lines += ["## What was run", "", runs_table(tables), ""]
    return "\n".join(lines)


def main() -> None:
    tables = Tables(HERE / "tables")
    (HERE / "figures").mkdir(exist_ok=True)
    for part in parts(tables):
        for drawing in part.drawings:
            drawing.save(HERE / "figures")
    PAGE.write_text(page(tables), encoding="utf-8")


if __name__ == "__main__":
    main()
