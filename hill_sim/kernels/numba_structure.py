"""The structure loss in numba: the algorithm of csrc/cpu/structure_loss.cpp, where the state's layout is explained."""

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]


@njit(cache=True, error_model="numpy")
def structure_forward(  # pragma: no cover
    z: Array,
    y: Array,
    centers: Array,
    spreads: Array,
    touched: Array,
    weights: Array,
    form: int,
    terms: Array,
    state: Array,
) -> None:
    """z [P, B, D], y [P, B], centers [P, C, D], spreads [P, C], touched [P, C], weights [3, P] -> terms [4, P],
    state [P, C, 5 D + 1] (zeros given): center, spread and separation vectors, slope, mean (twice D) of each class."""
    replicas, batch, D = z.shape
    classes = centers.shape[1]
    mean = np.empty((classes, D))
    unit = np.empty((classes, D))
    push = np.empty((classes, D))
    radius = np.empty(classes)
    count = np.empty(classes, np.int64)
    for p in range(replicas):
        mean[:] = 0
        unit[:] = 0
        push[:] = 0
        radius[:] = 0
        count[:] = 0
        for i in range(batch):
            count[y[p, i]] += 1
            for d in range(D):
                mean[y[p, i], d] += z[p, i, d]
        present = 0
        held = 0
        for c in range(classes):
            if count[c] > 0:
                present += 1
                held += touched[p, c]
                for d in range(D):
                    mean[c, d] /= count[c]
                    state[p, c, 3 * D + 1 + d] = mean[c, d]
                    state[p, c, 4 * D + 1 + d] = mean[c, d] - state[p, c, 3 * D + 1 + d]
        for i in range(batch):
            c = y[p, i]
            square = 0.0
            for d in range(D):
                square += (z[p, i, d] - mean[c, d]) ** 2
            r = math.sqrt(square)
            radius[c] += r
            if r != 0:
                for d in range(D):
                    unit[c, d] += (z[p, i, d] - mean[c, d]) / r
        pairs = present * (present - 1)
        own = held if form == 1 else 2 * held + pairs
        others = pairs if form == 1 else 2 * held + pairs
        per_center = weights[0, p] / own if own > 0 else 0.0
        per_spread = weights[1, p] / own if own > 0 else 0.0
        per_pair = weights[2, p] / others if others > 0 else 0.0

        separation = 0.0
        for c in range(classes):
            if count[c] == 0:
                continue
            for k in range(c + 1, classes):
                if count[k] == 0:
                    continue
                square = 0.0
                for d in range(D):
                    square += (mean[c, d] - mean[k, d]) ** 2
                distance = math.sqrt(square)
                h = float(spreads[p, c]) + float(spreads[p, k]) - distance
                if h <= 0:
                    continue
                separation += 2 * h
                if square == 0:
                    continue
                for d in range(D):
                    direction = 2 * (mean[c, d] - mean[k, d]) / distance
                    push[c, d] -= direction
                    push[k, d] += direction
        center = 0.0
        spread = 0.0
        for c in range(classes):
            if count[c] == 0:
                continue
            slope = 0.0
            if touched[p, c]:
                miss = radius[c] / count[c] - spreads[p, c]
                spread += abs(miss)
                slope = per_spread / count[c] * (1.0 if miss > 0 else -1.0 if miss < 0 else 0.0 if miss == 0 else miss)
            for d in range(D):
                miss = 0.0
                if touched[p, c]:
                    miss = mean[c, d] - centers[p, c, d]
                    center += 0.5 * miss * miss
                state[p, c, d] = per_center / count[c] * miss
                state[p, c, D + d] = -slope * unit[c, d] / count[c]
                state[p, c, 2 * D + d] = per_pair / count[c] * push[c, d]
            state[p, c, 3 * D] = slope
        terms[0, p] = per_center * center
        terms[1, p] = per_spread * spread
        terms[2, p] = per_pair * separation
        terms[3, p] = per_center * center + per_spread * spread + per_pair * separation


@njit(cache=True, error_model="numpy")
def structure_backward(z: Array, y: Array, state: Array, upstream: Array, grad: Array) -> None:  # pragma: no cover
    """upstream [4, P] (center, spread, separation, total) -> grad [P, B, D]."""
    replicas, batch, D = z.shape
    for p in range(replicas):
        up_center = upstream[0, p] + upstream[3, p]
        up_spread = upstream[1, p] + upstream[3, p]
        up_separation = upstream[2, p] + upstream[3, p]
        for i in range(batch):
            row = state[p, y[p, i]]
            mean = row[3 * D + 1 :]
            square = 0.0
            for d in range(D):
                square += ((z[p, i, d] - mean[d]) - mean[D + d]) ** 2
            slope = row[3 * D] / math.sqrt(square) if square != 0 else 0.0
            for d in range(D):
                own = slope * ((z[p, i, d] - mean[d]) - mean[D + d]) + row[D + d]
                grad[p, i, d] = up_center * row[d] + up_spread * own + up_separation * row[2 * D + d]
