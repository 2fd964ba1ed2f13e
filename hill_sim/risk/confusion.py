"""Does the model begin to confuse just those classes that the user pulled together? C classes."""

from __future__ import annotations

import numpy as np

from hill_sim.types import Array

PULLED = 0.5
"""A pair counts as pulled together if an edit asks for at most this share of the distance between its centers."""


def pair_confusion(predictions: Array, labels: Array, n_classes: int) -> Array:
    """[C,C] share, in [0,1], of the samples of two classes that are taken for the other one; symmetric.

    (n_ab + n_ba) / (n_a + n_b), n_ab samples of class a predicted as b. NaN for pairs without samples.
    """
    counts = np.bincount(labels * n_classes + predictions, minlength=n_classes**2).reshape(n_classes, n_classes)
    sizes = counts.sum(axis=1, dtype=np.float64)
    both = sizes[:, None] + sizes[None, :]
    return np.divide(counts + counts.T, both, out=np.full(both.shape, np.nan), where=both > 0)


def pulled_pairs(before: Array, asked: Array) -> Array:
    """[C,C] which pairs of classes some edit asks to bring together, to at most `PULLED` of their distance; symmetric.

    Args:
        before, asked: [K,C,2] centers as the user saw them and as the user left them at K interactions; NaN for classes
            that are not shown.
    """

    def distances(centers: Array) -> Array:
        difference = centers[:, :, None] - centers[:, None, :]
        return np.hypot(difference[..., 0], difference[..., 1])

    there = distances(before)
    with np.errstate(invalid="ignore"):
        pulled = (distances(asked) <= PULLED * there) & (there > 0)
    return np.any(pulled, axis=0, keepdims=True)[0]  # an array for any K


def directed_confusion(confusion: Array, twin: Array, pulled: Array) -> float:
    """Edit-directed confusion, in [-2,2]; more is worse: the person's view of what belongs together is trained in.

        mean over pulled pairs of (S - S_twin)  -  mean over all other pairs of (S - S_twin)

    with S the symmetric confusion of a pair (`pair_confusion`). The second term takes away what the training does to
    all pairs alike. NaN where no pair was pulled together, or every one was.

    Args:
        confusion, twin: [C,C] of the trial and of its twin. pulled: [C,C] of `pulled_pairs`.
    """
    first, second = np.triu_indices(len(pulled), 1)
    rise = (confusion - twin)[first, second]
    known = ~np.isnan(rise)
    chosen = pulled[first, second]
    if not (known & chosen).any() or not (known & ~chosen).any():
        return float("nan")
    return float(rise[known & chosen].mean() - rise[known & ~chosen].mean())
