"""Label noise: a conflict with the data point by point, a person who takes some samples for another class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hill_sim.policy import options
from hill_sim.policy.geometry import distances
from hill_sim.types import Edit, LatentView, MovePoint

TO = ("random", "nearest")


@dataclass(frozen=True)
class LabelNoise:
    """Drags a share of the shown points to the center of a class that is not theirs.

    The points are drawn anew at each interaction, all alike. What reaches the model is what they do to the center and
    the spread of their own class: the center moves towards the others, the class widens. Nothing where fewer than two
    classes are shown.

    Attributes:
        share: of the shown points, in [0,1], rounded to a whole number of points.
        to: `random` (any other shown class, all alike) or `nearest` (the other center nearest to the point: the
            mistake that a person most easily makes).
        pull: share of the way, in [0,1]; at 1 the point lies on the other center.
    """

    share: float = 0.2
    to: str = "random"
    pull: float = 0.8

    def __post_init__(self) -> None:
        options.number("share", self.share, 0.0, 1.0)
        options.choice("to", self.to, TO)
        options.number("pull", self.pull, 0.0, 1.0)

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        shown = view.shown_classes
        if len(shown) < 2:
            return Edit()
        n = len(view.labels)
        rows = np.sort(rng.permutation(n)[: round(self.share * n)])
        own = np.searchsorted(shown, view.labels[rows])
        if self.to == "nearest":
            away = distances(view.points[rows], view.centers[shown])
            away[np.arange(len(rows)), own] = np.inf
            wrong = away.argmin(axis=1)
        else:
            wrong = (own + rng.integers(1, len(shown), size=len(rows))) % len(shown)
        to = view.points[rows] + self.pull * (view.centers[shown[wrong]] - view.points[rows])
        return Edit(MovePoint(i, (x, y)) for i, (x, y) in zip(rows.tolist(), to.tolist(), strict=True))
