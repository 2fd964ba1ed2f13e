"""What the paper reports, beside what was found here: agreement is decided by the same rules as everything else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from docs.findings.answers import Tables, number, seeds
from hill_sim.report.study import proven
from hill_sim.report.verdicts import Verdict
from hill_sim.report.words import count_of, crossing, listed
from hill_sim.trial import CE_SCALED

AGREES, PARTLY, DISAGREES, OPEN = "agrees", "in part", "disagrees", "cannot tell"


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, what was found here, and a word."""

    paper: str
    here: str
    word: str


def claims(tables: Tables) -> Iterator[Claim]:
    """Those that the tables can speak to."""
    if tables.has("baseline"):
        yield _gain(tables)
    if tables.has("alpha_sensitivity"):
        yield _overfitting(tables)
    if tables.has("conflict_stress"):
        yield _bias(tables)
        yield _conflict(tables)


def _of(some: list[Verdict], user: str) -> Verdict | None:
    return next((v for v in some if v.user == user), None)


def _gain(tables: Tables) -> Claim:
    task, some = next(iter(tables.verdicts("baseline", "paper").items()))
    users = [v for v in some if v.kind == "strategy"]
    gained = sorted((v for v in users if proven(v.twin) > 0), key=lambda v: -v.twin.iqm)
    helped = [v for v in users if v.word == "helps"]
    control = _of(some, CE_SCALED)
    here = f"{task}, 10 % wrong labels, published objective, alpha 0.5: {len(gained)} of {len(users)} strategies gain"
    if gained:
        here += f" (`{gained[0].user}` {number(gained[0].twin)})"
    if control is not None:
        here += f"; training without a user `ce_scaled` {number(control.twin)}"
    here += f". Beyond every control: {listed([f'`{v.user}`' for v in helped]) or 'none'}."
    word = OPEN if not gained else AGREES if len(helped) == len(gained) else PARTLY if helped else DISAGREES
    return Claim("Users gain 1.6 to 2.2 points over the baseline (CIFAR-10, PAMAP2; alpha 0.5).", here, word)


def _overfitting(tables: Tables) -> Claim:
    rows = tables.of("thresholds", "alpha_sensitivity")
    rows = rows[(rows["measure"] == "gap") & (rows["kind"] != "control")]
    crossed = [row for row in rows.sort_values("alpha").itertuples(index=False) if row.high < float("inf")]
    last = rows["last"].max()
    if crossed:
        here = f"The gap widens by more than a point with {listed([f'`{r.user}` from alpha {crossing(r)}' for r in crossed])}"
    else:
        here = f"No user of {len(rows)} is certain to widen the generalisation gap by a point up to alpha {last:g}"
    changes = tables.of("measures", "alpha_sensitivity")
    gap = changes[(changes["measure"] == "generalisation_gap_change") & (changes["kind"] != "control")]
    narrowed = [row for row in gap.sort_values("iqm").itertuples(index=False) if proven(row) < 0]
    if narrowed:
        here += f"; {len(narrowed)} narrow it, most `{narrowed[0].user}` {number(narrowed[0])}"
    wider = _wider(tables)
    if wider:
        here += f"; with other data {len(wider)} of the comparisons in `overfitting_stress` widen it, most "
        here += f"`{wider[0].user}` under `{wider[0].setting}` {number(wider[0])}"
    word = DISAGREES if crossed else PARTLY if wider else AGREES
    return Claim("No overfitting was observed.", f"{here}; {seeds(gap)}.", word)


def _wider(tables: Tables) -> list[Any]:
    """Users and amounts of data with a gap that is wider than the twin's for certain, the widest first."""
    changes = tables.of("measures", "overfitting_stress")
    if changes.empty:
        return []
    gap = changes[(changes["measure"] == "generalisation_gap_change") & (changes["kind"] != "control")]
    return [row for row in gap.sort_values("iqm", ascending=False).itertuples(index=False) if proven(row) > 0]


def _bias(tables: Tables) -> Claim:
    changes = tables.of("measures", "conflict_stress")
    users = changes[changes["kind"] != "control"]
    said, told = [], False
    for measure, what in (
        ("imprint", "follow the wish (imprint, % of the way)"),
        ("directed_confusion", "confuse the classes pulled together"),
    ):
        rows = users[users["measure"] == measure]
        moved = sorted((r for r in rows.itertuples(index=False) if proven(r) > 0), key=lambda r: -r.iqm)
        told = told or bool(moved)
        most = f", most `{moved[0].user}` {number(moved[0], 0 if measure == 'imprint' else 2)}" if moved else ""
        said.append(f"{len(moved)} of {count_of(len(rows[rows['n'] > 0]), 'user')} make the model {what}{most}")
    return Claim("A user's bias can be trained in.", "; ".join(said) + ".", AGREES if told else OPEN)


def _conflict(tables: Tables) -> Claim:
    task, some = next(iter(tables.verdicts("conflict_stress").items()))
    users = [v for v in some if v.kind == "conflict" and v.twin.n]
    harmed = sorted((v for v in users if v.word == "harms"), key=lambda v: v.twin.iqm)
    steady = _of(some, "compactness")
    here = f"{task}: {len(harmed)} of {count_of(len(users), 'conflicting user')} harm"
    here += f" ({listed([f'`{v.user}` {number(v.twin)}' for v in harmed], 3)})" if harmed else ""
    others = [v for v in users if v.word != "harms"]
    here += f"; shrugged off: {listed([f'`{v.user}`' for v in others])}" if others else ""
    here += f". The steady `compactness`: {number(steady.twin)}." if steady else "."
    word = AGREES if len(harmed) == len(users) else PARTLY if harmed else DISAGREES
    return Claim("Changing strategies conflict and cost accuracy; consistent ones gain.", here, word)


def table(tables: Tables) -> str:
    """The claims as a Markdown table; empty without any."""
    found = list(claims(tables))
    if not found:
        return ""
    rows = [f"| {claim.paper} | {claim.here} | **{claim.word}** |" for claim in found]
    return "\n".join(["| the paper | here | |", "|---|---|---|", *rows])
