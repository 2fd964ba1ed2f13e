"""What several strategies see in a view: which classes are near, confused or mixed up, and how to write moves down."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from hill_sim.types import Array, LatentView, MoveCenter


def center_moves(classes: Iterable[int], positions: Array) -> list[MoveCenter]:
    """One `MoveCenter` a class [k] to its position [k,2], in plain Python numbers."""
    return [MoveCenter(int(c), (x, y)) for c, (x, y) in zip(classes, positions.tolist(), strict=True)]


def distances(a: Array, b: Array) -> Array:
    """[m,k] Euclidean distances between positions a [m,2] and b [k,2]."""
    return np.hypot(a[:, None, 0] - b[None, :, 0], a[:, None, 1] - b[None, :, 1])


def confusion(view: LatentView) -> Array:
    """[C,C] share, in [0,1], of the shown points of two classes that the model takes for the other; symmetric."""
    n_classes = view.n_classes
    counts = np.bincount(view.labels * n_classes + view.predictions, minlength=n_classes**2).reshape(n_classes, -1)
    shown = counts.sum(axis=1)
    return (counts + counts.T) / np.maximum(shown[:, None] + shown[None, :], 1)


def disjoint_pairs(view: LatentView, count: int, *, similar: bool) -> list[tuple[int, int]]:
    """Up to `count` pairs (a < b) of shown classes, no class twice, the most similar (or most distinct) pairs first.

    The more similar of two pairs is the more confused one, or among equally confused ones that whose centers are
    nearer. Exact ties go to the lower class numbers, which is the one thing that depends on how classes are numbered.
    """
    shown = view.shown_classes
    first, second = np.triu_indices(len(shown), 1)
    centers = view.centers[shown]
    apart = np.hypot(*(centers[first] - centers[second]).T)
    mixed = confusion(view)[shown[first], shown[second]]
    order = np.lexsort((apart, -mixed) if similar else (-apart, mixed))
    pairs: list[tuple[int, int]] = []
    taken: set[int] = set()
    for i in order.tolist():
        if len(pairs) == count:
            break
        a, b = int(shown[first[i]]), int(shown[second[i]])
        if not taken & {a, b}:
            pairs.append((a, b))
            taken |= {a, b}
    return pairs


def merged(view: LatentView, pairs: list[tuple[int, int]], pull: float) -> list[MoveCenter]:
    """Moves that bring both centers of each pair `pull` of the way to their midpoint (1: onto each other)."""
    classes = [c for pair in pairs for c in pair]
    partners = [c for a, b in pairs for c in (b, a)]
    own, other = view.centers[classes], view.centers[partners]
    return center_moves(classes, own + 0.5 * pull * (other - own))
