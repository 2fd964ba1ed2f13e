"""Trust in the engine: what a rule makes of the targets of one replica, and when."""

from __future__ import annotations

import numpy as np
import torch

from hill_sim.engine.planning import CrossEntropy, Human
from hill_sim.engine.population import Population
from hill_sim.trust import Constant, Fixed, Gradient, Schedule, Trust, Twin
from hill_sim.types import Array


def trust_at_first(rule: Trust, before: Array | None, n_classes: int) -> Array | None:
    """Trust [C] when an edit's targets are made; `before` is what `twin` trust has come to. None is 1 for good."""
    if isinstance(rule, Fixed):
        return None
    if isinstance(rule, Constant):
        return np.full(n_classes, rule.factor)
    if isinstance(rule, Gradient):
        return np.full(n_classes, np.nan)  # measured on the first batch of each class
    return np.ones(n_classes) if before is None else before  # a schedule says what it wants before each epoch


def follow_schedule(population: Population, row: int, regime: CrossEntropy | Human, epoch: int) -> None:
    """Set a scheduled trust for the epoch that is about to begin."""
    if isinstance(regime, Human) and isinstance(regime.trust, Schedule):
        set_trust(population, row, np.asarray(regime.trust.at(epoch - regime.since)))


def judged_every(regime: CrossEntropy | Human, when: str) -> bool:
    """True for `twin` trust that is judged after every `interaction` or `epoch`."""
    return isinstance(regime, Human) and isinstance(regime.trust, Twin) and regime.trust.every == when


def set_trust(population: Population, row: int, trust: Array | None) -> None:
    """Trust [C], or one number for all classes, into the targets of a row; None leaves them."""
    found = population.targets_of(row)
    if trust is not None and found is not None and found[0].trust is not None:
        found[0].trust[found[1]] = torch.as_tensor(trust)
