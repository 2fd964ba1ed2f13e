"""From the committed tables to sentences: what may be said, by fixed rules, with every number's interval and n.

An answer is *told* where a rule below finds more than chance; else it says what could not be told. Effects are points of
test accuracy against the twin: interquartile mean over seeds, 95 % bootstrap interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from hill_sim.report.study import KINDS, proven, sure
from hill_sim.report.verdicts import Verdict, judge
from hill_sim.report.words import count_of, crossing, effect, listed
from hill_sim.trial import CE_SCALED

RULES = """\
* **helps**: beats the twin *and* the three controls `ce_scaled`, `hold` and `random`: each interval lies above 0, and the
  largest of the four p-values (Wilcoxon's signed-rank test over the seeds, exact) stays below 0.05 after Holm's correction
  for all users of the same sweep and task;
* **gains**: beats the twin, but not clearly every control, so that the gain may not be the user's;
* **harms**: the interval lies below 0 against the twin, and the corrected p-value is below 0.05;
* **cannot tell**: anything else. Below five seeds nothing is said.
"""
SAYS = {"helps": "helps", "harms": "harms", "gains": "gains", "unproven": "gains", "same": "is the twin itself"}
MOST = 4
KINDS_OF_LABELS = ("noisy", "clean")
LITTLE = 0.25
"""A share of the variance below which something is said to matter little, if its whole interval lies there."""


@dataclass(frozen=True)
class Answer:
    """One sentence or two; `told` if a rule found something, not just that nothing could be told."""

    text: str
    told: bool = True


class Tables:
    """The committed tables; a table that is not there is empty."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def runs(self) -> pd.DataFrame:
        return self.table("runs")

    def table(self, name: str) -> pd.DataFrame:
        path = self.folder / f"{name}.csv"
        if not path.exists():
            return pd.DataFrame(columns=["experiment", "task"])
        table = pd.read_csv(path)
        return table.assign(note=table["note"].astype(object).fillna("")) if "note" in table else table

    def of(self, name: str, experiment: str) -> pd.DataFrame:
        table = self.table(name)
        return table[table["experiment"] == experiment].reset_index(drop=True)

    def tasks(self, experiment: str) -> list[str]:
        return list(self.runs.loc[self.runs["experiment"] == experiment, "task"])

    def has(self, experiment: str) -> bool:
        return bool(self.tasks(experiment))

    def verdicts(self, experiment: str, setting: str | None = None) -> dict[str, list[Verdict]]:
        """By task, in the main setting of each or in the one that is named."""
        table = self.of("overall", experiment)
        wanted = table[table["main"] if setting is None else table["setting"] == setting]
        return {task: judge(part, users_of(part)) for task, part in wanted.groupby("task", sort=False)}


def users_of(table: pd.DataFrame) -> list[str]:
    """By kind, then by the gain over the twin, best first."""
    rows = table[table["against"] == "twin"].drop_duplicates("user")
    order = rows.assign(place=rows["kind"].map(KINDS.index), worse=-rows["iqm"].fillna(-math.inf))
    return list(order.sort_values(["place", "worse"])["user"])


def number(row: Any, digits: int = 1) -> str:
    """`+1.2 [+0.4, +1.9], n = 20`."""
    return f"{effect(row, digits)}, n = {int(row.n)}"


def who_helps(by_task: dict[str, list[Verdict]]) -> Answer:
    found = _by_user(by_task, "helps")
    if not found:
        closest = [max(some, key=lambda v: v.twin.iqm) for v in [by_task] for some in _users(by_task).values() if some]
        best = max(closest, key=lambda v: v.twin.iqm, default=None)
        near = (
            f" Closest comes `{best.user}` with {number(best.twin)}: {SAYS.get(best.word, 'cannot tell')}."
            if best
            else ""
        )
        return Answer(f"No simulated user helps beyond all controls on any of {_tasks(by_task)}.{near}", told=False)
    return Answer(_sentence(found, "help", by_task))


def who_harms(by_task: dict[str, list[Verdict]]) -> Answer:
    found = _by_user(by_task, "harms")
    if not found:
        return Answer(f"No user harms beyond doubt on any of {_tasks(by_task)}.", told=False)
    return Answer(_sentence(found, "harm", by_task))


def _sentence(found: dict[str, list[tuple[str, Verdict]]], verb: str, by_task: dict[str, list[Verdict]]) -> str:
    said = []
    for user, where in list(found.items())[:MOST]:
        where = sorted(where, key=lambda item: -abs(item[1].twin.iqm))
        if len(by_task) == 1:
            said.append(f"`{user}` {verb}s {number(where[0][1].twin)}")
            continue
        numbers = "; ".join(f"{task} {number(v.twin)}" for task, v in where[:3])
        more = f"; {len(where) - 3} more" if len(where) > 3 else ""
        tried = sum(any(v.user == user for v in some) for some in by_task.values())
        said.append(f"`{user}` {verb}s on {len(where)} of {count_of(tried, 'task')} ({numbers}{more})")
    rest = [f"`{user}`" for user in list(found)[MOST:]]
    return f"{'; '.join(said)}{'; also ' + listed(rest, 8) if rest else ''}."


def _by_user(by_task: dict[str, list[Verdict]], word: str) -> dict[str, list[tuple[str, Verdict]]]:
    """Users other than controls with this verdict on some task, those with most tasks first, then the largest effect."""
    found: dict[str, list[tuple[str, Verdict]]] = {}
    for task, some in _users(by_task).items():
        for verdict in some:
            if verdict.word == word:
                found.setdefault(verdict.user, []).append((task, verdict))
    return dict(sorted(found.items(), key=lambda item: (-len(item[1]), -max(abs(v.twin.iqm) for _, v in item[1]))))


def _users(by_task: dict[str, list[Verdict]]) -> dict[str, list[Verdict]]:
    return {task: [v for v in some if v.kind != "control"] for task, some in by_task.items()}


def _tasks(by_task: dict[str, Any]) -> str:
    return listed(list(by_task), 8)


def whose_gain(tables: Tables, experiment: str, setting: str) -> list[Answer]:
    """Under a setting that turns the data down: what training without any user gains, and who is beyond it."""
    said = []
    for task, some in tables.verdicts(experiment, setting).items():
        control = next((v for v in some if v.user == CE_SCALED), None)
        users = [v for v in some if v.kind != "control"]
        if control is None or not users:
            continue
        gained = [v for v in users if proven(v.twin) > 0]
        helped = [v for v in users if v.word == "helps"]
        moved = proven(control.twin) > 0
        lead = "gains without any user" if moved else "gains nothing beyond doubt without a user"
        beyond = f"{len(helped)} of them by more than every control" if gained else "so there is no gain to explain"
        if helped and moved:
            rows = minus(tables, experiment, setting, task, CE_SCALED)
            shown = [f"`{v.user}` {number(v.twin)}, of it beyond `ce_scaled` {number(rows[v.user])}" for v in helped]
            beyond += f": {listed(shown)}"
        elif helped:
            beyond += f": {listed([f'`{v.user}` {number(v.twin)}' for v in helped])}"
        said.append(Answer(
            f"On {task}, training under `{setting}` {lead}: `ce_scaled`, the cross-entropy merely turned down, "
            f"{number(control.twin)}. {len(gained)} of {count_of(len(users), 'user')} beat the twin, {beyond}.",
            told=moved,
        ))  # fmt: skip
    return said


def minus(tables: Tables, experiment: str, setting: str, task: str, reference: str) -> dict[str, Any]:
    """The comparison of each user with a reference."""
    table = tables.of("overall", experiment)
    rows = table[(table["setting"] == setting) & (table["task"] == task) & (table["against"] == reference)]
    return {row.user: row for row in rows.itertuples(index=False)}


def from_which_alpha(thresholds: pd.DataFrame, measure: str, lost: str) -> list[Answer]:
    """Per task the users whose harm exceeds a point at some alpha, earliest first; and how many never do."""
    said = []
    for task, part in thresholds[(thresholds["measure"] == measure) & (thresholds["kind"] != "control")].groupby(
        "task", sort=False
    ):
        crossed = part[part["alpha"] < math.inf].sort_values("alpha")
        surely = crossed[(crossed["high"] < math.inf)]
        last = part["last"].max()
        if surely.empty:
            said.append(Answer(
                f"On {task} no user is certain to cost more than a point of {lost} up to alpha {last:g} "
                f"({len(crossed)} of {count_of(len(part), 'user')} cross it in the estimate, {seeds(part)}).", told=False,
            ))  # fmt: skip
            continue
        rows = [f"`{r.user}` from alpha {crossing(r)}" for r in surely.head(MOST).itertuples(index=False)]
        said.append(Answer(
            f"On {task} more than a point of {lost} goes with {listed(rows)}; "
            f"{len(part) - len(crossed)} of {count_of(len(part), 'user')} never reach it up to alpha {last:g} "
            f"({seeds(part)})."
        ))  # fmt: skip
    return said


def for_whom(parts: pd.DataFrame) -> list[Answer]:
    """The class or group that loses most for certain, per task, under users other than controls."""
    said = []
    users = parts[parts["kind"] != "control"]
    for (task, part), rows in sorted(
        users.groupby(["task", "part"], sort=False), key=lambda item: item[0][1] != "group"
    ):
        noun = "classes" if part == "class" else "groups"
        lost = [row for row in rows.sort_values("iqm").itertuples(index=False) if proven(row) < 0]
        gained = [row for row in rows.sort_values("iqm", ascending=False).itertuples(index=False) if proven(row) > 0]
        if not lost and not gained:
            said.append(
                Answer(f"On {task} no change of one of the {noun} is beyond doubt ({seeds(rows)}).", told=False)
            )
            continue
        worst = {row.name: row for row in reversed(lost)}
        hit = sorted(worst.values(), key=lambda row: row.iqm)[:2]
        text = f"On {task} {len({r.name for r in lost})} of {rows['name'].nunique()} {noun} lose under some user"
        if hit:
            text += ", most: " + listed([f"{_named(r)} under `{r.user}` {number(r)} seeds" for r in hit])
        if gained:
            text += f". {count_of(len({r.name for r in gained}), noun[:-2] if part == 'class' else 'group')} gain"
            text += f" under some user, most: {_named(gained[0])} under `{gained[0].user}` {number(gained[0])} seeds"
        said.append(Answer(text + "."))
    return said


def _named(row: Any) -> str:
    return f"{row.name} ({int(row.size)} test samples)"


def change_of(measures: pd.DataFrame, measure: str, what: str, good: int) -> Answer:
    """Who moves a measure for certain, in which direction, over all tasks."""
    rows = measures[(measures["measure"] == measure) & (measures["kind"] != "control") & (measures["n"] > 0)]
    moved = sorted((row for row in rows.itertuples(index=False) if proven(row)), key=lambda row: row.iqm * good)
    if not moved:
        where = listed(list(dict.fromkeys(rows["task"])), 8)
        return Answer(f"{what}: no user moves it beyond doubt on {where} ({seeds(rows)}).", told=False)
    names = listed([f"`{row.user}` on {row.task} {number(row, 2)}" for row in moved], MOST)
    return Answer(f"{what}: {names}.")


def seeds(rows: pd.DataFrame) -> str:
    counts = sorted({int(n) for n in rows["n"] if n > 0})
    return (
        f"n = {counts[0]} seeds"
        if len(counts) == 1
        else f"n = {counts[0]} to {counts[-1]} seeds"
        if counts
        else "no seed"
    )


def controls_move(by_task: dict[str, list[Verdict]]) -> list[Answer]:
    """Controls that change accuracy by themselves: what a user is to be read beside."""
    moved = [(task, v) for task, some in by_task.items() for v in some if v.kind == "control" and proven(v.twin)]
    if not moved:
        return [Answer(f"No control changes accuracy beyond doubt on {_tasks(by_task)}.", told=False)]
    names = listed([f"`{v.user}` on {task} {number(v.twin)}" for task, v in moved], 6)
    return [Answer(f"Doing nothing is not free: {names}. What a strategy loses may be the loss term's doing.")]


def by_setting(overall: pd.DataFrame, what: str) -> list[Answer]:
    """Per user the settings in which it does best and worst, and in how many it moves accuracy for certain."""
    said = []
    rows = overall[(overall["against"] == "twin") & (overall["kind"] != "control")]
    for user, part in rows.groupby("user", sort=False):
        part = part[part["n"] > 0].sort_values("iqm")
        if len(part) < 2:
            continue
        worst, best = (next(part.iloc[[i]].itertuples(index=False)) for i in (0, -1))
        up, down = (sum(proven(r) == sign for r in part.itertuples(index=False)) for sign in (1, -1))
        said.append(Answer(
            f"`{user}`: of {len(part)} {what} it gains in {up} and loses in {down}; best in `{best.setting}` "
            f"{number(best)}, worst in `{worst.setting}` {number(worst)}.", told=bool(up or down),
        ))  # fmt: skip
    return said


def wrong_labels(overall: pd.DataFrame) -> list[Answer]:
    """Who gains where labels are wrong (`*_noisy`) and does not where they are right (`*_clean`), or the reverse."""
    rows = overall[(overall["against"] == "twin") & (overall["kind"] != "control")]
    said = []
    for user, part in rows.groupby("user", sort=False):
        kinds = {
            kind: list(part[part["setting"].str.endswith(kind)].itertuples(index=False)) for kind in KINDS_OF_LABELS
        }
        gains = {kind: [row for row in found if proven(row) > 0] for kind, found in kinds.items()}
        if bool(gains["noisy"]) != bool(gains["clean"]):
            numbers = {k: listed([f"{row.setting} {number(row)}" for row in found]) for k, found in kinds.items()}
            where = "only where labels are wrong" if gains["noisy"] else "only where labels are right"
            text = f"`{user}` gains {where}: {numbers['noisy']}; {numbers['clean']} (training samples a class)."
            said.append(Answer(text))
    return said


def timing(overall: pd.DataFrame) -> list[Answer]:
    """What `hold`, who moves nothing, does in its best and its worst setting, and how many users gain or lose there."""
    rows = overall[overall["against"] == "twin"]
    hold = rows[(rows["user"] == "hold") & (rows["n"] > 0)].sort_values("iqm")
    if len(hold) < 2:
        return []
    worst, best = (next(hold.iloc[[i]].itertuples(index=False)) for i in (0, -1))
    others = rows[rows["kind"] != "control"]
    up = sum(proven(r) > 0 for r in others[others["setting"] == best.setting].itertuples(index=False))
    down = sum(proven(r) < 0 for r in others[others["setting"] == worst.setting].itertuples(index=False))
    users = others["user"].nunique()
    both = proven(best) > 0 and proven(worst) < 0
    lead = "When the user comes decides the sign" if both else "Whether the time alone decides cannot be told"
    return [
        Answer(
            f"{lead}: `hold`, who moves nothing, does {number(best)} on schedule `{best.setting}` and {number(worst)} "
            f"on `{worst.setting}`; of {count_of(users, 'user')} who edit {up} gain on the first and {down} lose on the second.",
            told=both,
        )
    ]


def which_edit(attribution: pd.DataFrame, users: Sequence[str]) -> list[Answer]:
    """What the first and the last interaction do."""
    said = []
    if attribution.empty:
        return []
    gains = attribution[attribution["measure"] == "gain"]
    for user in users:
        rows = gains[(gains["user"] == user) & (gains["kind_of"] == "only_one")].sort_values("epoch")
        adds = gains[(gains["user"] == user) & (gains["kind_of"] == "leave_one_out")].sort_values("epoch")
        if len(rows) < 2 or adds.empty:
            continue
        first, last = rows.iloc[0], rows.iloc[-1]
        some = [r for r in adds.itertuples(index=False) if sure(r)]
        added = (
            listed([f"epoch {int(r.epoch)} {number(r)}" for r in some])
            if some
            else "none is told apart from 0 once the others are there"
        )
        said.append(Answer(
            f"`{user}`: the first interaction (epoch {int(first.epoch)}) alone does {number(first)}, the last (epoch "
            f"{int(last.epoch)}) alone {number(last)}. Added to the others: {added}.",
            told=bool(some) or bool(sure(first)) or bool(sure(last)),
        ))  # fmt: skip
    return said


def which_parameter(sensitivity: pd.DataFrame) -> list[Answer]:
    """The parameters whose total index exceeds what chance leaves, by size."""
    said = []
    total = sensitivity[(sensitivity["order"] == "total") & (sensitivity["measure"] == "gain")]
    for user, rows in total.groupby("user", sort=False):
        told = rows[rows["low"] > rows["residue"]].sort_values("index", ascending=False)
        names = [f"{r.parameter} {r['index']:.2f} [{r.low:.2f}, {r.high:.2f}]" for _, r in told.iterrows()]
        rest = [r for r in rows["parameter"] if r not in set(told["parameter"])]
        first = rows.iloc[0]
        basis = f"total Sobol index; n = {int(first['rows'])} design rows, {count_of(int(first['seeds']), 'seed')} each"
        no = f"; not told from chance: {listed(rest)}" if rest else ""
        chance = f"Chance is {first['noise']:.0%} [{first['noise_low']:.0%}, {first['noise_high']:.0%}] of one trial's variance"
        decided = f"{listed(names)}{no}" if names else f"none of {listed(list(rows['parameter']))} is told from chance"
        said.append(Answer(f"For `{user}`: {decided} ({basis}). {chance}.", told=bool(names)))
    return said


def person_or_strategy(components: pd.DataFrame) -> list[Answer]:
    rows = {r.component: r for r in components[components["measure"] == "gain"].itertuples(index=False)}
    if not {"strategy", "person"} <= set(rows):
        return []

    def share(name: str) -> str:
        r = rows[name]
        return f"{r.share:.0%} [{r.share_low:.0%}, {r.share_high:.0%}]"

    people = [name for name in rows if "person" in name]
    said = f"Of the variance of {int(rows['person'].n):,} gains "
    said += ", ".join(f"{name} {share(name)}" for name in people)
    little = rows["person"].share_high < LITTLE
    verdict = "Who follows a strategy matters little" if little else "How much the person matters cannot be told"
    return [Answer(f"{verdict}. {said}; strategy {share('strategy')}, seed {share('seed')}, the rest {share('rest')}.",
                   told=bool(little))]  # fmt: skip


def trusted(trust: pd.DataFrame) -> list[Answer]:
    """Per rule of trust: the tasks on which it removes harm for certain, and those on which it keeps benefit."""
    said = []
    for rule, rows in trust.groupby("trust", sort=False):
        removed = [f"{r.task} {_percent(r.harm_removed, r.harm_low, r.harm_high)}" for r in _certain(rows, "harm")]
        kept = [
            f"{r.task} {_percent(r.benefit_kept, r.benefit_low, r.benefit_high)}" for r in _certain(rows, "benefit")
        ]
        tried, helped = int((rows["harmed"] > 0).sum()), int((rows["helped"] > 0).sum())
        text = f"`{rule}` removes harm for certain on {len(removed)} of {count_of(tried, 'task')}"
        text += f" ({listed(removed)})" if removed else ""
        text += f", and keeps benefit for certain on {len(kept)} of the {helped} where some user helped"
        text += f" ({listed(kept)})" if kept else ""
        said.append(Answer(f"{text}; {seeds(rows)}.", told=bool(removed)))
    return said


def _certain(rows: pd.DataFrame, what: str) -> list[Any]:
    """Tasks on which the interval lies above 0."""
    return list(rows[rows[f"{what}_low"] > 0].itertuples(index=False))


def _percent(value: float, low: float, high: float) -> str:
    return f"{100 * value:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"


def not_told(by_task: dict[str, list[Verdict]]) -> list[Answer]:
    """Per task the users without a verdict, and how small an effect their intervals leave open."""
    said = []
    for task, some in _users(by_task).items():
        open_ = [v for v in some if v.word in ("unclear", "few")]
        if open_:
            n = int(open_[0].twin.n)
            within = max(max(abs(v.twin.low), abs(v.twin.high)) for v in open_)
            names = listed([f"`{v.user}`" for v in open_], 12)
            said.append(Answer(
                f"{task}: {names}. Their intervals leave open effects of up to {within:.1f} points either way "
                f"(n = {n} seeds).", told=False,
            ))  # fmt: skip
    return said


def told(answers: Iterable[Answer]) -> list[Answer]:
    return [answer for answer in answers if answer.told]
