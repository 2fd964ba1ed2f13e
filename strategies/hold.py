"""Hold: the control that turns the human term on without asking for anything."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hill_sim.policy.geometry import center_moves
from hill_sim.types import Edit, LatentView


@dataclass(frozen=True)
class Hold:
    """Takes every shown class and puts it back where it is: all are touched, the target is the current layout.

    What a strategy gains over this control it gains by where it moves things, and not by the extra loss term.
    """

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        shown = view.shown_classes
        # The same mean as `Edit.apply` takes, not `view.centers`: so the layout comes back bit for bit.
        centers = np.stack([view.points[view.labels == c].mean(axis=0) for c in shown])
        return Edit(center_moves(shown, centers))
