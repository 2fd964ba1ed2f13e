"""The leaderboard as text for the terminal."""

from __future__ import annotations

import textwrap
from typing import Any

from hill_sim.engine.results import RunSet
from hill_sim.report.headline import headline
from hill_sim.report.search import Found, search_text
from hill_sim.report.study import KIND_TITLES, Study
from hill_sim.report.verdicts import Verdict, verdicts
from hill_sim.report.words import alphas, count_of, effect, short
from hill_sim.risk.comparison import REFERENCES

WIDTH = 100
_NAME, _SEEDS, _CELL = 16, 5, 19  # columns: the user, "12/20", an interval and the space before it
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
    heading = f"  {'user':<{_NAME + _SEEDS}}" + "".join(f"{'- ' + name:>{_CELL}}" for name in REFERENCES)
    lines = [short(title, WIDTH), heading]
    kind = ""
    for verdict in verdicts(study, setting):
        if verdict.kind != kind:
            kind = verdict.kind
            lines.append(f"  {KIND_TITLES[kind].lower()}")
        lines.append(_line(verdict, rows))
    return lines


def _line(verdict: Verdict, rows: dict) -> str:
    against_twin = rows[verdict.user, "twin"]
    seeds = f"{int(against_twin.better)}/{int(against_twin.n)}" if against_twin.n else ""
    mark = _MARKS.get(verdict.word, " ")
    name = verdict.user if len(verdict.user) < _NAME else short(verdict.user, _NAME - 1)
    cells = "".join(f"{_interval(rows[verdict.user, reference]):>{_CELL}}" for reference in REFERENCES)
    return f"{mark} {name:<{_NAME}}{seeds:>{_SEEDS}}{cells}"


def _interval(row: Any) -> str:
    for digits in (1, 0):
        text = plain(effect(row, digits)).replace(", ", ",")
        if len(text) < _CELL:
            break
    return "" if text == "-" else text


def plain(text: str) -> str:
    """With ASCII signs, for any terminal."""
    return text.replace("−", "-").replace("–", "-")
