"""Who goes where: stratified splits, subsets for small machines, wrong labels. All of it belongs to the task, not to a
trial's seed, and depends on nothing but the labels and the options.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hill_sim.errors import InvalidInput
from hill_sim.seeding import generator
from hill_sim.tasks import options
from hill_sim.types import Array

SPLIT_SEED = 0


def stratified(labels: Array, shares: Sequence[float], what: str, seed: int = SPLIT_SEED) -> list[Array]:
    """Rows [n_i] for each share, drawn at random so that every class is split alike; what is left over comes last.

    Args:
        labels: [N] int.
        shares: in (0,1), with a sum below 1. Of a class of n samples, round(share * n) go to each, but at least one.
        what: the task, in messages and as part of the seed.

    Returns:
        len(shares) + 1 arrays of ascending rows.

    Raises:
        InvalidInput: a class too small to give one sample to each part.
    """
    rng = generator(seed, f"{what} split")
    parts: list[list[Array]] = [[] for _ in range(len(shares) + 1)]
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        if len(rows) <= len(shares):
            raise InvalidInput(f"task {what}: label {label} has {len(rows)} samples, too few for {len(parts)} splits")
        start = 0
        for part, share in zip(parts, shares, strict=False):
            size = max(1, round(share * len(rows)))
            part.append(rows[start : start + size])
            start += size
        if start >= len(rows):
            raise InvalidInput(f"task {what}: label {label}: shares {list(shares)} of {len(rows)} samples leave none")
        parts[-1].append(rows[start:])
    return [np.sort(np.concatenate(part)) for part in parts]


def by_group(groups: Array, shares: Sequence[float], what: str, seed: int = SPLIT_SEED) -> list[Array]:
    """As `stratified`, but whole groups [N] go to one part each, drawn at random: round(share * G), at least one.

    Raises:
        InvalidInput: fewer groups than parts, or shares that leave no group over.
    """
    names = generator(seed, f"{what} groups").permutation(np.unique(groups))
    parts, start = [], 0
    for share in shares:
        size = max(1, round(share * len(names)))
        parts.append(np.flatnonzero(np.isin(groups, names[start : start + size])))
        start += size
    if start >= len(names):
        raise InvalidInput(f"task {what}: shares {list(shares)} of {len(names)} groups leave none to train on")
    return [*parts, np.flatnonzero(np.isin(groups, names[start:]))]


def subset(rows: Array, labels: Array, per_class: int | None, option: str, what: str) -> Array:
    """At most `per_class` of `rows` [n] of each class, drawn at random, ascending; all if None.

    Args:
        labels: [N] of all samples, those of `rows` among them.
        option: the name of the task option that asks for it.
    """
    if per_class is None:
        return rows
    options.integer(option, per_class, 1)
    mixed = generator(SPLIT_SEED, f"{what} subset").permutation(rows)
    kept = [mixed[labels[mixed] == label][:per_class] for label in np.unique(labels[rows])]
    return np.sort(np.concatenate(kept))


def with_noise(labels: Array, share: float, n_classes: int, what: str) -> Array:
    """`labels` [n] with a share in [0,1) of them replaced by another class, drawn evenly from the others."""
    options.number("label_noise", share, 0.0, 1.0, below=True)
    rng = generator(SPLIT_SEED, f"{what} label noise")
    wrong = rng.choice(len(labels), size=round(share * len(labels)), replace=False)
    noisy = np.array(labels)
    if len(wrong) == 0:
        return noisy
    noisy[wrong] = (noisy[wrong] + rng.integers(1, n_classes, size=len(wrong))) % n_classes
    return noisy
