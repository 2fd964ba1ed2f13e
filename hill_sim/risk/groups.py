"""Whom does it serve: accuracy by group (subject, speaker), with sizes and intervals: small groups stay visible.

G groups. Directional bias amplification (Wang and Russakovsky 2021) is not among the measures: docs/risk.md says why.
"""

from __future__ import annotations

import numpy as np

from hill_sim.risk.statistics import wilson_interval
from hill_sim.types import Array


def group_sizes(groups: Array, n_groups: int) -> Array:
    """[G] samples of each group; 0 for one that the split lacks."""
    return np.bincount(groups, minlength=n_groups)


def group_accuracies(predictions: Array, labels: Array, groups: Array, n_groups: int) -> Array:
    """[G] accuracy within each group, in [0,1], NaN for a group without samples. More is better."""
    sizes = group_sizes(groups, n_groups).astype(np.float64)
    hits = np.bincount(groups[predictions == labels], minlength=n_groups)
    return np.divide(hits, sizes, out=np.full(n_groups, np.nan), where=sizes > 0)


def group_gap(accuracies: Array) -> float:
    """Largest minus smallest accuracy over the groups with samples, in [0,1]; more is worse. 0 for a single group."""
    return float(np.nanmax(accuracies) - np.nanmin(accuracies))


def group_intervals(accuracies: Array, sizes: Array, level: float = 0.95) -> tuple[Array, Array]:
    """[G], [G] Wilson's interval of each group's accuracy given its size; for a group of one it is [0.21, 1] or
    [0, 0.79], and NaN for none."""
    return wilson_interval(np.nan_to_num(accuracies) * sizes, sizes, level)
