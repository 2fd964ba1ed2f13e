"""What a task is: labelled tensors in three splits, class names, and the recipe that suits them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from hill_sim import registry
from hill_sim.errors import InvalidInput, unknown
from hill_sim.trial import Options, Trial


@dataclass(frozen=True, eq=False)
class Split:
    """Samples x [N, ...] float32 and labels y [N] int64 in 0..C-1."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Recipe:
    """How the task is usually trained; a trial's own fields take precedence."""

    model: str = "mlp"
    model_options: Mapping[str, Any] = field(default_factory=Options)
    batch_size: int = 64
    optimizer: str = "adam"
    lr: float = 1e-3
    weight_decay: float = 0.0


@dataclass(frozen=True, eq=False)
class Task:
    """A loaded task. Everything in it is fixed by the task's name and options, never by a trial's seed."""

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    recipe: Recipe = Recipe()

    def __post_init__(self) -> None:
        for name in ("train", "validation", "test"):
            split: Split = getattr(self, name)
            where = f"task {self.name}: {name}"
            if len(split) == 0 or len(split.x) != len(split.y):
                raise InvalidInput(f"{where}: {len(split.x)} samples, {len(split.y)} labels; allowed: as many, >= 1")
            if split.y.dtype != torch.int64 or int(split.y.min()) < 0 or int(split.y.max()) >= self.n_classes:
                raise InvalidInput(f"{where}: labels must be int64 in 0..{self.n_classes - 1}")
            if not torch.isfinite(split.x).all():
                raise InvalidInput(f"{where}: a feature is not finite")

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return tuple(self.train.x.shape[1:])


@lru_cache(maxsize=8)
def load_task(name: str, options: Options) -> Task:
    """Load a task by name; tensors are kept for the next caller.

    Raises:
        InvalidInput: unknown task or option, or data that does not fit the protocol.
    """
    loader = registry.load("task", name)
    allowed = [p.name for p in inspect.signature(loader).parameters.values()]
    for option in options:
        if option not in allowed:
            raise unknown(f"task_options of {name}", option, allowed)
    task = loader(**options)
    if not isinstance(task, Task):
        raise InvalidInput(f"task: {name!r} returned {type(task).__name__}, not a hill_sim.tasks.Task")
    return task


def resolve(trial: Trial) -> Trial:
    """The same trial with every default of its task and objective filled in; its `key` is the one results carry."""
    recipe = load_task(trial.task, Options(trial.task_options)).recipe
    defaults = {"batch_size": recipe.batch_size, "optimizer": recipe.optimizer, "lr": recipe.lr}
    defaults["weight_decay"] = recipe.weight_decay
    changes: dict[str, Any] = {name: value for name, value in defaults.items() if getattr(trial, name) is None}
    if trial.model is None:
        changes["model"] = recipe.model
        changes["model_options"] = trial.model_options or recipe.model_options
    if trial.projection is None:
        changes["projection"] = trial.objective_options.projection
    return trial.replace(**changes) if changes else trial
