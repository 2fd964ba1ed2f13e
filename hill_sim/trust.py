"""Trust: how loud the user may be while training goes on. Pure data and arithmetic; the engine applies it.

Trust is a factor of the human weight, one number per class. Rules that learn keep it in [0, 1]. No rule ever sees the
test split.

    fixed                                the user is as loud as alpha says
    constant, linear, cosine, step       a pure function of the epochs since the first interaction
    gradient                             per class: the cosine, not below 0, between the gradient of L_human and that of
                                         the cross-entropy at the latents
    twin                                 less where the validation loss is worse than that of the twin at the same
                                         epoch, more again where it is better

A rule is written `"linear"`, or `{"rule": "linear", "end": 0.2}` with options. Shapes: V validation samples, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np

from hill_sim.errors import InvalidInput, unknown
from hill_sim.types import Array


@dataclass(frozen=True)
class Fixed:
    """The user is as loud as alpha says, throughout."""


@dataclass(frozen=True)
class Constant:
    """A factor of the human weight, >= 0."""

    factor: float = 1.0

    def __post_init__(self) -> None:
        _check(self, "factor", 0.0)


@dataclass(frozen=True)
class Schedule:
    """From `start` in the first epoch after the first interaction to `end` in the last of `over` epochs, then `end`.

    start (1 - t) + end t, with t in [0, 1] the share of the way for `linear`, (1 - cos(pi t)) / 2 for `cosine`, and t
    rounded down to multiples of 1 / steps for `step`.

    Attributes:
        start, end: factors of the human weight, >= 0.
        over: epochs, >= 1; None is until the end of the training.
        steps: of the `step` schedule, >= 1.
    """

    shape: Literal["linear", "cosine", "step"] = "linear"
    start: float = 1.0
    end: float = 0.0
    over: int | None = None
    steps: int = 4

    def __post_init__(self) -> None:
        _check(self, "start", 0.0)
        _check(self, "end", 0.0)
        _check_integer(self, "steps")
        if self.over is not None:
            _check_integer(self, "over")

    def at(self, epochs: int) -> float:
        """The factor in the epoch `epochs` (from 1) after the first interaction; `over` must not be None any more."""
        assert self.over is not None
        last = self.over - 1
        t = min((epochs - 1) / last, 1.0) if last > 0 else 1.0
        if self.shape == "cosine":
            t = 0.5 * (1.0 - math.cos(math.pi * t))
        elif self.shape == "step":
            t = math.floor(t * self.steps + 1e-9) / self.steps
        return self.start * (1.0 - t) + self.end * t


@dataclass(frozen=True)
class Gradient:
    """Per class, how far the human and the data pull its samples the same way.

    Attributes:
        smoothing: in [0, 1), of the running mean over the batches since the interaction; the first batch begins it.
    """

    smoothing: float = 0.9

    def __post_init__(self) -> None:
        _check(self, "smoothing", 0.0, below=1.0)


@dataclass(frozen=True)
class Twin:
    """Shrinks where the validation loss is worse than the twin's, and recovers where it is better.

    The defaults are the best of what was tried (docs/trust.md).

    Attributes:
        factor: what trust is multiplied by where it is worse, in (0, 1).
        recover: what it is multiplied by where it is better, >= 1, up to the 1 that it began with.
        floor: trust never falls below, in [0, 1].
        per: what is judged, and what the verdict falls on. `trial`: the mean over all validation samples, for all
            classes. `class`: each class by its own samples (a class that has none by the mean over all). `gesture`:
            the mean over all, for the classes that the gestures of the last edit touched.
        evidence: the mean of the paired differences of the losses must exceed this many of its standard errors, >= 0.
        every: judge at each `interaction` after the first, or after each `epoch` since the first.
    """

    factor: float = 0.5
    recover: float = 2.0
    floor: float = 0.0
    per: Literal["trial", "class", "gesture"] = "trial"
    evidence: float = 0.0
    every: Literal["interaction", "epoch"] = "epoch"

    _CHOICES: ClassVar = {"per": ("trial", "class", "gesture"), "every": ("interaction", "epoch")}

    def __post_init__(self) -> None:
        _check(self, "factor", 0.0, below=1.0)
        if self.factor == 0.0:
            raise InvalidInput("trust.factor: 0.0 is not above 0, and trust could never recover")
        _check(self, "recover", 1.0)
        _check(self, "floor", 0.0)
        _check(self, "evidence", 0.0)
        if self.floor > 1.0:
            raise InvalidInput(f"trust.floor: {self.floor!r} is not in [0, 1]")
        for name, allowed in self._CHOICES.items():
            if getattr(self, name) not in allowed:
                raise unknown(f"trust.{name}", getattr(self, name), allowed)

    def judge(self, trust: Array, losses: Array, twin: Array, labels: Array, touched: Array) -> Array:
        """The trust [C] that follows `trust` [C].

        Args:
            losses, twin: [V] cross-entropy of each validation sample, of the trial and of its twin.
            labels: [V] classes of the samples.
            touched: [C] bool, the classes that the last edit touched.
        """
        worse = losses - twin
        overall = verdict(worse, self.evidence)
        verdicts = np.full(len(trust), overall)
        if self.per == "class":
            for c in range(len(trust)):
                members = worse[labels == c]
                if len(members):
                    verdicts[c] = verdict(members, self.evidence)
        elif self.per == "gesture":
            verdicts[~touched] = 0
        changed = np.where(verdicts > 0, trust * self.factor, np.where(verdicts < 0, trust * self.recover, trust))
        return np.clip(changed, self.floor, 1.0)


def verdict(differences: Array, evidence: float) -> int:
    """1 where the mean of paired differences is above 0 by more than `evidence` standard errors, -1 where it is below,
    else 0. A single difference has no standard error: it decides only where none is asked for."""
    n, mean = len(differences), float(np.mean(differences))
    if evidence > 0:
        error = float(np.std(differences, ddof=1)) / math.sqrt(n) if n > 1 else math.inf
        if abs(mean) <= evidence * error:
            return 0
    return (mean > 0) - (mean < 0)


Trust: TypeAlias = Fixed | Constant | Schedule | Gradient | Twin

RULES: dict[str, tuple[type, dict[str, Any]]] = {
    "fixed": (Fixed, {}),
    "constant": (Constant, {}),
    "linear": (Schedule, {"shape": "linear"}),
    "cosine": (Schedule, {"shape": "cosine"}),
    "step": (Schedule, {"shape": "step"}),
    "gradient": (Gradient, {}),
    "twin": (Twin, {}),
}


def trust_rule(given: str | Mapping[str, Any]) -> Trust:
    """The rule of a name, or of a mapping `{"rule": name, option: value, ...}`.

    Raises:
        InvalidInput: unknown rule, option or value, with the nearest name.
    """
    options = {"rule": given} if isinstance(given, str) else dict(given)
    name = options.pop("rule", None)
    if name not in RULES:
        raise unknown("trust", name, RULES) if name is not None else InvalidInput("trust: a mapping needs a `rule`")
    kind, preset = RULES[name]
    allowed = [f.name for f in fields(kind) if f.name not in preset and (f.name != "steps" or name == "step")]
    for option in options:
        if option not in allowed:
            raise unknown(f"option of trust {name!r}", option, allowed)
    rule: Trust = kind(**preset, **options)
    return rule


def _check(rule: Any, name: str, low: float, below: float = math.inf) -> None:
    value = getattr(rule, name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value < below:
        allowed = f"in [{low:g}, {below:g})" if below < math.inf else f"a finite number >= {low:g}"
        raise InvalidInput(f"trust.{name}: {value!r} is not {allowed}")
    object.__setattr__(rule, name, float(value))  # 1 and 1.0 are one rule


def _check_integer(rule: Any, name: str) -> None:
    value = getattr(rule, name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidInput(f"trust.{name}: {value!r} is not an integer >= 1")
