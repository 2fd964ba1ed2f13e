"""Arrange: lay the classes out neatly. Our reading: the paper observed six strategies and names three."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hill_sim.policy import options
from hill_sim.policy.geometry import center_moves
from hill_sim.types import Array, Edit, LatentView

SHAPES = ("ring", "grid")


@dataclass(frozen=True)
class Arrange:
    """Moves the class centers onto a regular ring or grid about their mean, keeping their order.

    The figure is anchored to the data, so that a turned view gives a turned figure: the ring takes the centers in the
    order of their angles and turns so that they travel least; the grid follows the principal axes of the centers, whose
    signs are set by the skewness along them, and fills rows along the first axis in the order of the second. Its rms
    radius is `size` times that of the centers. So the edit is equivariant under renamed classes, permuted points and
    moved, turned or scaled views (the ring also under mirrored ones), but for ties: centers at the same place or angle,
    or without a distinct principal axis, are ordered by class number, and figures without any size get radius 1.

    Attributes:
        shape: `ring` or `grid`.
        size: rms radius of the figure relative to that of the centers now, > 0 (at least 0.01).
    """

    shape: str = "ring"
    size: float = 1.0

    def __post_init__(self) -> None:
        options.choice("shape", self.shape, SHAPES)
        options.number("size", self.size, 0.01)

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        shown = view.shown_classes
        if len(shown) < 2:
            return Edit()
        centers = view.centers[shown]
        middle = centers.mean(axis=0)
        offsets = centers - middle
        largest = float(np.abs(offsets).max())
        offsets = offsets / largest if largest > 0 else offsets
        unit = _ring(offsets) if self.shape == "ring" else _grid(offsets)
        radius = self.size * largest * float(np.sqrt((offsets**2).sum(axis=1).mean())) if largest > 0 else self.size
        return Edit(center_moves(shown, middle + radius * unit))


def _ring(offsets: Array) -> Array:
    """[k,2] slots on the unit circle for centers [k,2] about their mean."""
    k = len(offsets)
    angles = np.arctan2(offsets[:, 1], offsets[:, 0])
    rank = np.empty(k, dtype=np.int64)
    rank[np.argsort(angles, kind="stable")] = np.arange(k)
    slots = 2.0 * np.pi * rank / k
    # The turn t that minimises sum |offset_i - (cos, sin)(slot_i + t)|^2 is the angle of sum offset_i e^{-i slot_i}.
    complex_offsets = offsets[:, 0] + 1j * offsets[:, 1]
    turned = slots + np.angle((complex_offsets * np.exp(-1j * slots)).sum())
    return np.stack([np.cos(turned), np.sin(turned)], axis=1)


def _grid(offsets: Array) -> Array:
    """[k,2] slots of a near-square grid with rms radius 1, in the axes of the centers [k,2]."""
    k = len(offsets)
    _, axes = np.linalg.eigh(offsets.T @ offsets)
    along = offsets @ axes  # columns: minor axis, major axis
    skewness = (along**3).sum(axis=0)
    signs = np.where(skewness < 0, -1.0, 1.0)
    along, axes = along * signs, axes * signs
    slots = np.empty((k, 2))
    rows = np.array_split(np.argsort(along[:, 0], kind="stable"), round(np.sqrt(k)))
    for i, row in enumerate(rows):
        slots[row[np.argsort(along[row, 1], kind="stable")], 1] = np.arange(len(row)) - 0.5 * (len(row) - 1)
        slots[row, 0] = i - 0.5 * (len(rows) - 1)
    slots -= slots.mean(axis=0)
    slots /= np.sqrt((slots**2).sum(axis=1).mean())
    return slots @ axes.T
