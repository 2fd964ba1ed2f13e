"""A chain of linear layers with ReLU between them: the default for vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from hill_sim.errors import InvalidInput


class MLP(nn.Module):
    """Linear layers of the given hidden widths and ReLU; the last hidden activations [B, H] are the latents.

    Args:
        input_shape: of one sample; it is flattened.
        n_classes: width of the logits.
        hidden: widths of the hidden layers, at least one.
    """

    def __init__(self, input_shape: Sequence[int], n_classes: int, hidden: Sequence[int] = (128, 64)) -> None:
        super().__init__()
        if not isinstance(hidden, Sequence) or not hidden or not all(isinstance(w, int) and w > 0 for w in hidden):
            raise InvalidInput(f"model_options.hidden: {hidden!r} is not a list of widths >= 1")
        widths = [math.prod(input_shape), *hidden, n_classes]
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(widths))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        latents = x.flatten(1)
        for layer in self.layers[:-1]:
            latents = layer(latents).relu()
        return self.layers[-1](latents), latents
