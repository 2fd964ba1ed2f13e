"""What may be said of each user: the rule that turns intervals into words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hill_sim.report.study import ENOUGH_SEEDS, SIGNIFICANT, Study, proven
from hill_sim.risk.comparison import REFERENCES
from hill_sim.risk.significance import holm

CONTROL_REFERENCES = tuple(name for name in REFERENCES if name != "twin")
WORDS = {
    "helps": "helps: beats the twin and every control",
    "gains": "gains, but not clearly more than every control",
    "unproven": "gains over the twin; a control is missing",
    "unclear": "no proven effect",
    "same": "the twin itself, to the last prediction",
    "harms": "harms: loses to the twin",
    "few": "too few seeds to tell",
    "nothing": "no finished trial",
}


@dataclass(frozen=True)
class Verdict:
    """One user under one setting, all alphas of a seed averaged.

    Attributes:
        word: a key of `WORDS`.
        twin: the comparison with the twin (a row of `compare`, in points).
        unbeaten: controls that the user does not clearly beat; missing: controls without trials.
    """

    user: str
    kind: str
    setting: str
    word: str
    twin: Any
    unbeaten: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def says(self) -> str:
        if self.word == "gains":
            return f"gains, but not clearly more than {', '.join(self.unbeaten)}"
        if self.word == "unproven":
            return f"gains over the twin; {', '.join(self.missing)} not run"
        return WORDS[self.word]


def verdicts(study: Study, setting: str) -> list[Verdict]:
    """`judge` of the users of the setting, in the order of the report."""
    return judge(study.overall[study.overall["setting"] == setting], study.users)


def judge(table: pd.DataFrame, users: Sequence[str]) -> list[Verdict]:
    """One verdict per user of one setting, in the order of `users`.

    *Helps*: the interval lies above 0 against the twin and against every control, and so says the signed-rank test: of
    its p-values the largest counts, corrected (Holm) for the number of users. *Harms*: interval and corrected test lie
    below 0 against the twin. A control is never said to help: beating the twin is what it is there to expose. Nothing
    is said of fewer than `ENOUGH_SEEDS` seeds; of five the test can prove nothing (p >= 0.06).

    Args:
        table: setting, kind, user and the columns of `compare`, one row a user and reference; in points.
    """
    rows = {(row.user, row.against): row for row in table.itertuples(index=False)}
    users = [user for user in users if (user, "twin") in rows]
    against = {user: {name: rows.get((user, name)) for name in REFERENCES} for user in users}
    judged = [user for user in users if rows[user, "twin"].kind != "control"]
    largest = [max((row.p for row in _compared(against[user]).values() if row.n), default=math.nan) for user in judged]
    joint = dict(zip(judged, holm(np.array(largest, dtype=float)), strict=True))
    return [_verdict(user, against[user], joint.get(user, math.nan)) for user in users]


def _compared(against: dict[str, Any]) -> dict[str, Any]:
    """A control is measured against the others, not against itself."""
    return {name: row for name, row in against.items() if row is not None and "itself" not in row.note}


def _verdict(user: str, against: dict[str, Any], joint: float) -> Verdict:
    twin = against["twin"]
    kind, setting = twin.kind, twin.setting
    compared = {name: row for name, row in _compared(against).items() if name != "twin"}
    missing = tuple(name for name, row in compared.items() if row.n == 0)
    unbeaten = tuple(name for name, row in compared.items() if row.n > 0 and proven(row) <= 0)
    if twin.n == 0:
        word = "nothing"
    elif twin.n < ENOUGH_SEEDS:
        word = "few"
    elif proven(twin) < 0:
        word = "harms"
    elif proven(twin) == 0:
        word = "unclear" if twin.better + twin.worse else "same"
    elif unbeaten or kind == "control":
        word = "gains"
    elif missing:
        word = "unproven"
    elif joint <= SIGNIFICANT:
        word = "helps"
    else:  # clear in each column, but not in all of them together, over all users
        word, unbeaten = "gains", (max(compared, key=lambda name: compared[name].p),)
    return Verdict(user, kind, setting, word, twin, unbeaten, missing)


def of_policy(study: Study, setting: str, policy: str) -> pd.DataFrame:
    """The comparison of a control with the twin: one row, or none."""
    users = set(study.trials.loc[study.trials["policy"] == policy, "user"])
    table = study.overall
    return table[(table["setting"] == setting) & (table["against"] == "twin") & table["user"].isin(users)].head(1)
