"""Build a model for a task, and check that it honours the protocol: forward(x) -> (logits [B,C], latents [B,H])."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from hill_sim import registry
from hill_sim.errors import HillError, InvalidInput
from hill_sim.models.tapped import one_line, tapped_if_needed, torchvision_model
from hill_sim.seeding import torch_seed
from hill_sim.tasks import Task
from hill_sim.trial import Trial, plain


def build_model(trial: Trial, task: Task) -> nn.Module:
    """The trial's model with its initial weights, a pure function of the trial's seed.

    `trial.model` is a registered name, `torchvision:NAME`, or a user's factory (`module:attr`, `path.py:attr`), called
    as `factory(input_shape, n_classes, **model_options)`. A module that returns logits only has its latents tapped: the
    output of the layer named by the option `latents`, else the input of its last linear layer.

    Raises:
        InvalidInput: unknown model or option, logits whose width is not the number of classes, latents of wrong rank.
    """
    assert trial.model is not None
    options = dict(plain(trial.model_options))
    kind, _, name = trial.model.partition(":")
    registered = trial.model in registry.MODELS
    layer = None if registered else options.pop("latents", None)
    if kind == "torchvision" and name:
        factory = partial(torchvision_model, name)
    else:
        factory = registry.load("model", trial.model)
        registry.check_options(f"model_options of {trial.model}", factory, options, given=2)
    try:
        with torch_seed(trial.seed, "init"):
            model = factory(task.input_shape, task.n_classes, **options)
    except HillError:
        raise
    except TypeError as error:
        raise InvalidInput(f"model_options of {trial.model}: {error}") from error
    except Exception as error:
        raise InvalidInput(f"model {trial.model}: cannot be made: {one_line(error)}") from error
    return model if registered else tapped_if_needed(model, layer, task.input_shape)


def activation_floats(model: nn.Module, task: Task) -> int:
    """Floats that a forward pass keeps of each sample for the backward pass, dropout left out."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    x = task.train.x[:2].clone().to(next(model.parameters()).dtype)
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model.eval()(x)  # alive until the sum: freed storage would be counted once for two tensors
        total = sum(kept.values())
        del output
    return total // (4 * len(x))


def latent_width(model: nn.Module, task: Task, name: str) -> int:
    """H, after checking on two samples what the model returns, and that a user can reach it.

    Raises:
        InvalidInput: no parameters or frozen ones, outputs of wrong kind or shape, latents that the logits are not
            computed from (then nobody could say how loud a user is against the data).
    """
    named = list(model.named_parameters())
    if not named:
        raise InvalidInput(f"model {name}: it has no parameters to train")
    frozen = next((parameter for parameter, p in named if not p.requires_grad), None)
    if frozen is not None:
        raise InvalidInput(f"model {name}: parameter {frozen} requires no gradient, allowed: all are trained")
    x = task.train.x[:2].to(named[0][1].dtype)
    try:
        with torch.enable_grad():
            output = model.eval()(x)
    except HillError:
        raise
    except Exception as error:
        raise InvalidInput(f"model {name}: forward fails on x {list(x.shape)}: {one_line(error)}") from error
    if not isinstance(output, tuple) or len(output) != 2:
        raise InvalidInput(f"model {name}: forward returned {type(output).__name__}, allowed: (logits, latents)")
    logits, latents = output
    rows = min(2, len(task.train))
    if not isinstance(logits, torch.Tensor) or tuple(logits.shape) != (rows, task.n_classes):
        given = tuple(logits.shape) if isinstance(logits, torch.Tensor) else f"type {type(logits).__name__}"
        raise InvalidInput(f"model {name}: logits have shape {given}, allowed: [B, {task.n_classes}]")
    if not isinstance(latents, torch.Tensor) or latents.ndim != 2 or len(latents) != rows:
        given = tuple(latents.shape) if isinstance(latents, torch.Tensor) else f"type {type(latents).__name__}"
        raise InvalidInput(f"model {name}: latents have shape {given}, allowed: [B, H]")
    ones = torch.ones_like(logits)
    if not latents.requires_grad or torch.autograd.grad(logits, latents, ones, allow_unused=True)[0] is None:
        raise InvalidInput(f"model {name}: its logits are not computed from the latents that forward returns")
    return int(latents.shape[1])
