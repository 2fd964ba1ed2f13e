"""What each interaction did: the trial without it, and the trial with it alone.

A trial with interactions (25, 30, 35, 40) has the *leave-one-out* branches (30, 35, 40), (25, 35, 40), ... and the
*only-one* branches (25), (30), ... They are ordinary trials, so the planner lets them share every epoch up to the first
difference.

The counterfactual is one of behaviour, not of a recorded drag: in a branch the user acts anew at each interaction that
is left, on what is seen then, remembering only the sessions that took place. So a leave-one-out effect holds what the
later sessions would have done in its stead, and a user whose turn depends on the past (`flip_flop`, `switching`, a
`committee` that takes turns) does in each session what would have been that session's turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hill_sim.errors import InvalidInput, unknown
from hill_sim.risk.comparison import summarise
from hill_sim.trial import CE_SCALED, Trial

LEAVE_ONE_OUT, ONLY_ONE = "leave_one_out", "only_one"
KINDS = (LEAVE_ONE_OUT, ONLY_ONE)
MEASURES = ("gain", "worst_recall_change", "recall_disparity_change", "negative_flips", "positive_flips", "churn",
            "generalisation_gap_change")  # fmt: skip
EFFECTS = ("key", "seed", "epoch", "kind", "measure", "class", "effect")
COLUMNS = ("epoch", "kind", "measure", "class", "iqm", "low", "high", "n", "better", "worse", "lost", "note")


@dataclass(frozen=True)
class Branch:
    """A trial without the interaction at `epoch` (`leave_one_out`), or with that alone (`only_one`)."""

    trial: Trial
    kind: str
    epoch: int

    @property
    def name(self) -> str:
        """`without 30`, `only 30`."""
        return f"{'without' if self.kind == LEAVE_ONE_OUT else 'only'} {self.epoch}"


def branches(trial: Trial, kinds: Sequence[str] = KINDS) -> list[Branch]:
    """The branches of one trial, by kind and epoch; none of a trial with fewer than two interactions or no user.

    With two interactions the trial without the first is the trial with the second alone: it is both branches.

    Raises:
        InvalidInput: unknown kind.

    Example:
        >>> [(b.name, b.trial.interactions) for b in branches(Trial(interactions=(25, 30)), ["leave_one_out"])]
        [('without 25', (30,)), ('without 30', (25,))]
    """
    for kind in kinds:
        if kind not in KINDS:
            raise unknown("kind of branch", kind, KINDS)
    count = len(trial.interactions)
    if trial.is_twin or trial.policy == CE_SCALED or count < 2:
        return []
    everything = range(count)
    return [
        Branch(_with(trial, [i for i in everything if (i == at) == (kind == ONLY_ONE)]), kind, trial.interactions[at])
        for kind in kinds
        for at in everything
    ]


def _with(trial: Trial, kept: Sequence[int]) -> Trial:
    changes: dict[str, Any] = {"interactions": tuple(trial.interactions[i] for i in kept)}
    if isinstance(trial.policy, tuple):
        changes["policy"] = tuple(trial.policy[i] for i in kept)
        if isinstance(trial.policy_options, tuple):
            changes["policy_options"] = tuple(trial.policy_options[i] for i in kept)
    return trial.replace(**changes)


def effects(
    trials: Sequence[Trial],
    outcomes: pd.DataFrame,
    measures: Sequence[str] = MEASURES,
    *,
    of: Sequence[Trial] | None = None,
) -> pd.DataFrame:
    """The effect of every interaction of every trial whose branches are among the outcomes: one row a measure.

    `leave_one_out` is the full trial minus the trial without the interaction: what it adds to the others. `only_one` is
    the trial with it alone minus the twin: what it does by itself. Neither sums to the whole where interactions lean
    on each other.

    Args:
        trials: with every default filled in, in the order of the outcomes (`[r.trial for r in runs.results]`).
        outcomes: one row a trial, with `key`, `status`, `class_gain` and the measures, all relative to the twin.
        of: the trials to tell about; by default all that are not a branch of another.

    Returns:
        One row per full trial's key, `epoch`, `kind`, `measure` and `class` (-1 but for the measure `class_gain`):
        `key`, `seed`, `effect`; it is NaN where a branch failed, or was not run although others of its kind were.

    Raises:
        InvalidInput: trials and outcomes do not match, or an unknown measure.
    """
    if len(trials) != len(outcomes):
        raise InvalidInput(f"trials: {len(trials)} for {len(outcomes)} outcomes")
    for name in (*measures, "key", "status", "class_gain"):
        if name not in outcomes:
            raise InvalidInput(f"measures: no column {name!r} in the outcomes")
    rows = {trial: i for i, trial in enumerate(trials)}
    table = outcomes[list(measures)].to_numpy(dtype=np.float64)
    width = max((len(gains) for gains in outcomes["class_gain"]), default=0)
    per_class = np.full((len(trials), width), np.nan)
    for i, gains in enumerate(outcomes["class_gain"]):
        per_class[i, : len(gains)] = gains
    values = np.hstack([table, per_class])
    values[(outcomes["status"] != "done").to_numpy()] = np.nan
    names = [*measures, *["class_gain"] * width]
    classes = [-1] * len(measures) + list(range(width))
    if of is None:
        inner = {branch.trial for trial in trials for branch in branches(trial)}
        of = [trial for trial in trials if trial not in inner]
    found = list(_found(of, rows))
    if not found:
        return pd.DataFrame(columns=list(EFFECTS))
    own = values[[rows[trial] for trial, *_ in found]]
    missing = np.full(len(names), np.nan)
    branch_values = np.array([missing if row is None else values[row] for *_, row in found])
    left_out = np.array([kind == LEAVE_ONE_OUT for _, kind, _, _ in found])
    effect = np.where(left_out[:, None], own - branch_values, branch_values)
    told = [(trial.key, trial.seed, epoch, kind) for trial, kind, epoch, _ in found]
    table = pd.DataFrame(told, columns=list(EFFECTS[:4])).loc[np.repeat(np.arange(len(found)), len(names))]
    table["measure"], table["class"] = names * len(found), classes * len(found)
    return table.assign(effect=effect.ravel()).reset_index(drop=True)


def _found(trials: Sequence[Trial], rows: dict[Trial, int]) -> Iterator[tuple[Trial, str, int, int | None]]:
    """Full trial, kind, epoch and the row of the branch. A kind counts as asked for if most of its branches are there:
    a schedule that happens to be a part of another's (25 of 25, 30, 35, 40) does not make that one attributable."""
    lengths = {len(trial.interactions) for trial in rows}
    for trial in dict.fromkeys(trials):
        for kind in KINDS:
            if (1 if kind == ONLY_ONE else len(trial.interactions) - 1) not in lengths:
                continue  # most runs have no branches: not worth making them all up to find that out
            some = branches(trial, [kind])
            places = [rows.get(branch.trial) for branch in some]
            if 2 * sum(place is not None for place in places) > len(some):
                for branch, place in zip(some, places, strict=True):
                    yield trial, kind, branch.epoch, place


def attribution(
    effects: pd.DataFrame, by: Sequence[str] = (), *, level: float = 0.95, resamples: int = 2000
) -> pd.DataFrame:
    """Effects summarised over seeds: interquartile mean, bootstrap interval and n, paired by construction.

    Args:
        effects: of `effects`, with more columns where groups are wanted (user, setting, alpha).
        by: those columns. What they do not tell apart (persons, say) is averaged within a seed first.

    Returns:
        One row per group, epoch, kind, measure and class with `COLUMNS`; `lost` counts seeds without a pair (failed),
        `note` says why there is no number or no interval.
    """
    keys = [*by, "epoch", "kind", "measure", "class"]
    if effects.empty:
        return pd.DataFrame(columns=[*by, *COLUMNS])
    grouped = effects.groupby([*keys, "seed"], sort=False)["effect"]
    per_seed = grouped.mean().where(grouped.count() == grouped.size()).unstack("seed", sort=False)
    table = per_seed.index.to_frame(index=False).join(
        summarise(per_seed.to_numpy(), level=level, resamples=resamples).drop(columns="improvement")
    )
    expected = effects.groupby(keys, sort=False)["seed"].nunique().to_numpy()
    note = np.where(table["n"] == 0, "no finished pair", np.where(table["n"] == 1, "no interval: one seed", ""))
    return table.assign(lost=expected - table["n"], note=note)[[*by, *COLUMNS]]
