"""What a sweep's YAML says. `expand` turns it into trials.

name: quickstart                      # of the run folder: runs/quickstart
question: Which user helps, and how loud may the user be?
fixed: {task: digits, epochs: 45}     # any field of `Trial`; `task_options.label_noise: 0.1` reaches inside
grid: {alpha: [0.1, 0.5]}             # a list of values per field; all combinations
policies: [compactness, {label: shaky, policy: separation, user: {motor_noise: 0.3}}]
tree: {strategies: [compactness, separation], interactions: 4}      # every sequence, one policy an interaction
users: {count: 20, motor_noise: {low: 0, high: 0.3}}                # so many people follow each policy (`people`)
design: {n: 64, parameters: {alpha: {low: 0, high: 0.9}}}           # points for Sobol's indices (`design`)
attribution: true                     # also every trial without one of its interactions, and with one alone
search: {sampler: tpe, ...}           # in place of grid and tree: see `search.spec`
cases:                                # each case over the above; without cases there is one
  - {name: hill, fixed: {objective: hill}}
  - {name: paper, fixed: {objective: paper}}
seeds: 10                             # 0..9, or a list
budget: {small: {seeds: 2}}           # `--budget small`: what to put in place of the above
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_validator, model_validator

from hill_sim.config import Strict, load_yaml, set_value, unknown_key, validated
from hill_sim.errors import InvalidInput, unknown
from hill_sim.risk.attribution import KINDS
from hill_sim.sweep.design import Design
from hill_sim.sweep.people import People
from hill_sim.sweep.places import check_place
from hill_sim.sweep.search.spec import SearchSpec

MOST = 1_000_000
"""Trials of one sweep: each costs the driver 1.5 KB, and most of a millisecond before the first one starts."""

Name = Annotated[str, AfterValidator(lambda given: _file_name(given))]


class PolicyEntry(Strict):
    """One user of a sweep: a policy's name, or that with options, human limits, and a label to be known by."""

    policy: str
    label: str = ""
    options: dict[str, Any] = Field(default_factory=dict)
    user: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, given: Any) -> Any:
        if not isinstance(given, str | Mapping | PolicyEntry):
            raise ValueError(f"{given!r} is not a policy's name or a mapping of {', '.join(cls.model_fields)}")
        return {"policy": given} if isinstance(given, str) else given

    @property
    def name(self) -> str:
        return self.label or self.policy


class Tree(Strict):
    """Every sequence of `strategies`, one per interaction: n strategies at k interactions are n^k users.

    `interactions` is how many of the trial's interaction epochs are used (the first k), or the epochs themselves.
    """

    strategies: list[PolicyEntry]
    interactions: int | list[int] | None = None

    @field_validator("strategies", mode="after")
    @classmethod
    def _some(cls, strategies: list[PolicyEntry]) -> list[PolicyEntry]:
        if not strategies:
            raise ValueError("[] is not a list of at least one strategy")
        return strategies

    @field_validator("interactions", mode="before")
    @classmethod
    def _positive(cls, given: Any) -> Any:
        whole = isinstance(given, int) and not isinstance(given, bool) and given >= 1
        if given is None or whole or (isinstance(given, list) and given and all(type(e) is int for e in given)):
            return given
        raise ValueError(f"{given!r} is not a number of interactions >= 1 or a list of epochs")


class Attribution(Strict):
    """Which branches tell what each interaction did: `kinds` of `hill_sim.risk.attribution`, of the users named.

    Written as `true` (all kinds, every user), or as a list of kinds.
    """

    kinds: list[str] = Field(default_factory=lambda: list(KINDS))
    users: list[str] | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, given: Any) -> Any:
        if given is True:
            return {}
        return {"kinds": given} if isinstance(given, list) else given

    @field_validator("kinds", mode="after")
    @classmethod
    def _known(cls, kinds: list[str]) -> list[str]:
        for kind in kinds:
            if kind not in KINDS:
                raise ValueError(f"{kind!r}: {unknown_key(kind, KINDS)}")
        if not kinds:
            raise ValueError("[] is not a list of at least one kind of branch")
        return kinds


class Part(Strict):
    """The part of a sweep that cases and budgets may put other values in place of."""

    fixed: dict[str, Any] = Field(default_factory=dict)
    grid: dict[str, list[Any]] = Field(default_factory=dict)
    policies: list[PolicyEntry] | None = None
    tree: Tree | None = None
    users: People | None = None
    design: Design | None = None

    @field_validator("fixed", "grid", mode="before")
    @classmethod
    def _fields_of_a_trial(cls, given: Any) -> Any:
        if isinstance(given, dict):
            for place in given:
                check_place(str(place))
        return given

    @field_validator("design", mode="after")
    @classmethod
    def _parameters_of_a_trial(cls, design: Design | None) -> Design | None:
        for place in design.parameters if design else ():
            check_place(place)
        return design

    @field_validator("grid", mode="after")
    @classmethod
    def _values(cls, grid: dict[str, list[Any]]) -> dict[str, list[Any]]:
        for place, values in grid.items():
            if not values:
                raise ValueError(f"{place}: [] is not a list of at least one value")
        return grid


class Case(Part):
    """One of several set-ups that a sweep puts side by side."""

    name: Name


class Budget(Part):
    """What replaces parts of a sweep to make it cheaper or larger."""

    seeds: list[int] | None = None
    cases: list[Case] | None = None
    attribution: Attribution | None = None
    search: dict[str, Any] = Field(default_factory=dict)

    _seeds = field_validator("seeds", mode="before")(lambda given: _seed_list(given))


class SweepSpec(Part):
    """A whole sweep, as written in YAML (see the module's example)."""

    name: Name
    question: str = ""
    seeds: list[int] = Field(default_factory=lambda: [0])
    cases: list[Case] = Field(default_factory=list)
    attribution: Attribution | None = None
    search: SearchSpec | None = None
    budget: dict[str, Budget] = Field(default_factory=dict)

    _seeds = field_validator("seeds", mode="before")(lambda given: _seed_list(given))

    @field_validator("cases", mode="after")
    @classmethod
    def _distinct(cls, cases: list[Case]) -> list[Case]:
        names = [case.name for case in cases]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"name {name!r} is given to {names.count(name)} cases")
        return cases

    @model_validator(mode="after")
    def _searchable(self) -> SweepSpec:
        if self.search is None:
            return self
        for part in (self, *self.cases):
            where = f"cases: {part.name}: " if isinstance(part, Case) else ""
            for name in ("grid", "tree", "design"):
                if getattr(part, name):
                    raise ValueError(
                        f"search: {where}{name} has no place beside a search; list its values under search.space"
                    )
            for place in part.fixed:
                if clash := next((p for p in self.search.space if p == place or place.startswith(f"{p}.")), None):
                    raise ValueError(f"search.space: {clash}: {where}fixed.{place} says what it is already")
            if part.policies and "policy" in self.search.space:
                raise ValueError(f"search.space: policy: {where}policies stand there already")
        if self.attribution:
            raise ValueError(
                "search: attribution has no place beside a search; ask it of the best candidate, in a sweep of its own"
            )
        needy = [o.name for o in self.search.objectives if o.statistic == "bound"]
        needy += [bound.text for bound in self.search.feasibility if bound.statistic == "bound"]
        if needy and len(self.seeds) < 2:
            raise ValueError(f"search: {needy[0]} is an end of an interval over seeds, and there is one seed")
        return self

    @property
    def has_roles(self) -> bool:
        """Whether there are trials that are not there to be compared with the others."""
        return bool(self.attribution or self.design or any(case.design for case in self.cases))

    def resolved(self) -> dict[str, Any]:
        """Plain values that say all that the sweep runs, defaults that nobody set left out; reads back as equal."""
        values = self.model_dump(exclude_defaults=True, exclude={"budget"})
        return {name: values[name] for name in ("name", "question", *values) if name in values}

    def within(self, budget: str | None) -> SweepSpec:
        """This sweep with the parts that the named budget replaces; raises InvalidInput for an unknown budget."""
        if budget is None:
            return self
        if budget not in self.budget:
            raise unknown("budget", budget, self.budget)
        change = self.budget[budget]
        values = {name: getattr(self, name) for name in SweepSpec.model_fields}
        values |= {"fixed": {**self.fixed, **change.fixed}, "grid": {**self.grid, **change.grid}}
        for name in ("policies", "tree", "users", "design", "seeds", "cases", "attribution"):
            if getattr(change, name) is not None:
                values[name] = getattr(change, name)
        if change.search:
            search = self.search.model_dump(exclude_defaults=True) if self.search else {}
            values["search"] = {**search, **change.search}
        return validated(SweepSpec, values, f"budget.{budget}")


def read_sweep(path: Path, *, budget: str | None = None, overrides: Sequence[str] = ()) -> SweepSpec:
    """The sweep in a YAML file, within one of its budgets, after `a.b=c` overrides (which win over the budget).

    Raises:
        InvalidInput: one line naming the file, the place, what was given and what is allowed.
    """
    spec = validated(SweepSpec, load_yaml(path), str(path))
    try:
        spec = spec.within(budget)
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from None
    data: Any = spec.model_dump(exclude_defaults=True)
    for override in overrides:
        data = set_value(data, override)
    return validated(SweepSpec, data, f"{path} with --set {' '.join(overrides)}" if overrides else str(path))


def _file_name(given: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", given):
        raise ValueError(f"{given!r} is not a name of letters, digits, dots, dashes and underscores")
    return given


def _seed_list(given: Any) -> Any:
    if isinstance(given, int) and not isinstance(given, bool) and given >= 1:
        if given > MOST:
            raise ValueError(f"{given:,} are more than the {MOST:,} trials of one sweep")
        return list(range(given))
    seeds = list(given) if isinstance(given, list | tuple) else []
    if seeds and all(type(seed) is int and seed >= 0 for seed in seeds) and len(set(seeds)) == len(seeds):
        return seeds
    raise ValueError(f"{given!r} is not a number of seeds >= 1 or a list of distinct integers >= 0")
