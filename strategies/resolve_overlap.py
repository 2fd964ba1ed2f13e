"""Resolve overlap: push apart only what overlaps. Our reading: the paper observed six strategies and names three."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hill_sim.policy import options
from hill_sim.policy.geometry import center_moves
from hill_sim.types import Edit, LatentView


@dataclass(frozen=True)
class ResolveOverlap:
    """Pushes apart the classes whose discs overlap, and leaves all others untouched.

    The disc of a class has `margin` times its spread as radius; at margin 1 two classes overlap just where the
    separation term of the objective is active. Both classes of a pair give way equally; as that may push one onto a
    third, it is repeated for some rounds, which ends with little overlap but not always with none.

    Equivariant under renamed classes, permuted points and moved, turned, mirrored or scaled views, except that centers
    which coincide exactly part in a random direction (from `rng`).

    Attributes:
        margin: radius of a class's disc in units of its spread, >= 0.
        rounds: how often to push, >= 1.
    """

    margin: float = 1.0
    rounds: int = 8

    def __post_init__(self) -> None:
        options.number("margin", self.margin, 0.0)
        options.integer("rounds", self.rounds, 1)

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        shown = view.shown_classes
        before = view.centers[shown]
        first, second = np.triu_indices(len(shown), 1)
        radii = self.margin * view.spreads[shown]
        wanted = radii[first] + radii[second]
        centers = before.copy()
        for _ in range(self.rounds):
            apart = centers[first] - centers[second]
            distance = np.hypot(apart[:, 0], apart[:, 1])
            # A pair that just touches, up to rounding, counts as resolved.
            active = np.flatnonzero(distance < wanted * (1 - 1e-9))
            if len(active) == 0:
                break
            a, b, distance = first[active], second[active], distance[active]
            direction = _directions(apart[active], distance, rng)
            push = 0.5 * (wanted[active] - distance)[:, None] * direction
            np.add.at(centers, a, push)
            np.add.at(centers, b, -push)
        moved = np.flatnonzero((centers != before).any(axis=1))
        return Edit(center_moves(shown[moved], centers[moved]))


def _directions(apart: np.ndarray, distance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[k,2] unit vectors along `apart`; random ones where the distance is 0."""
    together = distance == 0
    direction = apart / np.where(together, 1.0, distance)[:, None]
    if together.any():
        angles = rng.uniform(0.0, 2.0 * np.pi, together.sum())
        direction[together] = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return direction
