"""No edit: the user of the controls `ce_only` and `ce_scaled`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hill_sim.types import Edit, LatentView


@dataclass(frozen=True)
class NoEdit:
    """Never makes a gesture.

    The engine knows the two controls by name: `ce_only` trains on cross-entropy alone (the twin), `ce_scaled` weighs it
    as the trial does from the first interaction on, without a human term.
    """

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        return Edit()
