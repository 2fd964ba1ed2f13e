"""Do the model's probabilities mean what they say? N samples, C classes, probabilities [N,C] that sum to 1."""

from __future__ import annotations

import numpy as np

from hill_sim.types import Array

BINS = 15


def calibration_error(probabilities: Array, labels: Array, bins: int = BINS, *, adaptive: bool = False) -> float:
    """Expected calibration error, in [0,1]; more is worse.

        ECE = sum over bins m of |B_m| / N * | accuracy(B_m) - mean confidence(B_m) |

    Confidence is the probability of the predicted class. Bin m of M holds confidences in ((m-1)/M, m/M] (Guo et al.
    2017), or with `adaptive` an M-th of the samples in order of confidence (Nixon et al. 2019), which wastes no bin
    where few samples lie. Biased upwards for few samples: compare with the twin, on the same samples.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    if adaptive:
        place = np.empty(len(labels), dtype=np.int64)
        place[np.argsort(confidence, kind="stable")] = np.arange(len(labels)) * bins // len(labels)
    else:
        place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(place, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def brier_score(probabilities: Array, labels: Array) -> float:
    """Mean over samples of sum_c (p_c - [y = c])^2, in [0,2]; more is worse (Brier 1950, the multi-class original)."""
    own = probabilities[np.arange(len(labels)), labels]
    return float(((probabilities**2).sum() - 2 * own.sum()) / len(labels) + 1.0)
