"""Merge distinct classes: the conflict that the HILL paper's reviewers ask for, edits that fight the data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hill_sim.policy import options
from hill_sim.policy.geometry import disjoint_pairs, merged
from hill_sim.types import Edit, LatentView


@dataclass(frozen=True)
class MergeDistinct:
    """Pulls together the classes that the model confuses least and, among those, that lie farthest apart.

    The counterpart of `merge_similar`, with the same options and defaults; equivariant as that is.

    Attributes:
        pairs: how many pairs, >= 1, no class twice; fewer where there are not enough classes.
        pull: share of the way to the midpoint, in [0,1]; at 1 the two centers coincide.
    """

    pairs: int = 2
    pull: float = 0.8

    def __post_init__(self) -> None:
        options.integer("pairs", self.pairs, 1)
        options.number("pull", self.pull, 0.0, 1.0)

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        return Edit(merged(view, disjoint_pairs(view, self.pairs, similar=False), self.pull))
