"""Switching: participant P6 of the HILL study, who changed strategy midway, whereupon accuracy fluctuated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hill_sim.policy import Policy, build_policy, options
from hill_sim.types import Edit, LatentView


@dataclass(frozen=True)
class Switching:
    """Follows one strategy at the first `at` interactions and another one from then on.

    How many interactions there were stands in `view.history`. Equivariant where the two strategies are.

    Attributes:
        first, second: any registered policies, `module:attr` or `path.py:attr`.
        at: interactions before the change, >= 0; the default is midway through the paper's four.
        first_options, second_options: their options.
    """

    first: str = "separation"
    second: str = "merge_similar"
    at: int = 2
    first_options: Mapping[str, Any] = field(default_factory=dict)
    second_options: Mapping[str, Any] = field(default_factory=dict)
    followed: tuple[Policy, Policy] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        options.integer("at", self.at, 0)
        options.mapping("first_options", self.first_options)
        options.mapping("second_options", self.second_options)
        both = build_policy(self.first, self.first_options), build_policy(self.second, self.second_options)
        object.__setattr__(self, "followed", both)

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        return self.followed[len(view.history) >= self.at].edit(view, rng)
