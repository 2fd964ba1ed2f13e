"""What a user is to the engine: something that looks at a view and returns an edit."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from hill_sim.types import Edit, LatentView


@runtime_checkable
class Policy(Protocol):
    """A simulated user.

    A policy keeps no state of its own: what it remembers stands in `view.history`, and all its chance comes from
    `rng`. So a trial can be forked, replayed, and run in any company. `hill_sim.testing.PolicyContract` checks that.
    """

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        """The gestures that this user makes on `view` (which must not be modified); an empty `Edit` skips."""
        ...
