"""Increase cluster compactness: named in the HILL paper (arXiv 2505.06325) as an observed strategy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hill_sim.policy import options
from hill_sim.policy.motion import extents
from hill_sim.types import CollapseClass, Edit, LatentView, ScaleClass


@dataclass(frozen=True)
class Compactness:
    """Shrinks every class about its own center; centers stay.

    Classes whose shown points coincide (or number one) are left alone: there is nothing to shrink. Equivariant under
    renamed classes, permuted points and moved, turned, mirrored or scaled views.

    Attributes:
        factor: what is left of each class's spread, in [0,1]; 0 is the released program's double-click (collapse).
    """

    factor: float = 0.5

    def __post_init__(self) -> None:
        options.number("factor", self.factor, 0.0, 1.0)

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        wide = np.flatnonzero(extents(view) > 0).tolist()
        if self.factor == 0:
            return Edit(CollapseClass(c) for c in wide)
        return Edit(ScaleClass(c, float(self.factor)) for c in wide)
