"""Committee: several users look at the same view, and what they want is put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hill_sim.errors import InvalidInput
from hill_sim.policy import Policy, build_policy, options, run_policy
from hill_sim.policy.motion import extents
from hill_sim.types import Array, Edit, Gesture, LatentView, MoveCenter, MovePoint, ScaleClass, TargetLayout, layout_of

AGGREGATES = {"mean": np.mean, "median": np.median, "turn": None}
MEMBER_KEYS = ("policy", "options", "user")
SAME = 1e-12  # relative: what differs by less was not moved, only rounded


@dataclass(frozen=True)
class Committee:
    """Aggregates the target layouts of its members into one edit.

    Touched are the classes that any member touches; a member who leaves one of them alone wants it where it is. The
    edit's centers and spreads are the mean (or median, of each coordinate) of those that the members want. Only centers
    and spreads reach the objective, so single points are not aggregated, with one exception: a class without extent
    cannot be scaled, so where a member moves its points apart they are moved to their mean (median) places first;
    should those coincide too, the class keeps spread 0.

    Members act one after the other on the same generator. Equivariant where the members are, but the median is not
    under turns of the view.

    Attributes:
        members: at least one of: a policy's name, or a mapping with the keys `policy` and, if wanted, `options` and
            `user` (human limits).
        aggregate: `mean`, `median`, or `turn` (one member an interaction, in order, by the length of the history).
    """

    members: Sequence[str | Mapping[str, Any]] = ("separation", "merge_similar")
    aggregate: str = "mean"
    users: tuple[Policy, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        options.choice("aggregate", self.aggregate, AGGREGATES)
        if isinstance(self.members, str) or not isinstance(self.members, Sequence) or not self.members:
            raise InvalidInput(f"members: {self.members!r} is not a list of at least one policy")
        object.__setattr__(self, "users", tuple(_build(i, m) for i, m in enumerate(self.members)))

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        if self.aggregate == "turn":
            return run_policy(self.users[len(view.history) % len(self.users)], view, rng)
        layouts = [run_policy(user, view, rng).apply(view) for user in self.users]
        return _aggregated(view, layouts, np.mean if self.aggregate == "mean" else np.median)


def _build(index: int, member: str | Mapping[str, Any]) -> Policy:
    if isinstance(member, str):
        return build_policy(member)
    options.mapping(f"members[{index}]", member)
    for key in member:
        options.choice(f"members[{index}]", key, MEMBER_KEYS)
    if "policy" not in member:
        raise InvalidInput(f"members[{index}]: {dict(member)!r} has no 'policy'")
    return build_policy(member["policy"], member.get("options"), member.get("user"))


def _aggregated(view: LatentView, layouts: list[TargetLayout], average: Any) -> Edit:
    gestures: list[Gesture] = []
    touched = np.any([layout.touched for layout in layouts], axis=0)
    centers = average([layout.centers for layout in layouts], axis=0)
    spreads = average([layout.spreads for layout in layouts], axis=0)
    reach = float(np.abs(view.points).max())
    now_centers, now_spreads = view.centers, np.where(extents(view) > 0, view.spreads, 0.0)
    spread_out = touched & (now_spreads == 0) & (spreads > SAME * reach)
    if spread_out.any():
        places = average([layout.points for layout in layouts], axis=0)
        points = np.array(view.points)
        for row in np.flatnonzero(spread_out[view.labels]).tolist():
            points[row] = places[row]
            gestures.append(MovePoint(row, (float(places[row, 0]), float(places[row, 1]))))
        now_centers, now_spreads = layout_of(points, view.labels, view.n_classes)
    for c in np.flatnonzero(touched).tolist():
        gestures += _moved_and_scaled(c, centers[c], now_centers[c], float(spreads[c]), float(now_spreads[c]), reach)
    return Edit(gestures)


def _moved_and_scaled(c: int, to: Array, at: Array, spread: float, now: float, reach: float) -> list[Gesture]:
    gestures: list[Gesture] = []
    scales = now > SAME * reach and abs(spread - now) > SAME * now
    if not scales or np.abs(to - at).max() > SAME * reach:  # a class that stays is taken and put back, to be touched
        gestures.append(MoveCenter(c, (float(to[0]), float(to[1]))))
    if scales:
        gestures.append(ScaleClass(c, spread / now))
    return gestures
