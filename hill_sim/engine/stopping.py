"""Stopping trials at their interactions, by validation accuracy: what a sweep's pruning asks of the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from hill_sim.engine.planning import Plan, Segment

Thresholds: TypeAlias = Mapping[str, Mapping[int, float]]
"""Per trial key and interaction epoch, the validation accuracy below which the trial stops there."""


class Stopper:
    """Decides which trials of a plan stop where, from nothing but their own accuracies at their own interactions.

    So a trial stops, or does not, whatever it shares its epochs with. Trials that no user edits (the twin, `ce_scaled`)
    never stop: others are compared with them.

    Attributes:
        epochs_saved: replica-epochs of the plan that need not be run.
    """

    def __init__(self, plan: Plan, thresholds: Thresholds) -> None:
        self._thresholds = {
            position: thresholds[trial.key] for position, trial in enumerate(plan.unique) if trial.key in thresholds
        }
        self._stopped: set[int] = set()
        self.epochs_saved = 0

    def stops(self, segment: Segment, accuracy: float) -> list[int]:
        """Positions of the trials that stop at the end of a segment that ended with this validation accuracy."""
        if not self._thresholds:
            return []
        found = [
            trial
            for child in segment.children
            if child.edited
            for below in child.walk()
            for trial in below.finished
            if trial not in self._stopped and accuracy < self._thresholds.get(trial, {}).get(segment.end, 0.0)
        ]
        self._stopped.update(found)
        return found

    def needs(self, segment: Segment) -> bool:
        """Whether a segment must run: False once all trials at and below it have stopped."""
        if not self._stopped:
            return True
        below = list(segment.walk())
        if any(trial not in self._stopped for part in below for trial in part.finished):
            return True
        self.epochs_saved += sum(part.end - part.start for part in below)
        return False
