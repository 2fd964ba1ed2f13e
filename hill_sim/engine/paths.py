"""What a segment is on its way through the tree: waiting for its turn, where it forks from, ready to run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from torch import Tensor

from hill_sim.engine.planning import Base, Segment
from hill_sim.engine.population import Population
from hill_sim.engine.results import Interaction
from hill_sim.engine.seat import OpenInteraction
from hill_sim.objective import Targets
from hill_sim.types import Array


@dataclass(frozen=True, eq=False)
class Path:
    """What belongs to one replica beside its tensors: shared by all that are forked from it, so never changed.

    `trust` [C] is what `twin` trust has come to; None as long as it has not been judged.
    """

    epochs: tuple[np.ndarray, ...] = ()
    closed: tuple[Interaction, ...] = ()
    past: tuple[OpenInteraction, ...] = ()
    trust: Array | None = None
    projections: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Source:
    """Where a segment forks from: row `row` of a population that has run, and its path."""

    population: Population
    row: int
    path: Path


@dataclass(frozen=True, eq=False)
class Waiting:
    segment: Segment
    source: Source | None


@dataclass(frozen=True, eq=False)
class Ready:
    """A replica about to run: its user, if any, has edited."""

    segment: Segment
    source: Source | None
    path: Path
    targets: tuple[Targets, int] | None


GroupKey: TypeAlias = tuple[Base, int, bool, int]
"""Bucket, start, whether cross-entropy alone, end."""
