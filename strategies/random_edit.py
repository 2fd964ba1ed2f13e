"""Random: the control that moves as much as a strategy does, but nowhere in particular."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hill_sim.policy import Policy, build_policy, options, run_policy
from hill_sim.policy.motion import perform, randomised, read
from hill_sim.types import Edit, LatentView


@dataclass(frozen=True)
class RandomEdit:
    """Makes the gestures of another policy with the same magnitudes in random directions.

    Matched, gesture by gesture: the kind, the class or point that it takes, and the rms displacement of the points that
    it moves. Random: the direction of a drag (uniform), and whether a scaling shrinks or widens (factor f or 2 - f, the
    same displacement; a factor above 2 stays, nothing shrinks by more than everything). A collapse (f = 0) becomes a
    collapse or a doubling. So the number of gestures and the touched classes are matched too; the resulting layout is
    not: where several gestures take one class, their displacements add up differently, and when a class was collapsed
    at random before, a later scaling of it moves nothing.

    What a strategy gains over this control it gains by where it moves things, and not by how much.

    Attributes:
        match: the policy to match, any registered name, `module:attr` or `path.py:attr`.
        match_options: its options.
    """

    match: str = "compactness"
    match_options: Mapping[str, Any] = field(default_factory=dict)
    matched: Policy = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        options.mapping("match_options", self.match_options)
        object.__setattr__(self, "matched", build_policy(self.match, self.match_options))

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        return perform(randomised(read(run_policy(self.matched, view, rng), view), rng), view)
