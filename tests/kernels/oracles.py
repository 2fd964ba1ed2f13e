"""The three losses as plain Python loops in float64, straight from their formulas. Slow on purpose.

Gradients are derived by hand here, so that nothing is shared with torch's autograd or with a kernel.
"""

import math

import numpy as np


def distance(a, b):
    return math.sqrt(sum((float(x) - float(w)) ** 2 for x, w in zip(a, b, strict=True)))


def sign(x):
    return 0.0 if x == 0 else math.copysign(1.0, x)


def structure(z, y, centers, spreads, touched, weights, form):
    """(center, spread, separation, total), gradient of total [B, D] of one replica."""
    classes, coordinates = centers.shape
    members = {c: [i for i in range(len(y)) if y[i] == c] for c in range(classes)}
    present = [c for c in range(classes) if members[c]]
    held = [c for c in present if touched is None or touched[c]]
    mu = {c: [sum(float(z[i][d]) for i in members[c]) / len(members[c]) for d in range(coordinates)] for c in present}
    sigma = {c: sum(distance(z[i], mu[c]) for i in members[c]) / len(members[c]) for c in present}
    pairs = [(c, k) for c in present for k in present if c != k]
    M = 2 * len(held) + len(pairs)
    n = {"paper": (M, M, M), "mean": (len(held), len(held), len(pairs))}[form]
    factor = [w / max(items, 1) for w, items in zip(weights, n, strict=True)]

    center = sum(0.5 * distance(mu[c], centers[c]) ** 2 for c in held)
    spread = sum(abs(sigma[c] - spreads[c]) for c in held)
    separation = sum(max(0.0, spreads[c] + spreads[k] - distance(mu[c], mu[k])) for c, k in pairs)
    terms = [f * s for f, s in zip(factor, (center, spread, separation), strict=True)]

    grad = np.zeros((len(y), coordinates))
    to_mean = {c: np.zeros(coordinates) for c in present}  # gradient with respect to mu_c
    for c in held:
        to_mean[c] += factor[0] * (np.array(mu[c]) - centers[c])
        slope = factor[1] * sign(sigma[c] - spreads[c]) / len(members[c])
        for i in members[c]:
            r = distance(z[i], mu[c])
            if r > 0:
                unit = (np.array(z[i], dtype=float) - mu[c]) / r
                grad[i] += slope * unit
                to_mean[c] -= slope * unit
    for c, k in pairs:
        r = distance(mu[c], mu[k])
        if r > 0 and spreads[c] + spreads[k] - r > 0:
            unit = (np.array(mu[c]) - mu[k]) / r
            to_mean[c] -= factor[2] * unit
            to_mean[k] += factor[2] * unit
    for c in present:
        grad[members[c]] += to_mean[c] / len(members[c])
    return [*terms, sum(terms)], grad


def pair_separation(z, y, margins):
    """Value and gradient [B, D] of one replica."""
    value, count, grad = 0.0, 0, np.zeros(np.shape(z))
    for i in range(len(y)):
        for j in range(i + 1, len(y)):
            if y[i] == y[j]:
                continue
            count += 1
            r = distance(z[i], z[j])
            h = max(0.0, float(margins[y[i]][y[j]]) - r)
            value += h * h
            if r > 0:
                push = 2 * h * (np.array(z[i], dtype=float) - z[j]) / r
                grad[i] -= push
                grad[j] += push
    return value / max(count, 1), grad / max(count, 1)


def center_loss(z, y, centers):
    """Value and gradient [B, D] of one replica."""
    residual = np.array(z, dtype=float) - np.array(centers, dtype=float)[y]
    return float((residual**2).sum()) / max(len(y), 1), 2 * residual / max(len(y), 1)
