"""Maximise cluster distance: named in the HILL paper (arXiv 2505.06325) as an observed strategy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hill_sim.policy import options
from hill_sim.policy.geometry import center_moves, distances
from hill_sim.types import Edit, LatentView

REFERENCES = ("mean", "neighbor")


@dataclass(frozen=True)
class Separation:
    """Pushes the class centers apart; the shape of each class stays.

    Equivariant under renamed classes, permuted points and moved, turned, mirrored or scaled views (but for exact ties
    between nearest neighbours). Coincident centers have no direction apart and stay together.

    Attributes:
        factor: how many times as far apart, >= 1.
        away_from: `mean`: every center moves away from the mean of all centers, all distances grow by the factor;
            `neighbor`: every center moves away from its nearest neighbour only, so that a pair of mutual neighbours
            ends `factor` times as far apart.
    """

    factor: float = 1.5
    away_from: str = "mean"

    def __post_init__(self) -> None:
        options.number("factor", self.factor, 1.0)
        options.choice("away_from", self.away_from, REFERENCES)

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        shown = view.shown_classes
        if len(shown) < 2:
            return Edit()
        centers = view.centers[shown]
        if self.away_from == "mean":
            push = (self.factor - 1) * (centers - centers.mean(axis=0))
        else:
            apart = distances(centers, centers)
            np.fill_diagonal(apart, np.inf)
            push = 0.5 * (self.factor - 1) * (centers - centers[apart.argmin(axis=1)])
        return Edit(center_moves(shown, centers + push))
