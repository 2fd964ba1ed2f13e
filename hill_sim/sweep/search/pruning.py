"""When to stop a trial: thresholds on validation accuracy, from the candidates of earlier generations alone.

Optuna's percentile rule, per seed: at an interaction a trial is compared with what earlier candidates had reached at
the same epoch under the same seed (and the same user and case), since seeds differ more than candidates do. Validation
accuracies decide, never the test split.

A seed alone decides nothing: under a median rule luck would stop half of the seeds of a middling candidate, and some
seed of nearly every one. So a candidate is given up only if more than half of its trials were stopped. Trials that were
stopped of a candidate that goes on are trained again, to the end.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hill_sim.sweep.search.candidates import Candidate, Ended
from hill_sim.sweep.search.spec import Prune

Series = tuple[str, str, int]  # case, label, seed


class Pruning:
    """Collects the curves of candidates that have ended, and derives thresholds from them."""

    def __init__(self, rule: Prune) -> None:
        self._rule = rule
        self._curves: dict[Series, list[tuple[float, ...]]] = {}
        self._candidates = 0

    def learn(self, candidate: Candidate, ended: Mapping[str, Ended]) -> None:
        """Remember how a candidate went, stopped or not; candidates that failed say nothing."""
        if any(ended[key].status == "failed" for key in candidate.keys):
            return
        self._candidates += 1
        for item in candidate.planned:
            series = (item.case, item.label, item.trial.seed)
            self._curves.setdefault(series, []).append(tuple(ended[item.trial.key].curve))

    def thresholds(self, candidate: Candidate) -> dict[str, dict[int, float]]:
        """By trial key and interaction epoch; empty until enough candidates have ended."""
        if self._candidates < self._rule.startup:
            return {}
        found: dict[str, dict[int, float]] = {}
        for item in candidate.planned:
            curves = self._curves.get((item.case, item.label, item.trial.seed), [])
            for epoch in item.trial.interactions[self._rule.warmup :]:
                there = [curve[epoch - 1] for curve in curves if len(curve) >= epoch]
                if len(there) >= self._rule.startup // 2:
                    limit = float(np.percentile(there, 100.0 - self._rule.percentile))
                    found.setdefault(item.trial.key, {})[epoch] = limit
        return found
