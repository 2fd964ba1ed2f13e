"""The search space as Optuna sees it: one dimension per field of a trial that `hill_sim.sweep.ranges` reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from hill_sim.sweep.ranges import Range, check


@dataclass(frozen=True)
class Dimension:
    """One field to search over: `place` is the field, or `field.option`.

    Raises:
        ValueError: values that do not fit the field, do not vary, or are given twice.
    """

    place: str
    values: Range

    def __post_init__(self) -> None:
        check({self.place: self.values}, varies=True)
        for index, value in enumerate(self.encoded):
            if value in self.encoded[:index]:
                raise ValueError(f"{self.place}: {self.choices[index]!r} is among the choices twice")

    @property
    def choices(self) -> list[Any]:
        """As a trial takes them; empty for a range."""
        return self.values.choices or []

    @cached_property
    def encoded(self) -> tuple[Any, ...]:
        """The choices as Optuna takes them: a list or mapping is JSON."""
        return tuple(_encoded(choice) for choice in self.choices)

    @cached_property
    def distribution(self) -> BaseDistribution:
        if self.choices:
            return CategoricalDistribution(self.encoded)
        low, high, step, log = self.values.low, self.values.high, self.values.step, self.values.log
        assert low is not None and high is not None  # noqa: PT018
        if self.values.whole(self.place):
            return IntDistribution(int(low), int(high), log=log, step=int(step or 1))
        return FloatDistribution(float(low), float(high), log=log, step=None if step is None else float(step))

    def at(self, u: float) -> Any:
        """The parameter at u in [0, 1) of this dimension: every value is equally likely for a uniform u."""
        value = self.values.at(u, self.place)
        return _encoded(value) if self.choices else value

    def field_value(self, parameter: Any) -> Any:
        """What a trial takes for the parameter."""
        return self.choices[self.encoded.index(parameter)] if self.choices else parameter

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values to try a trial with before anything runs: both ends, or every choice that is no list."""
        if self.choices:
            return tuple(value for value in self.choices if not isinstance(value, list))
        assert isinstance(self.distribution, FloatDistribution | IntDistribution)
        return self.distribution.low, self.distribution.high


def _encoded(choice: Any) -> Any:
    scalar = choice is None or isinstance(choice, bool | int | float | str)
    return choice if scalar else json.dumps(choice, sort_keys=True)
