"""What attribution costs: the epochs that a trial's branches add to the segment tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hill_sim.engine.planning import plan
from hill_sim.risk.attribution import KINDS, branches
from hill_sim.trial import Trial


@dataclass(frozen=True)
class AttributionCost:
    """`str()` is a line for people.

    Attributes:
        trials: given; branches: how many more.
        epochs: to run without the branches, twins included; extra: what the branches add.
        alone: what the branches would cost if each were trained from its first epoch on.
    """

    trials: int
    branches: int
    epochs: int
    extra: int
    alone: int

    def __str__(self) -> str:
        more = f"+{self.extra / self.epochs:.0%}" if self.epochs else "nothing to compare with"
        return (
            f"attribution: {self.branches:,} branches of {self.trials:,} trials, {self.extra:,} extra epochs "
            f"({more}; {self.alone:,} if each were trained alone)"
        )


def attribution_cost(trials: Sequence[Trial], kinds: Sequence[str] = KINDS) -> AttributionCost:
    """Plan the trials with and without their branches.

    Example:
        >>> cost = attribution_cost([Trial(interactions=(25, 30, 35, 40), epochs=45)])
        >>> cost.branches, cost.extra < cost.alone / 3
        (8, True)
    """
    added = {branch.trial for trial in trials for branch in branches(trial, kinds)} - set(trials)
    before = plan(trials).epochs_to_run
    after = plan([*trials, *added]).epochs_to_run
    return AttributionCost(len(trials), len(added), before, after - before, sum(trial.epochs for trial in added))
