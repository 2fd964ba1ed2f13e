"""Places in a trial that YAML can name: `alpha`, or `task_options.label_noise` inside a field that has options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from hill_sim.config import unknown_key
from hill_sim.errors import InvalidInput
from hill_sim.policy import HumanLimits
from hill_sim.presets import ObjectiveOptions
from hill_sim.trial import Trial

TRIAL_FIELDS = tuple(f.name for f in fields(Trial))
NESTED = ("task_options", "model_options", "policy_options", "user", "view", "objective", "trust")
NAMED = {"objective": "preset", "trust": "rule"}
"""Fields that are a name or a mapping, and the option of the mapping that holds the name."""
INSIDE = {
    "user": tuple(f.name for f in fields(HumanLimits)),
    "objective": ("preset", *(f.name for f in fields(ObjectiveOptions))),
}
"""Options that are the same whatever the rest of the trial."""


def check_place(place: str) -> None:
    """Raise ValueError unless `place` is a trial's field, or `field.option` inside one that has options."""
    head, dot, inside = place.partition(".")
    allowed = [name for name in TRIAL_FIELDS if name != "seed"]
    if head == "seed":
        raise ValueError(f"{place}: a sweep's seeds stand under `seeds`, beside fixed and grid")
    if head not in allowed:
        raise ValueError(f"{place}: {unknown_key(head, allowed)}")
    if dot and (head not in NESTED or not inside):
        raise ValueError(f"{place}: only {', '.join(NESTED)} have options inside")
    if dot and inside not in INSIDE.get(head, (inside,)):
        raise ValueError(f"{place}: {unknown_key(inside, INSIDE[head])}")


def put(fields: Mapping[str, Any], place: str, value: Any) -> dict[str, Any]:
    """A copy with `field` or `field.option` set; a preset's name becomes a mapping where an option is set in it."""
    head, dot, inside = place.partition(".")
    if not dot:
        return {**fields, head: value}
    inner = fields.get(head, {})
    if head in NAMED and isinstance(inner, str):
        inner = {NAMED[head]: inner}
    if not isinstance(inner, Mapping):
        raise InvalidInput(f"{head}: {inner!r} is not a mapping, so {place} cannot be set")
    return {**fields, head: {**inner, inside: value}}
