"""A sweep's `design` section: points of the parameter space from which Sobol's indices can be computed.

design:
  n: 64                                       # a power of two; n (d + 2) points, each with every user and seed
  parameters:
    alpha: {low: 0.0, high: 0.9}
    lam: {low: 0.01, high: 1.0, log: true}
    interactions: [[25], [25, 30, 35, 40]]    # a schedule is drawn like any other choice
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator

from hill_sim.config import Strict
from hill_sim.risk.sensitivity import saltelli
from hill_sim.sweep.ranges import Range, check


class Design(Strict):
    """Saltelli's design over `parameters` (any field of a trial, or `field.option`); `seed` scrambles it."""

    kind: Literal["sobol"] = "sobol"
    n: int
    seed: int = Field(default=0, ge=0)
    parameters: dict[str, Range]

    @field_validator("n", mode="after")
    @classmethod
    def _balanced(cls, n: int) -> int:
        if n < 2 or n & (n - 1):
            raise ValueError(f"{n} is not a power of two >= 2")
        return n

    @field_validator("parameters", mode="after")
    @classmethod
    def _some(cls, parameters: dict[str, Range]) -> dict[str, Range]:
        if not parameters:
            raise ValueError("{} is not at least one parameter")
        check(parameters, varies=True)
        return parameters

    @property
    def size(self) -> int:
        """How many points there are."""
        return self.n * (len(self.parameters) + 2)

    def points(self) -> list[dict[str, Any]]:
        """The n (d + 2) points in the order that `hill_sim.risk.sensitivity.sobol_indices` expects."""
        quantiles: np.ndarray = saltelli(self.n, len(self.parameters), self.seed)
        return [
            {place: values.at(float(u), place) for (place, values), u in zip(self.parameters.items(), row, strict=True)}
            for row in quantiles
        ]
