"""Merge similar classes: named in the HILL paper (arXiv 2505.06325) as an observed strategy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hill_sim.policy import options
from hill_sim.policy.geometry import disjoint_pairs, merged
from hill_sim.types import Edit, LatentView


@dataclass(frozen=True)
class MergeSimilar:
    """Pulls together the classes that the model confuses most or, where none is confused, that lie nearest.

    Both centers of a pair go towards their midpoint. Each class is in one pair at most. Equivariant under renamed
    classes, permuted points and moved, turned, mirrored or scaled views, but for exact ties.

    Attributes:
        pairs: how many pairs, >= 1, fewer where there are not enough classes.
        pull: share of the way to the midpoint, in [0,1]; at 1 the two centers coincide.
    """

    pairs: int = 2
    pull: float = 0.8

    def __post_init__(self) -> None:
        options.integer("pairs", self.pairs, 1)
        options.number("pull", self.pull, 0.0, 1.0)

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        return Edit(merged(view, disjoint_pairs(view, self.pairs, similar=True), self.pull))
