"""What a sweep's YAML says under `search`: where to look, for what, and how.

search:
  sampler: tpe                       # random, qmc (Sobol), tpe, nsga2, nsga3, gp
  seed: 0                            # of the sampler; the trials' seeds stand under the sweep's `seeds`
  candidates: 128
  batch: 16                          # candidates proposed together: a generation
  space: {alpha: {low: 0.1, high: 0.9}, lam: {low: 1e-3, high: 1, log: true}}        # see `ranges`
  constraints: ["alpha + lam < 1.2"]                                                 # on what is tried
  objectives: [{measure: gain, statistic: iqm, direction: maximize}]                 # or just: gain
  feasible: ["worst(negative_flips) <= 0.02"]                                        # on what comes out
  prune: {percentile: 50, startup: 16, warmup: 1}                                    # or just: median

A candidate is run once per seed; its value is a statistic over the seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from hill_sim.config import Strict, unknown_key
from hill_sim.sweep.places import check_place
from hill_sim.sweep.ranges import Range
from hill_sim.sweep.search.expressions import Expression
from hill_sim.sweep.search.outcomes import STATISTICS, Feasible, check_measure, direction_of
from hill_sim.sweep.search.space import Dimension

DESIGNS = ("random", "qmc")
ADAPTIVE = ("tpe", "nsga2", "nsga3", "gp")
SAMPLERS = (*DESIGNS, *ADAPTIVE)
FULL = 64  # trials that fill a population of the engine
DESIGN_BATCH = 256
GP_MOST = 1000
"""Candidates beyond which a Gaussian process, cubic in them, takes longer to propose than the engine to try."""


class Objective(Strict):
    """A measure to maximise or minimise: its statistic over the seeds.

    `direction` may be left out for measures of which more is plainly better or worse.
    """

    measure: str
    statistic: Literal["iqm", "mean", "median", "worst", "bound"] = "iqm"
    direction: Literal["maximize", "minimize"] = "maximize"

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        given = {"measure": given} if isinstance(given, str) else given
        if isinstance(given, Mapping) and isinstance(given.get("measure"), str):
            check_measure(given["measure"])
            if "direction" not in given:
                return {**given, "direction": direction_of(given["measure"])}
        return given

    @field_validator("statistic", mode="before")
    @classmethod
    def _known(cls, given: Any) -> Any:
        if given not in STATISTICS:
            raise ValueError(f"{given!r} is {unknown_key(str(given), STATISTICS)}")
        return given

    @property
    def name(self) -> str:
        """`gain`, or `worst(gain)` for any other statistic than the interquartile mean."""
        return self.measure if self.statistic == "iqm" else f"{self.statistic}({self.measure})"


class Prune(Strict):
    """Stop hopeless trials at their interactions, by validation accuracy (see `pruning`).

    Attributes:
        percentile: a trial stops whose validation accuracy is not among this many percent best of the candidates of
            earlier generations, at the same epoch under the same seed. 50 is the median rule.
        startup: candidates that end before any is stopped.
        warmup: interactions at which no trial is stopped yet; at the first one users have not acted.
    """

    percentile: float = Field(default=50.0, gt=0.0, lt=100.0)
    startup: int = Field(default=16, ge=2)
    warmup: int = Field(default=1, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        return {} if given == "median" else given


class SearchSpec(Strict):
    """A search, as written in YAML (see the module's example)."""

    sampler: str
    space: dict[str, Range]
    objectives: list[Objective]
    candidates: int = Field(ge=1, le=1_000_000)
    seed: int = Field(default=0, ge=0)
    batch: int | None = Field(default=None, ge=1, le=100_000)
    constraints: list[str] = Field(default_factory=list)
    feasible: list[str] = Field(default_factory=list)
    prune: Prune | None = None

    @field_validator("sampler", mode="before")
    @classmethod
    def _known_sampler(cls, given: Any) -> Any:
        if given in ("grid", "tree"):
            raise ValueError(f"{given!r} is no sampler: a sweep has `{given}:` in place of `search:`")
        if given not in SAMPLERS:
            raise ValueError(f"{given!r} is {unknown_key(str(given), SAMPLERS)}")
        return given

    @field_validator("space", mode="before")
    @classmethod
    def _places(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        if not given:
            raise ValueError("{} is an empty space: nothing to search over")
        for place in given:
            check_place(str(place))
            head = str(place).partition(".")[0]
            if head != place and head in given:
                raise ValueError(f"{place}: {head} is searched as a whole already")
        return given

    @field_validator("space", mode="after")
    @classmethod
    def _dimensions(cls, space: dict[str, Range]) -> dict[str, Range]:
        for place, values in space.items():
            Dimension(place, values)
        return space

    @field_validator("objectives", mode="before")
    @classmethod
    def _one_or_more(cls, given: Any) -> Any:
        given = [given] if isinstance(given, str | Mapping) else given
        if given == []:
            raise ValueError("[] is not a list of at least one objective")
        return given

    @field_validator("constraints", "feasible", mode="before")
    @classmethod
    def _single(cls, given: Any) -> Any:
        return [given] if isinstance(given, str) else given

    @field_validator("constraints", mode="after")
    @classmethod
    def _readable(cls, given: list[str]) -> list[str]:
        for text in given:
            for name in Expression.parse(text).names:
                check_place(name)
        return given

    @field_validator("feasible", mode="after")
    @classmethod
    def _bounds(cls, given: list[str]) -> list[str]:
        for text in given:
            Feasible.parse(text)
        return given

    @field_validator("prune", mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        return {} if given in ("median", True) else given

    @model_validator(mode="after")
    def _together(self) -> SearchSpec:
        names = [objective.name for objective in self.objectives]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"objectives: {twice} is named twice")
        if self.prune and len(names) > 1:
            raise ValueError(f"prune: a candidate is stopped for one objective, and there are {len(names)}")
        if self.prune and (other := next((p for p in self.space if p.partition(".")[0].startswith("task")), None)):
            raise ValueError(
                f"prune: validation accuracies are compared between candidates, and {other} changes the data"
            )
        if self.sampler == "gp" and self.candidates > GP_MOST:
            raise ValueError(
                f"candidates: {self.candidates} is more than the {GP_MOST} that a Gaussian process can learn from; "
                "use tpe or qmc"
            )
        if self.sampler.startswith("nsga") and self.batch == 1:
            raise ValueError(f"batch: 1 is not a generation that {self.sampler} can breed from; use at least 2")
        return self

    @property
    def adaptive(self) -> bool:
        """Whether what is proposed depends on what came out before."""
        return self.sampler in ADAPTIVE

    @property
    def paced(self) -> bool:
        """Whether a generation begins only when the one before has ended."""
        return self.adaptive or self.prune is not None

    @cached_property
    def dimensions(self) -> tuple[Dimension, ...]:
        return tuple(Dimension(place, values) for place, values in self.space.items())

    @cached_property
    def restrictions(self) -> tuple[Expression, ...]:
        return tuple(Expression.parse(text) for text in self.constraints)

    @cached_property
    def feasibility(self) -> tuple[Feasible, ...]:
        return tuple(Feasible.parse(text) for text in self.feasible)

    def generation_size(self, trials: int) -> int:
        """Candidates proposed together, where a candidate is `trials` trials.

        Unless the author says, as many as fill a population, and at least 8: it depends on the sweep alone, never on
        the number of workers, since an adaptive sampler proposes by what the generations before came to.
        """
        if self.batch is not None:
            return self.batch
        return max(8, math.ceil(FULL / trials)) if self.paced else DESIGN_BATCH
