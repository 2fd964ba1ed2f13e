"""The leaderboard as text for the terminal."""

from __future__ import annotations

import textwrap
from typing import Any

from hill_sim.engine.results import RunSet
from hill_sim.report.headline import headline
from hill_sim.report.search import Found, search_text
from hill_sim.report.study import KIND_TITLES, Study
from hill_sim.report.verdicts import Verdict, verdicts
from hill_sim.report.words import alphas, count_of, effect
from hill_sim.risk.comparison import REFERENCES

WIDTH = 100
_NAME, _CELL = 15, 20
_MARKS = {"helps": "+", "harms": "-", "gains": "~", "unproven": "~"}


def leaderboard_text(runs: RunSet) -> str:
    """Users by gain in test accuracy, with intervals, against the twin and the controls; at most 100 columns wide.

    Example:
        >>> from hill_sim import Trial, simulate
        >>> runs = simulate([Trial(policy="compactness", epochs=3, interactions=(1, 2))])
        >>> "compactness" in leaderboard_text(runs)
        True
    """
    if (found := Found.of(runs)) is not None:
        return plain(search_text(found))
    study = Study.of(runs)
    lines: list[str] = []
    for statement in headline(study):
        lines += textwrap.wrap(plain(str(statement)), WIDTH, subsequent_indent="  ")
    lines.append("")
    for setting in study.drawn if study.settings else ():
        lines += [*_block(study, setting), ""]
    if len(study.settings) > len(study.drawn):
        lines += [f"{len(study.settings) - len(study.drawn)} more settings are in results.parquet", ""]
    if study.hidden_users:
        lines += [f"{count_of(study.hidden_users, 'more user')} between the best and the worst shown here", ""]
    if study.failed:
        lines.append(f"{count_of(len(study.failed), 'trial')} failed, left out above (with their seed)")
    if study.settings:
        lines.append("+ beats the twin and every control  - loses to the twin  ~ gains, but not clearly over controls")
        lines.append(
            "k/n: better than the twin in k of n seeds. Interquartile means, 95 % bootstrap intervals over seeds."
        )
    return "\n".join(line.rstrip() for line in lines)


def _block(study: Study, setting: str) -> list[str]:
    rows = {(r.user, r.against): r for r in study.overall[study.overall["setting"] == setting].itertuples(index=False)}
    title = f"{setting}: change of test accuracy in points, mean over {alphas(study.alphas)}"
    heading = f"  {'user':<{_NAME}}" + "".join(f"{'- ' + name:>{_CELL}}" for name in REFERENCES)
    lines = [_cut(title, WIDTH), heading]
    kind = ""
    for verdict in verdicts(study, setting):
        if verdict.kind != kind:
            kind = verdict.kind
            lines.append(f"  {KIND_TITLES[kind].lower()}")
        lines.append(_line(verdict, rows))
    return lines


def _line(verdict: Verdict, rows: dict) -> str:
    cells = []
    for name in REFERENCES:
        row = rows[verdict.user, name]
        if name == "twin":
            seeds = f"{int(row.better)}/{int(row.n)}" if row.n else ""
            cells.append(f"{seeds:>5} {_interval(row):>{_CELL - 3}}")
        else:
            cells.append(f"{_interval(row):>{_CELL - 1}}")
    mark = _MARKS.get(verdict.word, " ")
    return f"{mark} {_cut(verdict.user, _NAME):<{_NAME}}" + " ".join(cells)


def _interval(row: Any) -> str:
    for digits in (1, 0):
        text = plain(effect(row, digits)).replace(", ", ",")
        if len(text) <= _CELL - 2:
            break
    return "" if text == "-" else text


def plain(text: str) -> str:
    """With ASCII signs, for any terminal."""
    return text.replace("−", "-").replace("–", "-")


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
