"""How the 2-D view looks: are the classes apart? n points in the plane, C classes, any n that one can wait for.

One pass over all pairs, row by row, compiled with numba: memory O(n), and 10,000 points take a few tenths of a second.
Less is asked of the model than by accuracy: the classes need only look apart in the plane that the user sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit  # type: ignore[attr-defined, unused-ignore]

from hill_sim.errors import InvalidInput
from hill_sim.types import Array


@dataclass(frozen=True)
class Geometry:
    """Of one labelled layout.

    Attributes:
        silhouette: mean over points of (b - a) / max(a, b), in [-1,1], more is better (Rousseeuw 1987): a the mean
            distance to the other points of the class, b that to the nearest other class; 0 for a point alone in its
            class. NaN for fewer than two classes.
        neighbour_agreement: share of points whose nearest neighbour has their label, in [0,1], more is better
            (leave-one-out accuracy of 1-NN); among equally near ones the first in order. NaN for fewer than two points.
        overlap: share of points that lie at least as near to the center of another class as to that of their own, in
            [0,1], more is worse. NaN for fewer than two classes.
    """

    silhouette: float
    neighbour_agreement: float
    overlap: float


def geometry(points: Array, labels: Array) -> Geometry:
    """The geometry of points [n,2] with labels [n].

    Raises:
        InvalidInput: shapes that do not fit, or positions that are not finite.
    """
    points = np.ascontiguousarray(points, dtype=np.float64)
    labels = np.asarray(labels)
    if points.ndim != 2 or points.shape[1] != 2 or labels.shape != points.shape[:1]:
        raise InvalidInput(f"points, labels: shapes {points.shape} and {labels.shape} are not [n,2] and [n]")
    if not np.isfinite(points).all():
        raise InvalidInput(f"points: {int((~np.isfinite(points)).any(axis=1).sum())} of {len(points)} are not finite")
    nan = float("nan")
    if len(points) < 2:
        return Geometry(nan, nan, nan)
    present, own = np.unique(labels, return_inverse=True)
    sizes = np.bincount(own)
    # Sorted by class, a row's distances to a class are one run of columns.
    order = np.argsort(own, kind="stable")
    silhouettes, agrees = _pairs(points[order, 0].copy(), points[order, 1].copy(), np.cumsum(sizes), order)
    agreement = float(agrees.mean())
    if len(present) < 2:
        return Geometry(nan, agreement, nan)
    centers = np.stack([np.bincount(own, points[:, d]) / sizes for d in range(2)], axis=1)
    away = np.hypot(points[:, None, 0] - centers[None, :, 0], points[:, None, 1] - centers[None, :, 1])  # [n,C]
    rows = np.arange(len(points))
    home = away[rows, own]
    away[rows, own] = np.inf
    return Geometry(float(silhouettes.mean()), agreement, float((away.min(axis=1) <= home).mean()))


@njit(cache=True, error_model="numpy")
def _pairs(x: Array, y: Array, ends: Array, order: Array) -> tuple[Any, Any]:  # pragma: no cover
    """Silhouette [n] of each point, and whether its nearest neighbour is of its class [n].

    The points come sorted by class; `ends` [C] is where each class ends, `order` [n] the place of each point before.
    """
    n, n_classes = len(x), len(ends)
    silhouettes, agrees = np.zeros(n), np.zeros(n)
    for i in range(n):
        nearest, first, nearest_class, own, inside, outside = np.inf, n, -1, -1, 0.0, np.inf
        begin = 0
        for c in range(n_classes):
            total = 0.0
            for j in range(begin, ends[c]):
                d = np.sqrt((x[i] - x[j]) ** 2 + (y[i] - y[j]) ** 2)
                total += d
                if j != i and (d < nearest or (d == nearest and order[j] < first)):
                    nearest, first, nearest_class = d, order[j], c
            size = ends[c] - begin
            if begin <= i < ends[c]:
                own = c
                inside = total / (size - 1) if size > 1 else -1.0
            else:
                outside = min(outside, total / size)
            begin = ends[c]
        agrees[i] = 1.0 if nearest_class == own else 0.0
        larger = max(inside, outside)
        if inside >= 0 and larger > 0 and outside < np.inf:
            silhouettes[i] = (outside - inside) / larger
    return silhouettes, agrees
