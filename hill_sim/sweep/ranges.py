"""The values that a drawn field of a trial may take, as written in YAML, and where a number in [0,1) falls among them.

{low: 0, high: 0.9} · {low: 0.01, high: 1, log: true} · [3, 5, 10] or {choices: [3, 5, 10]} · 0.2, which is always 0.2
"""

from __future__ import annotations

import math
from typing import Any

from pydantic import model_validator

from hill_sim.config import Strict


class Range(Strict):
    """Numbers between `low` and `high`, uniform or (with `log`) uniform in the logarithm; or one of `choices`.

    Choices are any values of the field, lists of epochs included, and are drawn with equal probability.
    """

    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: list[Any] | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, given: Any) -> Any:
        if isinstance(given, list):
            return {"choices": given}
        return given if isinstance(given, dict | Range) else {"choices": [given]}

    @model_validator(mode="after")
    def _consistent(self) -> Range:
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log:
                raise ValueError("choices: has no low, high or log beside it")
            if not self.choices:
                raise ValueError("choices: [] is not a list of at least one value")
            return self
        if self.low is None or self.high is None:
            raise ValueError("needs low and high, or choices")
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"low: {self.low:g} is not a finite number below high: {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"low: {self.low:g} is not above 0, as log needs")
        return self

    def at(self, u: float) -> Any:
        """The value at the quantile u in [0,1)."""
        if self.choices is not None:
            return self.choices[min(int(u * len(self.choices)), len(self.choices) - 1)]
        assert self.low is not None and self.high is not None  # noqa: PT018
        if self.log:
            return math.exp(math.log(self.low) + u * (math.log(self.high) - math.log(self.low)))
        return self.low + u * (self.high - self.low)
