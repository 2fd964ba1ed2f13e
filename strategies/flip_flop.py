"""Flip-flop: a conflict with oneself, a strategy and its opposite in turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hill_sim.policy import Policy, build_policy, options, run_policy
from hill_sim.policy.motion import perform, read, scaled
from hill_sim.types import Edit, LatentView


@dataclass(frozen=True)
class FlipFlop:
    """Follows a strategy at the first, third, ... interaction and does its opposite at the others.

    The opposite makes the same gestures with mirrored displacements: what would go left by 1 goes right by 1, a scaling
    by f becomes one by 2 - f (a collapse where f > 2). Which turn it is stands in `view.history`. Equivariant where
    the strategy is.

    Attributes:
        strategy: any registered policy, `module:attr` or `path.py:attr`.
        strategy_options: its options.
    """

    strategy: str = "separation"
    strategy_options: Mapping[str, Any] = field(default_factory=dict)
    followed: Policy = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        options.mapping("strategy_options", self.strategy_options)
        object.__setattr__(self, "followed", build_policy(self.strategy, self.strategy_options))

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        edit = run_policy(self.followed, view, rng)
        return edit if len(view.history) % 2 == 0 else perform(scaled(read(edit, view), -1.0), view)
