"""Fix outliers: drag stray points home. Our reading: the paper observed six strategies and names three."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hill_sim.policy import options
from hill_sim.types import Edit, LatentView, MovePoint, layout_of


@dataclass(frozen=True)
class FixOutliers:
    """Drags single points that the model gets wrong, or that lie far from their class, back to their class.

    Home is the center of the class's other points (those that are no outliers; of all its points if all are). The
    label is taken at its word: a mislabelled point is dragged to the class it does not belong to, as a person who
    trusts the colours would. Equivariant under renamed classes, permuted points (the order of the gestures follows the
    points) and moved, turned, mirrored or scaled views.

    Attributes:
        mispredicted: whether points that the model gets wrong count as outliers.
        far: a point farther from its center than this many times the class's spread is an outlier, >= 1.
        pull: share of the way home, in [0,1].
    """

    mispredicted: bool = True
    far: float = 2.0
    pull: float = 0.8

    def __post_init__(self) -> None:
        options.flag("mispredicted", self.mispredicted)
        options.number("far", self.far, 1.0)
        options.number("pull", self.pull, 0.0, 1.0)

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        labels, points = view.labels, view.points
        distance = np.hypot(*(points - view.centers[labels]).T)
        stray = distance > self.far * view.spreads[labels] * (1 + 1e-9)  # coincident points differ by rounding only
        if self.mispredicted:
            stray = stray | (view.predictions != labels)
        rows = np.flatnonzero(stray)
        if len(rows) == 0:
            return Edit()
        inner, _ = layout_of(points[~stray], labels[~stray], view.n_classes)
        home = np.where(np.isnan(inner), view.centers, inner)[labels[rows]]
        to = points[rows] + self.pull * (home - points[rows])
        return Edit(MovePoint(i, (x, y)) for i, (x, y) in zip(rows.tolist(), to.tolist(), strict=True))
