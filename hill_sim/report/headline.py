"""The answer in plain words, computed from the comparisons: who helped, who harmed whom, and what is not the user's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hill_sim.report.study import ENOUGH_SEEDS, EPS_POINTS, SIGNIFICANT, Study, proven
from hill_sim.report.verdicts import Verdict, of_policy, verdicts
from hill_sim.report.words import alphas, count_of, crossing, effect, in_seeds, listed
from hill_sim.risk.comparison import REFERENCES
from hill_sim.trial import CE_SCALED

NAMED = 3
WELL_COVERED = 10
_AGAINST = "Points of test accuracy against the twin"


@dataclass(frozen=True)
class Statement:
    """One sentence of the answer, with the numbers that carry it.

    Attributes:
        tone: `good`, `bad`, `caution` or `none`, for its colour and symbol.
        where: the setting it holds under; empty where that goes without saying.
        lead: the sentence; detail: what it rests on, in words.
        items: name, effect with interval, and in how many seeds or samples.
    """

    tone: str
    where: str
    lead: str
    items: tuple[tuple[str, str, str], ...] = ()
    detail: str = ""

    def __str__(self) -> str:
        numbers = "; ".join(" ".join(part for part in item if part) for item in self.items)
        where = f"[{self.where}] " if self.where else ""
        return where + " ".join(part for part in (self.lead, numbers and f"{numbers}.", self.detail) if part)


def headline(study: Study) -> list[Statement]:
    """What the run says, most important first; nothing that its own intervals do not carry."""
    notes = study.runs.info.get("notes", {})
    cautions = [Statement("caution", "", f"{task}: {note}.") for task, note in notes.items()]
    return cautions + _answer(study)


def _answer(study: Study) -> list[Statement]:
    if study.trials.empty and "point" in study.whole.info.get("roles", ()):
        detail = "Which parameters decide the outcome stands below, and in the report."
        return [Statement("none", "", "All trials are points of a design.", detail=detail)]
    if study.trials.empty:
        return [Statement("none", "", "No trial with a user in this run.", detail="There is nothing to compare.")]
    if study.done.empty:
        detail = f"All {count_of(len(study.trials), 'trial')} with a user ended with an error; they are listed below."
        return [Statement("bad", "", "Every trial failed.", detail=detail)]
    judged = verdicts(study, study.main)
    where = study.main if len(study.settings) > 1 else ""
    if all(v.word in ("few", "nothing") for v in judged):
        return [_few(judged, where)]
    found = [_helped(judged, where), _harmed(study, judged, where), _whom(study, judged, where)]
    return [s for s in (*found, _controls(judged, where), *_confounds(study)) if s is not None]


def _few(judged: Sequence[Verdict], where: str) -> Statement:
    seeds = max((int(v.twin.n) for v in judged), default=0)
    largest = sorted((v for v in judged if v.twin.n), key=lambda v: -abs(v.twin.iqm))
    detail = f"An interval from fewer than {ENOUGH_SEEDS} seeds is too narrow to conclude from. Largest changes so far:"
    return Statement("none", where, f"Too few seeds to tell: {seeds}.", _items(largest), detail)


def _helped(judged: Sequence[Verdict], where: str) -> Statement:
    users = [v for v in judged if v.kind != "control"]
    if helps := _by_gain(v for v in users if v.word == "helps"):
        detail = f"{_AGAINST}; also clearly more than every control."
        return Statement("good", where, f"{_names(helps)} {_verb(helps, 'help')}.", _items(helps), detail)
    if gains := _by_gain(v for v in users if v.word in ("gains", "unproven")):
        lead = f"{_names(gains)} {_verb(gains, 'gain')}, but it may not be the user's doing."
        return Statement("caution", where, lead, _items(gains), f"{_AGAINST}.{_rivals(gains)}")
    closest = _by_gain(v for v in users if v.word == "unclear" and v.twin.iqm > 0)
    if not closest:
        return Statement("none", where, "No user helps.", detail="No user's gain over its twin stands out from chance.")
    best = closest[0]
    detail = f"{_AGAINST}; {best.user} comes closest."
    beaten = [n for n in ("hold", "random") if n not in best.unbeaten and n not in best.missing]
    if beaten:
        detail += f" It is clearly better than {listed(beaten)}: where it moves things matters."
    return Statement("none", where, "No user helps beyond doubt.", _items(closest[:2]), detail)


def _rivals(gains: Sequence[Verdict]) -> str:
    missing = sorted({name for v in gains for name in v.missing})
    rivals = [name for name in REFERENCES[1:] if any(name in v.unbeaten for v in gains)]
    why = f" Not all of them clearly beat {listed(rivals)}." if rivals else ""
    return why + (f" {listed(missing)} not run: what they would gain is not known." if missing else "")


def _harmed(study: Study, judged: Sequence[Verdict], where: str) -> Statement | None:
    harms = _by_gain((v for v in judged if v.word == "harms" and v.kind != "control"), worst=True)
    if not harms:
        return None
    detail = f"{_AGAINST}."
    if len(study.alphas) > 1:
        table = study.thresholds[study.thresholds["setting"] == study.main].set_index("user")
        told = [f"{v.user} from alpha {crossing(table.loc[v.user])} on" for v in harms[:NAMED]
                if math.isfinite(table.loc[v.user, "alpha"])]  # fmt: skip
        if told:
            detail += f" More than {EPS_POINTS:g} point lost: {', '.join(told)}."
    return Statement("bad", where, f"{_names(harms)} {_verb(harms, 'harm')}.", _items(harms), detail)


def _whom(study: Study, judged: Sequence[Verdict], where: str) -> Statement | None:
    """The classes that lose most for certain under any user who is not a control."""
    table = study.per_class.rename(columns={"class": "cls"})
    users = {v.user for v in judged if v.kind != "control"}
    rows = table[(table["setting"] == study.main) & table["user"].isin(users)]
    lost = [row for row in rows.sort_values("iqm").itertuples(index=False) if proven(row) < 0]
    worst = {row.cls: row for row in reversed(lost)}
    hit = sorted(worst.values(), key=lambda row: row.iqm)[:NAMED]
    if not hit:
        return None
    names, sizes = study.classes
    items = tuple(
        (
            f"class {names[row.cls]} under {row.user}",
            effect(row),
            "" if sizes[row.cls] is None else f"n = {sizes[row.cls]}",
        )
        for row in hit
    )
    noun = "class" if len(hit) == 1 else "classes"
    lead = f"Hit hardest: {noun} {listed([names[row.cls] for row in hit])}."
    return Statement(
        "bad",
        where,
        lead,
        items,
        "Points of the class's recall against the twin, each in its worst case; n test samples. Corrected for all "
        "users and classes.",
    )


def _controls(judged: Sequence[Verdict], where: str) -> Statement | None:
    """Controls that change something by themselves, under the main setting."""
    moved = [v for v in judged if v.kind == "control" and proven(v.twin) != 0]
    if not moved:
        return None
    lead = f"Even {_names(moved)} {_verb(moved, 'change')} the model."
    return Statement("caution", where, lead, _items(moved), f"{_AGAINST}; read every user beside this.")


def _confounds(study: Study) -> list[Statement]:
    """Settings under which turning the cross-entropy down, without any user, already gains."""
    said = []
    for setting in study.drawn:
        control = of_policy(study, setting, CE_SCALED)
        if control.empty or proven(row := next(control.itertuples(index=False))) <= 0:
            continue
        users = [v for v in verdicts(study, setting) if v.kind != "control"]
        gained = [v for v in users if proven(v.twin) > 0]
        beyond = [v for v in gained if CE_SCALED not in v.unbeaten]
        detail = (
            f"{CE_SCALED} only turns the cross-entropy down. There {len(gained)} of {count_of(len(users), 'user')} "
        )
        detail += "beats the twin" if len(gained) == 1 else "beat the twin"
        detail += f" ({listed([v.user for v in gained])}); beyond {CE_SCALED}: {_who(beyond)}." if gained else "."
        where = setting if len(study.settings) > 1 else ""
        item = (CE_SCALED, effect(row), in_seeds(row))
        said.append(Statement("caution", where, "Training gains without any user.", (item,), detail))
    return said


def _who(some: Sequence[Verdict]) -> str:
    return listed([v.user for v in some]) if some else "none"


def caveats(study: Study) -> list[str]:
    """What the intervals do not cover, in words."""
    compared = sum(1 for v in verdicts(study, study.main))
    said = [
        f"Effects are means over {alphas(study.alphas)} where no alpha is named; n counts seeds "
        f"({count_of(len(study.seeds), 'seed')} in this run).",
        "A seed stands for initialisation, data order and what a user draws by chance. The split of the data"
        + (f" and the {study.test_size:,} test samples are" if study.test_size else " is")
        + " the same for all seeds, so the intervals say nothing about other data.",
    ]
    if compared > 1:
        said.append(
            "A user is said to help or to harm only if a signed-rank test over the seeds says so too, corrected for "
            f"the {count_of(compared, 'user')} compared (Holm: p below {SIGNIFICANT:g} for all together). The "
            "intervals are 95 % each: about one in twenty would exclude 0 by chance, in tables and figures too."
        )
    if ENOUGH_SEEDS <= len(study.seeds) < WELL_COVERED:
        said.append(
            f"With fewer than {WELL_COVERED} seeds a bootstrap interval is a little too narrow: of five normal "
            "differences it covers the truth 89 times in 100, of ten 94 times."
        )
    return said


def _by_gain(found: Iterable[Verdict], worst: bool = False) -> list[Verdict]:
    return sorted(found, key=lambda v: float(v.twin.iqm), reverse=not worst)


def _names(some: Sequence[Verdict]) -> str:
    return listed([v.user for v in some], 4)


def _verb(some: Sequence[Verdict], verb: str) -> str:
    return verb + ("s" if len(some) == 1 else "")


def _items(some: Sequence[Verdict]) -> tuple[tuple[str, str, str], ...]:
    return tuple((v.user, effect(v.twin), in_seeds(v.twin)) for v in some[:NAMED])
