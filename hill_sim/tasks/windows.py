"""From long recordings to windows: runs without gaps, holes filled inside a run only, windows inside a run only.

Rows are samples of one recording in time order, R of them with K channels; a *run* is a stretch of rows of one person
doing one thing, without a gap in time.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hill_sim.types import Array


def run_ids(*columns: Array, breaks: Array | None = None) -> Array:
    """[R] int64, 0.. : a new run begins where any of the columns [R] changes, or where `breaks` [R] is true."""
    starts = np.zeros(len(columns[0]), dtype=bool)
    for column in columns:
        starts[1:] |= column[1:] != column[:-1]
    if breaks is not None:
        starts[1:] |= breaks[1:]
    return np.cumsum(starts).astype(np.int64)


def fill_holes(values: Array, runs: Array) -> Array:
    """Values [R,K] float with NaN replaced, in place, by straight lines between the run's own neighbours in time.

    Before the first and after the last valid value of a run that value is held. Channels of a run without any valid
    value stay NaN.
    """
    bounds = np.flatnonzero(np.diff(runs, prepend=-1, append=-1))
    for start, stop in itertools.pairwise(bounds):
        run = values[start:stop]
        holes = np.isnan(run)
        for channel in np.flatnonzero(holes.any(axis=0)):
            bad = holes[:, channel]
            if not bad.all():
                rows = np.arange(len(run))
                run[bad, channel] = np.interp(rows[bad], rows[~bad], run[~bad, channel])
    return values


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows by their first row: `starts` [N], each `length` rows long."""

    starts: Array
    length: int

    @classmethod
    def inside(cls, runs: Array, usable: Array, length: int, step: int) -> Windows:
        """All windows that begin every `step` rows of a run [R], end inside it, and hold usable [R] rows only."""
        bounds = np.flatnonzero(np.diff(runs, prepend=-1, append=-1))
        unusable = np.concatenate([[0], np.cumsum(~usable)])
        starts = [np.arange(a, b - length + 1, step) for a, b in itertools.pairwise(bounds)]
        found = np.concatenate(starts) if starts else np.empty(0, dtype=np.int64)
        return cls(found[unusable[found + length] == unusable[found]].astype(np.int64), length)

    def statistics(self, values: Array) -> tuple[Array, Array]:
        """Mean and deviation [K], float64, of every row that some window holds, each row counted once."""
        marks = np.zeros(len(values) + 1, dtype=np.int64)
        np.add.at(marks, self.starts, 1)
        np.add.at(marks, self.starts + self.length, -1)
        rows = np.flatnonzero(np.cumsum(marks[:-1]) > 0)
        total, squares = np.zeros(values.shape[1]), np.zeros(values.shape[1])
        for start in range(0, len(rows), 1 << 16):
            total += values[rows[start : start + (1 << 16)]].sum(axis=0, dtype=np.float64)
        mean = total / len(rows)
        for start in range(0, len(rows), 1 << 16):
            squares += ((values[rows[start : start + (1 << 16)]] - mean) ** 2).sum(axis=0)
        return mean, np.sqrt(squares / len(rows))

    def cut(self, values: Array, mean: Array, deviation: Array) -> Tensor:
        """[N, K, length] float32, standardised by channel. Beside the result only a few windows are held."""
        result = torch.empty((len(self.starts), values.shape[1], self.length))
        scale = np.maximum(deviation, 1e-6)[:, None]
        for row, start in enumerate(self.starts):
            window = (values[start : start + self.length].T - mean[:, None]) / scale
            result[row] = torch.from_numpy(window)
        return result


def summarised(windows: Tensor) -> Tensor:
    """[N, 4 K]: mean, deviation, minimum and maximum of each channel of windows [N, K, length]; K by K."""
    parts = [windows.mean(2), windows.std(2, correction=0), windows.amin(2), windows.amax(2)]
    return torch.cat(parts, dim=1)
