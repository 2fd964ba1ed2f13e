"""Any module as a model: its latents are read off where they pass by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hill_sim.errors import InvalidInput, unknown


class Tapped(nn.Module):
    """A module that returns logits only, with latents tapped from inside it.

    Args:
        module: forward(x) -> logits [B,C].
        layer: dotted name of the submodule whose *output* is the latents; None takes the *input* of the last
            `nn.Linear`, the penultimate activations. Flattened to [B,H].

    Raises:
        InvalidInput: no such layer, or no linear layer to tap.
    """

    def __init__(self, module: nn.Module, layer: str | None = None) -> None:
        super().__init__()
        self.module = module
        self._latents: Tensor | None = None
        if layer is not None:
            named = dict(module.named_modules())
            if layer not in named or not layer:
                there = ", ".join(filter(None, named))
                raise InvalidInput(f"model_options.latents: no layer {layer!r} (there are: {there})")
            named[layer].register_forward_hook(lambda _module, _inputs, output: self._keep(output))
        else:
            linear = [m for m in module.modules() if isinstance(m, nn.Linear)]
            if not linear:
                raise InvalidInput("model_options.latents: the model has no linear layer, so name the layer to tap")
            linear[-1].register_forward_pre_hook(lambda _module, inputs: self._keep(inputs[0]))

    def _keep(self, latents: Tensor) -> None:
        self._latents = latents.flatten(1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.module(x)
        latents, self._latents = self._latents, None
        if latents is None:
            raise InvalidInput("model_options.latents: the tapped layer did not run in forward")
        return logits, latents


def torchvision_model(name: str, input_shape: Sequence[int], n_classes: int, **options: Any) -> nn.Module:
    """An untrained classifier of torchvision by its own name, e.g. `resnet18`.

    Raises:
        InvalidInput: unknown name (with the nearest), or samples that are not colour images.
    """
    from torchvision import models  # seconds to import, and few need it

    if name not in models.list_models(module=models):
        raise unknown("model: torchvision", name, models.list_models(module=models))
    if len(input_shape) != 3 or input_shape[0] != 3:
        raise InvalidInput(f"model torchvision:{name}: samples of shape {list(input_shape)}, allowed: [3, H, W]")
    module: nn.Module = models.get_model(name, weights=None, num_classes=n_classes, **options)
    return module


def tapped_if_needed(module: nn.Module, layer: str | None, input_shape: Sequence[int]) -> nn.Module:
    """The module itself if its forward returns (logits, latents) already, else `Tapped`."""
    if not isinstance(module, nn.Module):
        raise InvalidInput(f"model: the factory returned {type(module).__name__}, not a torch.nn.Module")
    if layer is None:
        was_training = module.training
        try:
            with torch.no_grad():
                output = module.eval()(torch.zeros(2, *input_shape))
        except Exception as error:
            raise InvalidInput(f"model: forward fails on x {[2, *input_shape]}: {one_line(error)}") from error
        module.train(was_training)
        if not isinstance(output, Tensor):
            return module
    return Tapped(module, layer)


def one_line(error: Exception) -> str:
    """Type and first line of an error."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
