"""The objective's options, and the named presets: pure data, so that a trial can be checked without torch.

    paper:  L = (1 - alpha) CE + alpha L_human + lam |1 - scale|
    hill:   L = CE + alpha / (1 - alpha) kappa L_human + lam |1 - scale|

`hill_sim.objective` computes them. Both hold from the first interaction on; before it the loss is CE alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from hill_sim.errors import InvalidInput, unknown


@dataclass(frozen=True)
class ObjectiveOptions:
    """Every choice in L_human and in how it is mixed with the cross-entropy.

    Attributes:
        terms: `structure`: center, spread and class-pair separation of batch means (the released L_human);
            `samples`: center and spread as before, separation over pairs of samples.
        reduction: `terms`: the sum over all terms divided by their number M (as released); `mean`: each of the
            three is averaged over its own terms first.
        center, spread, separation: weights of the three terms, each >= 0.
        mixing: `convex` weighs CE by 1 - alpha and the human by alpha; `additive` leaves CE alone and weighs the
            human by alpha / (1 - alpha).
        balance: `gradient`: the human term is multiplied by kappa = |dCE/dh| / |dL_human/dh|, measured per replica
            on the first batch after an interaction, constant until the next; `none`: kappa = 1.
        coordinates: of the layout in the loss. `unit`: projected, divided by the view's rms radius at the
            interaction; `latent`: each batch standardised to the mean and deviation of its latents (as released);
            `raw`: projected.
        scale: `active`: scale = rms radius of the batch now / of the view at the interaction; `dead`: the released
            scalar that no forward pass reads, so that lam changes nothing.
        hold_untouched: classes that no gesture touched carry center and spread terms too, towards where they were.
        projection: the default projection of trials under this objective.
    """

    terms: Literal["structure", "samples"] = "structure"
    reduction: Literal["terms", "mean"] = "terms"
    center: float = 1.0
    spread: float = 1.0
    separation: float = 1.0
    mixing: Literal["convex", "additive"] = "additive"
    balance: Literal["gradient", "none"] = "gradient"
    coordinates: Literal["unit", "latent", "raw"] = "unit"
    scale: Literal["active", "dead"] = "active"
    hold_untouched: bool = False
    projection: Literal["first-epoch", "random", "pca", "lda"] = "first-epoch"

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise unknown(f"objective.{name}", getattr(self, name), allowed)
        for name in ("center", "spread", "separation"):
            value = getattr(self, name)
            if (
                isinstance(value, bool)
                or not isinstance(value, int | float)
                or not (math.isfinite(value) and value >= 0)
            ):
                raise InvalidInput(f"objective.{name}: {value!r} is not a finite number >= 0")
            object.__setattr__(self, name, float(value))  # 1 and 1.0 are one trial, under one key
        if not isinstance(self.hold_untouched, bool):
            raise InvalidInput(f"objective.hold_untouched: {self.hold_untouched!r} is not true or false")


PROJECTIONS = ("first-epoch", "random", "pca", "lda")
_CHOICES: dict[str, tuple[str, ...]] = {
    "terms": ("structure", "samples"),
    "reduction": ("terms", "mean"),
    "mixing": ("convex", "additive"),
    "balance": ("gradient", "none"),
    "coordinates": ("unit", "latent", "raw"),
    "scale": ("active", "dead"),
    "projection": PROJECTIONS,
}

PRESETS: dict[str, ObjectiveOptions] = {
    "paper": ObjectiveOptions(
        mixing="convex",
        balance="none",
        coordinates="latent",
        scale="dead",
        hold_untouched=True,
        projection="random",
    ),
    "hill": ObjectiveOptions(),
    "hill-samples": ObjectiveOptions(terms="samples", reduction="mean"),
}


def objective_options(given: str | Mapping[str, Any]) -> ObjectiveOptions:
    """The options of a preset's name, or of a mapping `{"preset": name, option: value, ...}` (preset `hill` if absent).

    Raises:
        InvalidInput: unknown preset, option or value, with the nearest name.
    """
    if isinstance(given, str) and given in PRESETS:
        return PRESETS[given]
    changes = {"preset": given} if isinstance(given, str) else dict(given)
    preset = changes.pop("preset", "hill")
    if preset not in PRESETS:
        raise unknown("objective", preset, PRESETS)
    names = [f.name for f in fields(ObjectiveOptions)]
    for name in changes:
        if name not in names:
            raise unknown("objective option", name, [*names, "preset"])
    base = PRESETS[preset]
    return ObjectiveOptions(**{name: changes.get(name, getattr(base, name)) for name in names})
