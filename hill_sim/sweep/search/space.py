"""The search space: one dimension per field of a trial, as ranges and choices, and how Optuna sees it.

alpha: {low: 0.1, high: 0.9}                      a float
lr: {low: 1e-4, high: 1e-2, log: true}            a float, searched on a logarithmic scale
user.motor_noise: {low: 0, high: 0.5, step: 0.1}  a grid of floats
user.effort: {low: 1, high: 10}                   an integer, since the field is one
interactions: [[25, 30], [10, 20, 30, 40]]        a choice of any values: lists, mappings, strings, numbers
policy_options.factor: {choices: [0.2, 0.5]}      the same, spelt out
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from hill_sim.config import unknown_key
from hill_sim.policy import HumanLimits
from hill_sim.presets import ObjectiveOptions
from hill_sim.trial import Trial

_KEYS = ("low", "high", "step", "log", "choices")
_TYPES = {
    **{f.name: str(f.type) for f in fields(Trial)},
    **{f"user.{f.name}": str(f.type) for f in fields(HumanLimits)},
    **{f"objective.{f.name}": str(f.type) for f in fields(ObjectiveOptions)},
}


@dataclass(frozen=True)
class Dimension:
    """One field to search over.

    Attributes:
        place: the field, or `field.option`.
        distribution: Optuna's; a choice that is a list or mapping stands in it as JSON.
        values: of a choice, as a trial takes them; empty for a range.
    """

    place: str
    distribution: BaseDistribution
    values: tuple[Any, ...] = ()

    def at(self, u: float) -> Any:
        """The parameter at u in [0, 1) of this dimension: every value is equally likely for a uniform u."""
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return d.choices[min(int(u * len(d.choices)), len(d.choices) - 1)]
        assert isinstance(d, FloatDistribution | IntDistribution)
        if d.step is not None and not d.log:
            count = round((d.high - d.low) / d.step) + 1
            value = d.low + min(int(u * count), count - 1) * d.step
            return value if isinstance(d, IntDistribution) else float(min(value, d.high))
        if isinstance(d, IntDistribution):  # on a logarithmic scale each integer owns the interval around it
            low, high = math.log(d.low - 0.5), math.log(d.high + 0.5)
            return min(max(round(math.exp(low + u * (high - low))), d.low), d.high)
        low, high = (math.log(d.low), math.log(d.high)) if d.log else (d.low, d.high)
        value = low + u * (high - low)
        return min(max(math.exp(value) if d.log else value, d.low), d.high)

    def field_value(self, parameter: Any) -> Any:
        """What a trial takes for the parameter."""
        if not self.values:
            return parameter
        assert isinstance(self.distribution, CategoricalDistribution)
        return self.values[self.distribution.choices.index(parameter)]

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values to try a trial with before anything runs: both ends, or every choice that is no list."""
        d = self.distribution
        if isinstance(d, FloatDistribution | IntDistribution):
            return d.low, d.high
        return tuple(value for value in self.values if not isinstance(value, list))


def dimension(place: str, given: Any) -> Dimension:
    """The dimension that YAML asks for; raises ValueError naming what is wrong with it."""
    if isinstance(given, list):
        given = {"choices": given}
    if not isinstance(given, Mapping) or not given:
        raise ValueError(f"{given!r} is not {{low, high}} or a list of choices")
    for key in given:
        if key not in _KEYS:
            raise ValueError(f"{key}: {unknown_key(str(key), _KEYS)}")
    if "choices" in given:
        if len(given) > 1:
            raise ValueError("choices stand alone, without low, high, step and log")
        return _choice(place, given["choices"])
    return Dimension(place, _range(place, given))


def _range(place: str, given: Mapping[str, Any]) -> BaseDistribution:
    for key in ("low", "high"):
        if key not in given:
            raise ValueError(f"{key}: missing")
    numbers = {key: given[key] for key in ("low", "high", "step") if given.get(key) is not None}
    for key, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"{key}: {value!r} is not a finite number")
    low, high, step, log = given["low"], given["high"], given.get("step"), given.get("log", False)
    if not isinstance(log, bool):
        raise ValueError(f"log: {log!r} is not true or false")
    if low >= high:
        raise ValueError(f"low {low!r} is not below high {high!r}; a value that does not vary belongs to fixed")
    if log and (low <= 0 or step is not None):
        raise ValueError("step has no place on a logarithmic scale" if low > 0 else f"low: {low!r} is not > 0 (log)")
    if step is not None and (step <= 0 or step > high - low):
        raise ValueError(f"step: {step!r} is not in (0, {high - low!r}]")
    if step is not None and abs((high - low) / step - round((high - low) / step)) > 1e-9:
        raise ValueError(f"step: {step!r} does not lead from {low!r} to {high!r}")
    if _whole(place, numbers):
        if any(int(value) != value for value in numbers.values()):
            raise ValueError(f"low, high and step are not integers, and {place} is one")
        return IntDistribution(int(low), int(high), log=log, step=int(step or 1))
    return FloatDistribution(float(low), float(high), log=log, step=None if step is None else float(step))


def _whole(place: str, numbers: Mapping[str, Any]) -> bool:
    """Whether a range is one of integers: as the field's type says, and where that is not known, as it is written."""
    if (annotation := _TYPES.get(place)) is not None:
        return "int" in annotation and "float" not in annotation
    return all(isinstance(value, int) for value in numbers.values())


def _choice(place: str, values: Any) -> Dimension:
    if not isinstance(values, list) or len(values) < 2:
        raise ValueError(f"{values!r} is not a list of at least two choices")
    encoded = tuple(value if _scalar(value) else json.dumps(value, sort_keys=True) for value in values)
    for index, value in enumerate(encoded):
        if value in encoded[:index]:
            raise ValueError(f"{values[index]!r} is among the choices twice")
    return Dimension(place, CategoricalDistribution(encoded), tuple(values))


def _scalar(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
