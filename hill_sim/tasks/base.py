"""What a task is: labelled tensors in three splits, class names, and the recipe that suits them.

A task is added with one file that holds one function, and one line in `hill_sim.registry.TASKS` (or none: trials can
name `path/to/mine.py:load`). The function takes the task's options as keyword arguments and returns a `Task`:

    def load(noise: float = 0.1) -> Task:
        ...
        card = Card(title="Two moons", input="2 numbers", licence="CC0")
        return Task("moons", train, validation, test, ("upper", "lower"), Recipe(model="mlp"), card=card)

`hill_sim.testing.TaskContract` checks it. What comes out must be fixed by name and options: no clock, no global random
generator, no trial's seed.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hill_sim import registry
from hill_sim.errors import InvalidInput
from hill_sim.tasks.card import Card
from hill_sim.tasks.files import data_root, noting_reads, stamps
from hill_sim.trial import TWIN, Options, Trial

_log = logging.getLogger(__name__)

MIN_TRAIN = 2
"""Training samples of a class, at least: one has no spread, and no person can tell a class from it."""


@dataclass(frozen=True, eq=False)
class Split:
    """Samples of one split.

    Attributes:
        x: [N, ...] float32, finite.
        y: [N] int64 in 0..C-1.
        groups: [N] int64 in 0..G-1, whom each sample is from (the task's `group_names`); None if nobody knows.
    """

    x: Tensor
    y: Tensor
    groups: Tensor | None = None

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Recipe:
    """How a model is usually trained on a task; a trial's own fields take precedence.

    Attributes:
        model: the model that this is for; model_options: its options.
        augment: what is done to training batches, e.g. `crop-flip` for images; None is nothing.
    """

    model: str = "mlp"
    model_options: Mapping[str, Any] = field(default_factory=Options)
    batch_size: int = 64
    optimizer: str = "adam"
    lr: float = 1e-3
    weight_decay: float = 0.0
    augment: str | None = None


@dataclass(frozen=True, eq=False)
class Task:
    """A loaded task. Everything in it is fixed by the task's name and options, never by a trial's seed.

    Attributes:
        class_names: what people call the C classes, all different.
        recipe: the default model, and how it is trained.
        other_recipes: for other models that suit the task; a trial that names such a model gets its recipe.
        source_labels: what the data call them, if that is something else: label i is `source_labels[i]` there.
        group_names: what the G groups are called; empty if the splits have no groups.
        groups_apart: True if no group is in two splits, as in leave-subjects-out.
        card: source, licence, citation.

    Raises:
        InvalidInput: splits that do not fit, a label or group out of range, a feature that is not finite, fewer than
            two training samples of a class; the message names split, row and field.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    recipe: Recipe = Recipe()
    other_recipes: tuple[Recipe, ...] = ()
    source_labels: tuple[str, ...] = ()
    group_names: tuple[str, ...] = ()
    groups_apart: bool = False
    card: Card | None = None

    def __post_init__(self) -> None:
        for name in ("class_names", "source_labels", "group_names"):
            names = getattr(self, name)
            if len(set(names)) < len(names):
                raise InvalidInput(f"task {self.name}: {name}: {_repeated(names)!r} stands there twice")
        if self.source_labels and len(self.source_labels) != self.n_classes:
            given = f"{len(self.source_labels)} for {self.n_classes} classes"
            raise InvalidInput(f"task {self.name}: source_labels: {given}; allowed: one per class, or none")
        for name, split in self.splits.items():
            self._check(f"task {self.name}: {name}", split)
        counts = np.bincount(self.train.y.numpy(), minlength=self.n_classes)
        if counts.min() < MIN_TRAIN:
            few = f"class {self.class_names[int(counts.argmin())]!r} has {counts.min()} samples"
            raise InvalidInput(f"task {self.name}: train: {few}; allowed: at least {MIN_TRAIN} of each class")

    def _check(self, where: str, split: Split) -> None:
        if len(split) == 0 or len(split.x) != len(split.y):
            raise InvalidInput(f"{where}: {len(split.x)} samples, {len(split.y)} labels; allowed: as many, >= 1")
        if tuple(split.x.shape[1:]) != self.input_shape:
            given, allowed = list(split.x.shape[1:]), list(self.input_shape)
            raise InvalidInput(f"{where}: samples have shape {given}, those of train {allowed}; allowed: the same")
        if split.x.dtype != torch.float32:
            raise InvalidInput(f"{where}: samples are {split.x.dtype}; allowed: torch.float32")
        _check_ids(f"{where}: labels", split.y, self.n_classes)
        if split.groups is not None:
            if len(split.groups) != len(split):
                raise InvalidInput(f"{where}: {len(split.groups)} groups for {len(split)} samples; allowed: as many")
            _check_ids(f"{where}: groups", split.groups, len(self.group_names))
        elif self.group_names:
            raise InvalidInput(f"{where}: no groups, but the task names {len(self.group_names)}")
        for start in range(0, len(split), 4096):  # in pieces: a mask as large as the data would double the memory
            part = split.x[start : start + 4096]
            if not torch.isfinite(part).all():
                row, *place = (int(i) for i in torch.nonzero(~torch.isfinite(part))[0])
                value = float(part[(row, *place)])
                raise InvalidInput(f"{where}: row {start + row}, feature {place}: {value} is not a finite number")

    @property
    def splits(self) -> dict[str, Split]:
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return tuple(self.train.x.shape[1:])

    @property
    def label_mapping(self) -> dict[str, int]:
        """From the label that stands in the data to 0..C-1."""
        return {label: index for index, label in enumerate(self.source_labels or self.class_names)}

    def recipe_for(self, model: str | None) -> Recipe:
        """The recipe of this model, by default of the task's own; one the task does not know is trained as that is."""
        if model is None:
            return self.recipe
        known = (recipe for recipe in (self.recipe, *self.other_recipes) if recipe.model == model)
        return next(known, None) or replace(self.recipe, model=model, model_options=Options())

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of the SHA-256 of names, shapes and every bit of the tensors: equal data, equal fingerprint."""
        digest = hashlib.sha256(repr((self.class_names, self.group_names)).encode())
        for split in self.splits.values():
            for tensor in (split.x, split.y, split.groups):
                if tensor is not None:
                    digest.update(repr(tuple(tensor.shape)).encode())
                    digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()[:16]


def _check_ids(where: str, ids: Tensor, limit: int) -> None:
    if ids.dtype != torch.int64 or ids.ndim != 1:
        raise InvalidInput(
            f"{where} must be int64 in 0..{limit - 1}, one a sample; given {ids.dtype} {list(ids.shape)}"
        )
    bad = torch.nonzero((ids < 0) | (ids >= limit)).flatten()
    if len(bad):
        raise InvalidInput(f"{where} must be int64 in 0..{limit - 1}; row {int(bad[0])} has {int(ids[bad[0]])}")


def _repeated(names: tuple[str, ...]) -> str:
    return next(name for name in names if names.count(name) > 1)


def load_task(name: str, options: Options) -> Task:
    """Load a task by name; tensors are kept for the next caller, until `forget_changed` finds other files.

    Raises:
        InvalidInput: unknown task or option, or data that does not fit the protocol.
        Unavailable: data that are not there; the message says what to fetch, from where, to which folder.
    """
    return _load(name, options, str(data_root()))


@lru_cache(maxsize=8)
def _load(name: str, options: Options, root: str) -> Task:
    with noting_reads() as paths:
        task = load_anew(name, options)
    file, _, _ = name.rpartition(":")
    _FILES[name, options, root] = stamps(paths | ({Path(file).expanduser()} if file.endswith(".py") else set()))
    return task


_FILES: dict[tuple[str, Options, str], dict[Path, tuple[int, int]]] = {}
"""What the tasks in memory were read from, and what those files were like then."""


def forget_changed() -> None:
    """Let go of tasks in memory if a file that one was read from has changed. `plan` calls it: what is planned is run
    on the data as they are then, and not exchanged on the way."""
    for (name, _, _), files in _FILES.items():
        if changed := [path for path, before in files.items() if stamps([path])[path] != before]:
            _log.warning("task %s: %s has changed, loaded again", name, changed[0])
            _load.cache_clear()
            _FILES.clear()
            return


def fingerprints_of(trials: Iterable[Trial]) -> dict[str, str]:
    """The fingerprint of each task of some trials, by its name and options."""
    tasks = dict.fromkeys((trial.task, Options(trial.task_options)) for trial in trials)
    return {f"{name} {dict(options)}" if options else name: load_task(name, options).fingerprint
            for name, options in tasks}  # fmt: skip


def notes_of(trials: Iterable[Trial]) -> dict[str, str]:
    """What must be known before concluding anything from some trials, by the names of their tasks."""
    tasks = dict.fromkeys((trial.task, Options(trial.task_options)) for trial in trials)
    cards = {name: load_task(name, options).card for name, options in tasks}
    return {name: card.note for name, card in cards.items() if card is not None and card.note}


def load_anew(name: str, options: Mapping[str, Any]) -> Task:
    """As `load_task`, without looking at or keeping tensors in memory."""
    loader = registry.load("task", name)
    if not callable(loader):
        raise InvalidInput(f"task: {name!r} is a {type(loader).__name__}, not a function that returns a Task")
    registry.check_options(f"task_options of {name}", loader, options)
    task = loader(**options)
    if not isinstance(task, Task):
        raise InvalidInput(f"task: {name!r} returned {type(task).__name__}, not a hill_sim.tasks.Task")
    return task


def resolve(trial: Trial) -> Trial:
    """The same trial with every default of its task and objective filled in; its `key` is the one results carry."""
    recipe = load_task(trial.task, Options(trial.task_options)).recipe_for(trial.model)
    defaults: dict[str, Any] = {"model": recipe.model, "batch_size": recipe.batch_size, "optimizer": recipe.optimizer}
    defaults |= {"lr": recipe.lr, "weight_decay": recipe.weight_decay, "augment": recipe.augment or "none"}
    changes = {name: value for name, value in defaults.items() if getattr(trial, name) is None}
    if not trial.model_options and recipe.model_options:
        changes["model_options"] = recipe.model_options
    if trial.projection is None:
        changes["projection"] = trial.objective_options.projection
    trial = trial.replace(**changes) if changes else trial
    return trial.twin() if trial.policy == TWIN else trial  # its alpha, objective and so on mean nothing
