"""Adversary: a user who wants the worst, the upper end of what a conflict can do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hill_sim.policy import options
from hill_sim.policy.geometry import center_moves, distances
from hill_sim.types import Array, Edit, LatentView

TIE = 1e-9  # centers nearer to each other than this, relative to the view's size, count as equally near


@dataclass(frozen=True)
class Adversary:
    """Drags class centers onto others, each time the move that most damages the separability of the edited view.

    Damage is measured by lookahead on the view: the accuracy of the nearest-center rule on the shown points (a point
    equally near to another center counts half), among moves of equal accuracy the mean margin (distance to the nearest
    other center minus distance to the own one), then the width of the class and the length of the way. Greedy: each
    move is the best one after the moves before it. It stops early when no move lowers the accuracy. Equivariant under
    renamed classes, permuted points and moved, turned, mirrored or scaled views, but for exact ties (classes of one
    point each have equal widths, for instance).

    Attributes:
        moves: the most gestures, >= 1. Each costs O(n C^2).
    """

    moves: int = 3

    def __post_init__(self) -> None:
        options.integer("moves", self.moves, 1)

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        shown = view.shown_classes
        k = len(shown)
        if k < 2:
            return Edit()
        centers, spreads = view.centers[shown], view.spreads[shown]
        own = np.searchsorted(shown, view.labels)
        offsets = view.points - centers[own]  # a center's move takes its points along
        members = (own[:, None] == np.arange(k)).astype(np.float64)
        size = float(np.abs(view.points - view.points.mean(axis=0)).max())
        current = np.inf
        gestures = []
        for _ in range(self.moves):
            accuracy, margin, now = _lookahead(centers, offsets, own, members, TIE * size)
            current = min(current, now)
            best = accuracy.min()
            if best >= current - 1e-9:
                break
            keep = accuracy <= best + 1e-9
            # Where margins tie too (of two classes alone, either may go to the other), the widest class moves farthest.
            for merit in (-margin, np.tile(spreads[:, None], k), distances(centers, centers)):
                keep &= merit >= merit[keep].max() - TIE * size
            a, b = divmod(int(keep.argmax()), k)
            gestures += center_moves([shown[a]], centers[[b]])
            centers = centers.copy()
            centers[a] = centers[b]
            current = best
        return Edit(gestures)


def _lookahead(centers: Array, offsets: Array, own: Array, members: Array, tie: float) -> tuple[Array, Array, float]:
    """What each move of center a onto center b would do.

    Args:
        centers: [k,2] positions of the centers.
        offsets: [n,2] points relative to the center of their class.
        own: [n] the class of each point, in 0..k-1, and `members` [n,k] the same as indicators.
        tie: distances that differ by less are equal.

    Returns:
        accuracy [k,k] and mean margin [k,k] after moving a (row) onto b, inf on the diagonal; the accuracy now.
    """
    n, k = members.shape
    radius = np.hypot(offsets[:, 0], offsets[:, 1])
    rows = np.arange(n)
    # carried[i,b,c]: distance from point i to center c if its class sat on center b
    carried = np.hypot(*np.moveaxis(offsets[:, None, None] + centers[:, None] - centers[None, :], -1, 0))
    others = carried[rows, own]  # [n,c] as things stand
    others[rows, own] = np.inf
    now = _right(others.min(axis=1) - radius, tie).mean()
    # Points of other classes: center a leaves its place for that of b. Without a, the nearest is the first or second.
    nearest = np.sort(others, axis=1)[:, :2]
    without = np.where(np.arange(k) == others.argmin(axis=1)[:, None], nearest[:, 1:], nearest[:, :1])  # [n,a]
    arrived = others.copy()
    arrived[rows, own] = radius  # b is the point's own class: then a is as near as the own center
    gap = np.minimum(without[:, :, None], arrived[:, None, :]) - radius[:, None, None]  # [n,a,b]
    # Points of class a itself: they sit around b, where b is as near as their own center.
    carried[rows, :, own] = np.inf
    gap[rows, own] = carried.min(axis=2) - radius[:, None]
    accuracy, margin = _right(gap, tie).mean(axis=0), gap.mean(axis=0)
    np.fill_diagonal(accuracy, np.inf)
    np.fill_diagonal(margin, np.inf)
    return accuracy, margin, float(now)


def _right(gap: Array, tie: float) -> Array:
    return np.where(gap > tie, 1.0, np.where(gap >= -tie, 0.5, 0.0))
