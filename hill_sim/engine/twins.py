"""What the engine remembers of the twins while their trials run: the yardstick of every interaction.

A twin always runs ahead of the trials that are compared with it (`walk.Walker` sees to that). At each epoch at which
one of their interactions ends it is measured, once for all of them, and only what they will ask for is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from hill_sim.engine.planning import Base, Plan, Sight, base_of
from hill_sim.types import Array


@dataclass(frozen=True, eq=False)
class Validation:
    """A model on the validation split: cross-entropy [V] float64 and correctness [V] bool of each sample."""

    losses: Array
    correct: Array

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor) -> Validation:
        """From logits [V,C] and labels [V]."""
        log_p = logits.double().log_softmax(-1)
        losses = -log_p.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
        return cls(losses.cpu().numpy(), (logits.argmax(-1) == labels).cpu().numpy())

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self.losses).all())


@dataclass(frozen=True, eq=False)
class Moment:
    """A twin at the end of one epoch: its validation, and where the points of each display stood, [n,2] in layout
    coordinates (`seat.layout_coordinates`)."""

    validation: Validation
    layouts: Mapping[Sight, Array]


class TwinRecords:
    """The moments of all twins, kept until the last trial of their tree has ended."""

    def __init__(self, plan: Plan) -> None:
        self._watched = plan.watched
        self._left = Counter(base_of(trial) for trial in plan.unique)
        self._moments: dict[Base, dict[int, Moment]] = {}

    def wants(self, base: Base, epoch: int) -> frozenset[Sight] | None:
        """The displays to measure at the end of an epoch; None where it is not asked for, or is known."""
        if epoch in self._moments.get(base, {}):
            return None
        return self._watched.get(base, {}).get(epoch)

    def add(self, base: Base, epoch: int, moment: Moment) -> None:
        self._moments.setdefault(base, {})[epoch] = moment

    def at(self, base: Base, epoch: int) -> Moment | None:
        """None where the twin failed."""
        return self._moments.get(base, {}).get(epoch)

    def ended(self, base: Base) -> None:
        """One more trial has ended; after the last one nobody asks any more."""
        self._left[base] -= 1
        if not self._left[base]:
            self._moments.pop(base, None)
