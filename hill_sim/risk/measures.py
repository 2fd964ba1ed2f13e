"""Measures of predictions, alone and against the twin's: [N] predictions and labels, C classes. All are in [0,1]."""

from __future__ import annotations

import numpy as np

from hill_sim.types import Array


def accuracy(predictions: Array, labels: Array) -> float:
    """Share of samples predicted right. More is better."""
    return float(np.mean(predictions == labels))


def class_recalls(predictions: Array, labels: Array, n_classes: int) -> Array:
    """[C] recall of each class, NaN for a class without samples. More is better."""
    totals = np.bincount(labels, minlength=n_classes).astype(np.float64)
    hits = np.bincount(labels[predictions == labels], minlength=n_classes)
    return np.divide(hits, totals, out=np.full(n_classes, np.nan), where=totals > 0)


def macro_f1(predictions: Array, labels: Array, n_classes: int) -> float:
    """Mean over the classes that occur (as label or prediction) of 2 TP / (2 TP + FP + FN). More is better."""
    true_positives = np.bincount(labels[predictions == labels], minlength=n_classes)
    both = np.bincount(labels, minlength=n_classes) + np.bincount(predictions, minlength=n_classes)
    return float((2.0 * true_positives[both > 0] / both[both > 0]).mean())


def recall_disparity(recalls: Array) -> float:
    """Largest minus smallest class recall, over the classes with samples. More is worse."""
    return float(np.nanmax(recalls) - np.nanmin(recalls))


def churn(predictions: Array, twin: Array) -> float:
    """Share of samples predicted differently from the twin (Milani Fard et al. 2016). More is worse."""
    return float(np.mean(predictions != twin))


def negative_flips(predictions: Array, twin: Array, labels: Array) -> float:
    """Share of samples that the twin had right and the trial has wrong (Yan et al. 2021). More is worse."""
    return float(np.mean((twin == labels) & (predictions != labels)))


def positive_flips(predictions: Array, twin: Array, labels: Array) -> float:
    """Share of samples that the twin had wrong and the trial has right. More is better."""
    return float(np.mean((twin != labels) & (predictions == labels)))
