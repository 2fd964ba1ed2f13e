"""From a sweep's spec to its trials, in an order that depends on nothing but the spec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from hill_sim.errors import InvalidInput, unknown
from hill_sim.risk.attribution import branches
from hill_sim.sweep.design import Design
from hill_sim.sweep.people import People
from hill_sim.sweep.places import put
from hill_sim.sweep.spec import MOST, Attribution, Case, PolicyEntry, SweepSpec, Tree
from hill_sim.trial import CE_SCALED, TWIN, Trial


@dataclass(frozen=True, slots=True)
class Planned:
    """One trial of a sweep, with the names that the sweep's author knows it by.

    Attributes:
        case: the case's name; empty where the sweep has none.
        label: of the user: the entry's label, or the policy's name; a sequence is joined by arrows. A branch adds what
            sets it apart, as in `compactness without 30`.
        role: `user`, to be compared with the others; `point` of a design, or `branch` of another trial: there for the
            sensitivity, or the attribution, alone.
    """

    trial: Trial
    case: str
    label: str
    role: str = "user"


def expand(spec: SweepSpec) -> list[Planned]:
    """All trials of the sweep, each once, case by case, then user, person, design, grid, and seed; last the branches.

    Trials that are the same value are one trial (the first keeps its names). `ce_only` knows no alpha, lam or
    objective, so it is one trial per seed, whatever the grid.

    Raises:
        InvalidInput: a value that no trial can have; the line names the case, the user and the field. Or more trials
            than `MOST`.
    """
    planned: dict[Trial, Planned] = {}
    cases: Sequence[Case | None] = spec.cases or [None]
    for case in cases:
        for item in _of_case(spec, case):
            planned.setdefault(item.trial, item)
    if spec.attribution:
        for item in _branches(list(planned.values()), spec.attribution):
            planned.setdefault(item.trial, item)
    return list(planned.values())


def setups(spec: SweepSpec) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Case, label and fields of every user of every case, before any grid: what a search puts its candidates into."""
    cases: Sequence[Case | None] = spec.cases or [None]
    for case in cases:
        base, users, _ = _parts(spec, case)
        for (label, user), person in users:
            yield case.name if case else "", label, _with_user(_with_user(base, user), person)


def _branches(planned: Sequence[Planned], asked: Attribution) -> Iterator[Planned]:
    labels = {item.label for item in planned}
    for name in asked.users or ():
        if name not in labels:
            raise unknown("attribution.users", name, sorted(labels))
    for item in planned:
        if item.role != "user" or (asked.users is not None and item.label not in asked.users):
            continue
        for branch in branches(item.trial, asked.kinds):
            name = f"{item.label} {branch.name}"
            if name in labels:
                raise InvalidInput(f"policies: {name!r} is what attribution calls a branch; choose another label")
            yield Planned(branch.trial, item.case, name, "branch")


def _of_case(spec: SweepSpec, case: Case | None) -> Iterator[Planned]:
    where = f"case {case.name}: " if case else ""
    base, users, points = _parts(spec, case)
    design = case.design if case and case.design is not None else spec.design
    for (label, user), person in users:
        for point in points:
            chosen = base
            for place, value in point.items():
                chosen = put(chosen, place, value)
            chosen = _with_user(_with_user(chosen, user), person)
            for seed in spec.seeds:
                try:
                    trial = Trial(**chosen, seed=seed)
                except InvalidInput as error:
                    who = f"{label}: " if label else ""
                    raise InvalidInput(f"{where}{who}{error}") from None
                trial = trial.twin() if trial.policy == TWIN else trial
                role = "point" if design and trial.policy != TWIN else "user"
                yield Planned(trial, case.name if case else "", label or trial.policy_name, role)


def _parts(
    spec: SweepSpec, case: Case | None
) -> tuple[dict[str, Any], list[tuple[tuple[str, dict[str, Any]], dict[str, Any]]], list[dict[str, Any]]]:
    """A case's fixed fields, its users by label, each as every person, and the points of its design and grid."""
    fixed = {**spec.fixed, **(case.fixed if case else {})}
    grid = {**spec.grid, **(case.grid if case else {})}
    policies = case.policies if case and case.policies is not None else spec.policies
    tree = case.tree if case and case.tree is not None else spec.tree
    where = f"case {case.name}: " if case else ""
    for place in ("policy", "policy_options"):
        if (policies or tree) and (place in fixed or place in grid):
            section = "fixed" if place in fixed else "grid"
            raise InvalidInput(f"{where}{section}.{place}: the users stand under policies or tree already")
    people = case.users if case and case.users is not None else spec.users
    design = case.design if case and case.design is not None else spec.design
    for place in design.parameters if design else ():
        if place in grid:
            raise InvalidInput(f"{where}grid.{place}: stands under design.parameters already")
    base: dict[str, Any] = {}
    for place, value in fixed.items():
        base = put(base, place, value)
    epochs = _epochs(tree, base, where) if tree else []
    _check_number(where, {
        "users": (len(policies or []) + (len(tree.strategies) ** len(epochs) if tree else 0)) or 1,
        "persons": people.count if people else 1,
        "points of the design": design.size if design else 1,
        "points of the grid": prod(map(len, grid.values())),
        "seeds": len(spec.seeds),
    })  # fmt: skip
    users = [*_entries(policies or []), *(_sequences(tree, epochs, where) if tree else [])]
    return base, list(_each_person(users or [("", {})], people)), list(_points(design, grid))


def _points(design: Design | None, grid: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Every point of the design with every combination of the grid."""
    for point in design.points() if design else [{}]:
        for values in product(*grid.values()):
            yield point | dict(zip(grid, values, strict=True))


def _each_person(
    users: Sequence[tuple[str, dict[str, Any]]], people: People | None
) -> Iterator[tuple[tuple[str, dict[str, Any]], dict[str, Any]]]:
    """Every user as every person; what trains without a user is the same for all."""
    persons = [{"user": person} for person in people.drawn()] if people else [{}]
    for user in users:
        for person in persons:
            yield user, person
            if user[1].get("policy") in (TWIN, CE_SCALED):
                break


def _entries(entries: Sequence[PolicyEntry]) -> Iterator[tuple[str, dict[str, Any]]]:
    for entry in entries:
        yield entry.name, {"policy": entry.policy, "policy_options": entry.options, "user": entry.user}


def _check_number(where: str, factors: Mapping[str, int]) -> None:
    """Raise InvalidInput if all combinations are more than `MOST`, before any is made."""
    if (number := prod(factors.values())) > MOST:
        said = " x ".join(f"{count:,} {what}" for what, count in factors.items() if count > 1)
        raise InvalidInput(f"{where}{said}: {number:,} trials are more than the {MOST:,} of one sweep")


def _epochs(tree: Tree, base: Mapping[str, Any], where: str) -> Sequence[int]:
    """Those of a tree's interactions."""
    epochs: Sequence[int] = base.get("interactions", Trial().interactions)
    if isinstance(tree.interactions, list):
        return tree.interactions
    if tree.interactions is None:
        return epochs
    if tree.interactions > len(epochs):
        given = f"{tree.interactions} is more than the {len(epochs)} interactions {list(epochs)}"
        raise InvalidInput(f"{where}tree.interactions: {given}")
    return epochs[: tree.interactions]


def _sequences(tree: Tree, epochs: Sequence[int], where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for entry in tree.strategies:
        if entry.user:
            raise InvalidInput(
                f"{where}tree.strategies: {entry.name}: human limits belong to the whole trial (fixed.user)"
            )
    for sequence in product(tree.strategies, repeat=len(epochs)):
        options = [entry.options for entry in sequence]
        fields: dict[str, Any] = {"policy": [entry.policy for entry in sequence], "interactions": epochs}
        if any(options):
            fields["policy_options"] = options
        yield " > ".join(entry.name for entry in sequence), fields


def _with_user(fields: Mapping[str, Any], user: Mapping[str, Any]) -> dict[str, Any]:
    """The trial's fields with this user's; options that a whole sweep sets stay where the user says nothing."""
    merged = {**fields, **user}
    for name in ("policy_options", "user"):
        if isinstance(fields.get(name), Mapping) and isinstance(user.get(name), Mapping):
            merged[name] = {**fields[name], **user[name]}
    return merged
