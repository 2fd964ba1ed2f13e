"""What is done to training batches of images: pure functions of (seed, epoch, step), so forks need no generator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
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
    offsets, flips = [], []
    for seed in seeds:
        rng = generator(seed, "augment", epoch, step)
        offsets.append(rng.integers(0, 2 * PADDING + 1, size=(2, n)))
        flips.append(rng.random(n) < 0.5)
    top, left = torch.from_numpy(np.stack(offsets, axis=1)).to(x.device)
    crops = F.pad(x, (PADDING,) * 4).unfold(3, height, 1).unfold(4, width, 1)  # [P,B,C,9,9,H,W], a view
    replica, sample = torch.arange(len(x), device=x.device)[:, None], torch.arange(n, device=x.device)
    cropped = crops.permute(0, 1, 3, 4, 2, 5, 6)[replica, sample, top, left]
    flip = torch.from_numpy(np.stack(flips)).to(x.device)[:, :, None, None, None]
    return torch.where(flip, cropped.flip(-1), cropped)
