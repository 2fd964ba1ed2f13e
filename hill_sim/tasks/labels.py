"""Labels of any kind to 0..C-1, and saying so."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import numpy as np

from hill_sim.types import Array

_log = logging.getLogger(__name__)


def mapped(what: str, labels: Sequence[str]) -> tuple[Array, tuple[str, ...]]:
    """Labels [N] as int64 in 0..C-1, and the C names: ascending, by number if all are numbers, else by text.

    The mapping is logged unless the labels are 0..C-1 already.
    """
    numbers = _numbers(set(labels))
    names = sorted(numbers, key=lambda label: (numbers[label], label))
    index = {name: i for i, name in enumerate(names)}
    if names != [str(i) for i in range(len(names))]:
        shown = ", ".join(f"{name!r} -> {i}" for i, name in enumerate(names[:20]))
        _log.warning("%s: labels mapped: %s%s", what, shown, ", ..." if len(names) > 20 else "")
    return np.array([index[label] for label in labels], dtype=np.int64), tuple(names)


def _numbers(labels: set[str]) -> dict[str, float]:
    """Each label as a number; 0 for all unless all are numbers."""
    try:
        numbers = {label: float(label) for label in labels}
    except ValueError:
        numbers = dict.fromkeys(labels, math.nan)
    return numbers if all(map(math.isfinite, numbers.values())) else dict.fromkeys(labels, 0.0)
