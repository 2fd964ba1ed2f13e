"""Many users of one strategy: a sweep's `users` section, people with limits and eyes of their own.

users: {count: 20, motor_noise: {low: 0.0, high: 0.3}, effort: [3, 5, 10], mistakes: 0.05, seed: 0}
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from pydantic import Field, field_validator, model_validator

from hill_sim.config import Strict, unknown_key
from hill_sim.policy import HumanLimits
from hill_sim.seeding import generator
from hill_sim.sweep.ranges import Range, check

LIMITS = tuple(f.name for f in fields(HumanLimits) if f.name != "seed")


class People(Strict):
    """`count` people who each follow every policy of the sweep.

    Person k (from 1) has `user.seed` k, so their own chance and their own shown points, and limits drawn from the given
    ranges. A limit depends on `seed`, k and the limit's name alone: more people, or one more limit, leave the others as
    they were. A limit that is not named is the policy entry's, or none.
    """

    count: int = Field(ge=1)
    seed: int = Field(default=0, ge=0)
    limits: dict[str, Range] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _limits_beside_count(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        limits = dict(given.get("limits") or {})
        rest = {}
        for name, value in given.items():
            if name in LIMITS:
                limits[name] = value
            elif name == "limits" or name in cls.model_fields:
                rest[name] = value
            else:
                raise ValueError(f"{name}: {unknown_key(str(name), ('count', 'seed', *LIMITS))}")
        for name in limits:
            if name not in LIMITS:
                raise ValueError(f"limits.{name}: {unknown_key(str(name), LIMITS)}")
        return {**rest, "limits": limits} if limits else rest

    @field_validator("limits", mode="after")
    @classmethod
    def _fit(cls, limits: dict[str, Range]) -> dict[str, Range]:
        check(limits, inside="user.")
        return limits

    def drawn(self) -> list[dict[str, Any]]:
        """The `user` options of each person."""
        return [
            {
                **{name: values.at(self._chance(name, person), f"user.{name}") for name, values in self.limits.items()},
                "seed": person,
            }
            for person in range(1, self.count + 1)
        ]

    def _chance(self, limit: str, person: int) -> float:
        return float(generator(self.seed, f"person {limit}", person).random())
