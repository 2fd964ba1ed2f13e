"""Inputs for the loss kernels: one set-up for correctness tests, speed and memory benchmarks alike."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Regime = Literal["dense", "mixed", "separated"]


@dataclass(frozen=True)
class Problem:
    """One call's inputs. Shapes: P replicas, B samples, D coordinates, C classes."""

    z: Tensor  # [P, B, D]
    y: Tensor  # [P, B]
    centers: Tensor  # [P, C, D]
    spreads: Tensor  # [P, C]
    margins: Tensor  # [P, C, C]
    touched: Tensor  # [P, C] bool

    def to(self, dtype: torch.dtype, device: str | torch.device = "cpu") -> "Problem":
        """The same problem in another precision or place; labels and masks keep their type."""
        floats = {name: getattr(self, name).to(device, dtype) for name in ("z", "centers", "spreads", "margins")}
        return Problem(y=self.y.to(device), touched=self.touched.to(device), **floats)


def make_problem(
    replicas: int = 1,
    batch: int = 128,
    coordinates: int = 2,
    classes: int = 10,
    *,
    regime: Regime = "dense",
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    offset: float = 0.0,
    scale: float = 1.0,
    seed: int = 0,
) -> Problem:
    """Gaussian classes of unit deviation around class positions, times `scale`, plus `offset`.

    In *dense* the classes lie on each other and nearly every pair is closer than its margin; in *mixed* about half of
    the class pairs are; in *separated* none is.
    """
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=g, dtype=torch.float64)

    typical = (2 * coordinates) ** 0.5  # distance of two samples of one class
    spacing = {"dense": 0.0, "mixed": 1.5, "separated": 1000.0 * classes}[regime]
    positions = spacing * normal(replicas, classes, coordinates)
    if regime == "separated":  # no accident: class k stands at the k-th step of a line
        steps = torch.arange(classes, dtype=torch.float64)
        positions = 100.0 * typical * steps[:, None].expand(replicas, classes, coordinates).clone()
    y = torch.randint(classes, (replicas, batch), generator=g)
    z = positions.gather(1, y[..., None].expand(replicas, batch, coordinates)) + normal(replicas, batch, coordinates)
    half = typical * (0.75 + 0.5 * uniform(replicas, classes, classes))
    return Problem(
        z=scale * z + offset,
        y=y,
        centers=scale * (positions + 0.5 * normal(replicas, classes, coordinates)) + offset,
        spreads=scale * typical * (0.5 + uniform(replicas, classes)),
        margins=scale * (half + half.mT),
        touched=uniform(replicas, classes) < 0.8,
    ).to(dtype, device)
