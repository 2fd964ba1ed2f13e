"""Swap: a conflict that keeps the picture and exchanges what it means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hill_sim.policy import options
from hill_sim.policy.geometry import center_moves, disjoint_pairs
from hill_sim.types import Edit, LatentView

WHICH = ("distinct", "similar", "random")


@dataclass(frozen=True)
class Swap:
    """Exchanges the centers of pairs of classes. The set of centers is the same before and after.

    Equivariant under renamed classes, permuted points and moved, turned, mirrored or scaled views, but for exact ties
    and for `which="random"`.

    Attributes:
        pairs: how many pairs, >= 1, no class twice; fewer where there are not enough classes.
        which: `distinct` (least confused, then farthest apart), `similar` (most confused, then nearest) or `random`.
    """

    pairs: int = 2
    which: str = "distinct"

    def __post_init__(self) -> None:
        options.integer("pairs", self.pairs, 1)
        options.choice("which", self.which, WHICH)

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        if self.which == "random":
            drawn = rng.permutation(view.shown_classes).tolist()
            pairs = list(zip(drawn[0::2], drawn[1::2], strict=False))[: self.pairs]
        else:
            pairs = disjoint_pairs(view, self.pairs, similar=self.which == "similar")
        taken = [c for pair in pairs for c in pair]
        places = [c for a, b in pairs for c in (b, a)]
        return Edit(center_moves(taken, view.centers[places]))
