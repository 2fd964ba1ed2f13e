"""The values that a drawn field of a trial may take, as YAML writes them: in a search's `space`, a `design`, `users`.

alpha: {low: 0.1, high: 0.9}                      a float
lr: {low: 1e-4, high: 1e-2, log: true}            a float, even on a logarithmic scale
user.motor_noise: {low: 0, high: 0.5, step: 0.1}  a grid of floats
user.effort: {low: 1, high: 10}                   an integer, since the field is one
interactions: [[25, 30], [10, 20, 30, 40]]        one of any values: lists, mappings, strings, numbers
policy_options.factor: {choices: [0.2, 0.5]}      the same, spelt out
user.mistakes: 0.05                               always this
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pydantic import field_validator, model_validator

from hill_sim.config import Strict
from hill_sim.policy import HumanLimits
from hill_sim.presets import ObjectiveOptions
from hill_sim.trial import Trial

_TYPES = {
    **{f.name: str(f.type) for f in fields(Trial)},
    **{f"user.{f.name}": str(f.type) for f in fields(HumanLimits)},
    **{f"objective.{f.name}": str(f.type) for f in fields(ObjectiveOptions)},
}


class Range(Strict):
    """Numbers from `low` to `high`, both included; with `log` uniform in the logarithm, with `step` every step of it.
    Or one of `choices`, with equal probability."""

    low: int | float | None = None
    high: int | float | None = None
    step: int | float | None = None
    log: bool = False
    choices: list[Any] | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, given: Any) -> Any:
        if isinstance(given, list):
            return {"choices": given}
        return given if isinstance(given, dict | Range) else {"choices": [given]}

    @field_validator("low", "high", "step", mode="before")
    @classmethod
    def _numbers(cls, given: Any) -> Any:
        number = isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given)
        if given is not None and not number:
            raise ValueError(f"{given!r} is not a finite number")
        return given

    @model_validator(mode="after")
    def _consistent(self) -> Range:
        low, high, step = self.low, self.high, self.step
        if self.choices is not None:
            if low is not None or high is not None or step is not None or self.log:
                raise ValueError("choices: stand alone, without low, high, step and log")
            if not self.choices:
                raise ValueError("choices: [] is not a list of at least one value")
            return self
        if low is None or high is None:
            raise ValueError("needs low and high, or choices")
        if low >= high:
            raise ValueError(f"low: {low!r} is not below high: {high!r}")
        if self.log and low <= 0:
            raise ValueError(f"low: {low!r} is not above 0, as log needs")
        if self.log and step is not None:
            raise ValueError("step: has no place on a logarithmic scale")
        if step is not None and not 0 < step <= high - low:
            raise ValueError(f"step: {step!r} is not in (0, {high - low!r}]")
        if step is not None and abs((high - low) / step - round((high - low) / step)) > 1e-9:
            raise ValueError(f"step: {step!r} does not lead from {low!r} to {high!r}")
        return self

    def whole(self, place: str) -> bool:
        """Whether these are integers: as the type of the field says, and where that is not known, as it is written."""
        if self.choices is not None:
            return False
        if (annotation := _TYPES.get(place)) is not None:
            return "int" in annotation and "float" not in annotation
        return all(isinstance(value, int) for value in (self.low, self.high, self.step) if value is not None)

    def at(self, u: float, place: str) -> Any:
        """The value at u in [0,1) for the field at `place`; every value is equally likely for a uniform u."""
        if self.choices is not None:
            return self.choices[min(int(u * len(self.choices)), len(self.choices) - 1)]
        assert self.low is not None and self.high is not None  # noqa: PT018
        low, high, whole = self.low, self.high, self.whole(place)
        if whole and self.log:  # each integer owns the interval around it
            value = math.exp(math.log(low - 0.5) + u * (math.log(high + 0.5) - math.log(low - 0.5)))
            return int(min(max(round(value), low), high))
        if whole or self.step is not None:
            step = self.step or 1
            count = round((high - low) / step) + 1
            value = low + min(int(u * count), count - 1) * step
            return int(value) if whole else float(min(value, high))
        start, end = (math.log(low), math.log(high)) if self.log else (low, high)
        value = start + u * (end - start)
        return float(min(max(math.exp(value) if self.log else value, low), high))


def check(ranges: Mapping[str, Range], *, inside: str = "", varies: bool = False) -> None:
    """Raise ValueError, naming the first of `ranges` that does not fit its field.

    Args:
        ranges: by field; `inside` is what stands before each, such as `user.`.
        varies: each must be more than one value.
    """
    for name, values in ranges.items():
        if varies and values.choices is not None and len(values.choices) == 1:
            raise ValueError(f"{name}: {values.choices[0]!r} alone does not vary; it belongs under fixed")
        numbers = [value for value in (values.low, values.high, values.step) if value is not None]
        if values.whole(inside + name) and any(int(value) != value for value in numbers):
            raise ValueError(f"{name}: low, high and step are not integers, and {name} is one")
