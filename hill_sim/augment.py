"""What is done to training batches of images: pure functions of (seed, epoch, step), so forks need no generator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from hill_sim.errors import InvalidInput
from hill_sim.seeding import generator

PADDING = 4


def crop_flip(x: Tensor, seeds: Sequence[int], epoch: int, step: int) -> Tensor:
    """Random crop after padding with 4 zeros on each side, and random horizontal flip: the usual for CIFAR-10.

    Args:
        x: [P,B,C,H,W] images, normalised: 0 is the mean colour.
        seeds: of each replica; equal seeds get equal crops and flips.

    Returns:
        A new tensor of the same shape.
    """
    if x.ndim != 5:
        raise InvalidInput(f"augment: crop-flip is for images [C, H, W], not for samples of shape {list(x.shape[2:])}")
    n, height, width = x.shape[1], *x.shape[3:]
    draws = []
    for seed in seeds:
        rng = generator(seed, "augment", epoch, step)
        draws.append((rng.integers(0, 2 * PADDING + 1, size=(2, n)), rng.random(n) < 0.5))
    top, left = (torch.tensor([offsets[axis].tolist() for offsets, _ in draws]) for axis in range(2))
    flip = torch.tensor([flips.tolist() for _, flips in draws]).unsqueeze(-1)
    rows = top.unsqueeze(-1) + torch.arange(height)
    columns = left.unsqueeze(-1) + torch.where(flip, torch.arange(width).flip(0), torch.arange(width))
    padded = F.pad(x, (PADDING,) * 4)
    replica = torch.arange(len(x)).view(-1, 1, 1, 1, 1)
    sample = torch.arange(n).view(1, -1, 1, 1, 1)
    channel = torch.arange(x.shape[2]).view(1, 1, -1, 1, 1)
    place = [
        t.to(x.device) for t in (replica, sample, channel, rows[:, :, None, :, None], columns[:, :, None, None, :])
    ]
    return padded[tuple(place)]
