"""Convolutional networks for windows of sensor channels: the paper's for PAMAP2, and a smaller sibling."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hill_sim.errors import InvalidInput
from hill_sim.models.layout import channels_last


class PaperCNN1d(nn.Module):
    """HILL's PAMAP2 network (released program): convolutions 32, 64, 128 with kernels 24, 16, 8 and dropout 0.1, the
    maximum over time, a dense layer to the latents (1024) with ReLU, and a linear head.

    The released projection is a small network (1024-256-64-2); ours is linear, as on CIFAR-10.

    Args:
        input_shape: (channels, samples in time), at least 46 samples.
        n_classes: width of the logits.
        latents: width of the latents, >= 1.
        dropout: rate in [0,1).
    """

    def __init__(self, input_shape: Sequence[int], n_classes: int, latents: int = 1024, dropout: float = 0.1) -> None:
        super().__init__()
        channels = _window(input_shape, 46)
        layers: list[nn.Module] = []
        for inputs, outputs, kernel in ((channels, 32, 24), (32, 64, 16), (64, 128, 8)):
            layers += [nn.Conv1d(inputs, outputs, kernel), nn.ReLU(), nn.Dropout(dropout)]
        self.features = nn.Sequential(
            *layers, nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(128, latents), nn.ReLU()
        )
        self.head = nn.Linear(latents, n_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        latents = self.features(x)
        return self.head(latents), latents


class SmallCNN1d(nn.Module):
    """Three convolutions over time with pooling, group norm and ReLU, the maximum over time as latents, a linear head.

    About 24,000 parameters for 27 channels. The convolutions are two-dimensional over windows one sample high, which on
    a CPU takes half the time.

    Args:
        input_shape: (channels, samples in time), at least 16 samples.
        n_classes: width of the logits.
        widths: channels of the three convolutions, multiples of 8; the last is the width of the latents.
    """

    def __init__(self, input_shape: Sequence[int], n_classes: int, widths: Sequence[int] = (16, 32, 64)) -> None:
        super().__init__()
        channels = _window(input_shape, 16)
        if len(widths) != 3 or any(not isinstance(w, int) or w < 8 or w % 8 for w in widths):
            raise InvalidInput(f"model_options.widths: {list(widths)!r} are not three multiples of 8")
        layers: list[nn.Module] = []
        for inputs, outputs, kernel in zip((channels, *widths[:2]), widths, (9, 7, 5), strict=True):
            layers.append(nn.Conv2d(inputs, outputs, (1, kernel), padding=(0, kernel // 2), bias=False))
            layers += [nn.MaxPool2d((1, 2)), nn.GroupNorm(8, outputs), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], n_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        latents = torch.amax(self.features(channels_last(x.unsqueeze(2))), dim=(2, 3))
        return self.head(latents), latents


def _window(input_shape: Sequence[int], shortest: int) -> int:
    if len(input_shape) != 2 or input_shape[1] < shortest:
        raise InvalidInput(
            f"model: samples of shape {list(input_shape)} do not fit, allowed: [channels, time] with time >= {shortest}"
        )
    return int(input_shape[0])
