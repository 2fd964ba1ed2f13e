"""Convolutional networks for images: the paper's for CIFAR-10, and a sibling that a laptop can sweep."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from hill_sim.errors import InvalidInput
from hill_sim.models.layout import channels_last


class PaperCNN(nn.Module):
    """HILL's CIFAR-10 network (released program).

    3x3 convolutions of 128, 256, 512, 512 and 256 channels with pooling and dropout 0.3; the latents are the flattened
    last feature maps (4096 for 32 x 32 images); a dense part of 512, 256 and 128 with dropout 0.5.

    Args:
        input_shape: (channels, height, width), height and width multiples of 8.
        n_classes: width of the logits.
        dropout, dense_dropout: rates of the convolutional and of the dense part, in [0,1).
    """

    def __init__(
        self, input_shape: Sequence[int], n_classes: int, dropout: float = 0.3, dense_dropout: float = 0.5
    ) -> None:
        super().__init__()
        channels, height, width = _image(input_shape, 8)

        def conv(inputs: int, outputs: int) -> list[nn.Module]:
            return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]

        pool: list[nn.Module] = [nn.MaxPool2d(2), nn.Dropout(dropout)]
        wide = [*conv(256, 512), *conv(512, 512), *conv(512, 256)]
        self.features = nn.Sequential(*conv(channels, 128), *pool, *conv(128, 256), *pool, *wide, *pool, nn.Flatten())
        widths = [256 * (height // 8) * (width // 8), 512, 256, 128]
        dense: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            dense += [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(dense_dropout)]
        self.head = nn.Sequential(*dense, nn.Linear(widths[-1], n_classes))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        latents = self.features(channels_last(x))
        return self.head(latents), latents


class SmallCNN(nn.Module):
    """3x3 convolutions with pooling (not after the last), group norm and ReLU; the latents are means over the image.

    A linear head; 61,000 parameters at the default widths. Group norm, because batch norm would tie a sample to its
    batch; after the pooling, where it has a quarter of the work.

    Args:
        input_shape: (channels, height, width), or (height, width) of one channel, such as a spectrogram; height and
            width multiples of 2 ** (len(widths) - 1).
        n_classes: width of the logits.
        widths: channels of the convolutions, multiples of 8, at least two; the last is the width of the latents.
    """

    def __init__(self, input_shape: Sequence[int], n_classes: int, widths: Sequence[int] = (16, 32, 64, 64)) -> None:
        super().__init__()
        if not 2 <= len(widths) <= 8 or any(not isinstance(w, int) or w < 8 or w % 8 for w in widths):
            raise InvalidInput(f"model_options.widths: {list(widths)!r} are not 2 to 8 multiples of 8")
        self._one_channel = len(input_shape) == 2
        channels, *_ = _image((1, *input_shape) if self._one_channel else input_shape, 2 ** (len(widths) - 1))
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((channels, *widths)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.MaxPool2d(2)]
            layers += [nn.GroupNorm(8, outputs), nn.ReLU()]
        del layers[-3]  # no pooling after the last
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], n_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        images = x.unsqueeze(1) if self._one_channel else x
        latents = torch.mean(self.features(channels_last(images)), dim=(2, 3))
        return self.head(latents), latents


def _image(input_shape: Sequence[int], multiple: int) -> tuple[int, int, int]:
    if len(input_shape) != 3 or any(size % multiple for size in input_shape[1:]):
        allowed = f"[C, H, W], H and W multiples of {multiple}"
        raise InvalidInput(f"model: samples of shape {list(input_shape)} do not fit, allowed: {allowed}")
    channels, height, width = input_shape
    return channels, height, width
