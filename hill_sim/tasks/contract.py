"""Is your task sound? A contract that any task can be put to, with or without pytest.

In a test file:

    from hill_sim.testing import TaskContract

    class TestMine(TaskContract):
        task = "path/to/mine.py:load"
        options = {"noise": 0.2}

or anywhere: `check_task("path/to/mine.py:load", {"noise": 0.2})`. Each check raises an AssertionError that names the
task and what is wrong. What is checked, and why: trials are shared, replayed and compared across processes, so a task
must be the same bits each time; what is measured on the test split means nothing if its samples were trained on.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from hill_sim import registry
from hill_sim.errors import HillError
from hill_sim.tasks.base import Split, Task, load_anew
from hill_sim.trial import OPTIMIZERS, Options


class TaskContract:
    """Subclass as `TestX` and set `task`; pytest then finds the checks. Needs no fixtures.

    Attributes:
        task: a registered name, `module:attr` or `path.py:attr`.
        options: the task's options.
        allowed_repetitions: share in [0,1] of the held-out samples that may be equal to a training sample, bit for
            bit: real data repeat themselves a little; more than that is a leak.
    """

    task: ClassVar[str] = ""
    options: ClassVar[Mapping[str, Any]] = {}
    allowed_repetitions: ClassVar[float] = 0.01

    def test_protocol(self) -> None:
        """Loads, and is what the engine and the reports expect."""
        self._checks().check_protocol()

    def test_recipe(self) -> None:
        """Its recipes can be run as they stand."""
        self._checks().check_recipe()

    def test_same_again(self) -> None:
        """Loaded again it is the same, bit for bit."""
        self._checks().check_same_again()

    def test_global_generators(self) -> None:
        """Neither uses nor advances the global generators of `random`, NumPy and torch."""
        self._checks().check_global_generators()

    def test_no_leak(self) -> None:
        """Held-out samples and groups are not in the training split."""
        self._checks().check_no_leak(self.allowed_repetitions)

    def test_memory(self) -> None:
        """Its tensors hold what they show, and nothing else."""
        self._checks().check_memory()

    def _checks(self) -> _Checks:
        if not self.task:
            raise AssertionError("set `task`: a registered name, module:attr or path.py:attr")
        return _Checks(self.task, Options(self.options))


def check_task(task: str, options: Mapping[str, Any] | None = None, allowed_repetitions: float = 0.01) -> Task:
    """Put a task to all checks of `TaskContract`, and return it.

    Raises:
        AssertionError: the first check that fails, in one message.
        HillError: the data are not there, or damaged.

    Example:
        >>> check_task("digits", {"train_per_class": 20}).n_classes
        10
    """
    checks = _Checks(task, Options(options or {}))
    checks.check_protocol()
    checks.check_recipe()
    checks.check_same_again()
    checks.check_global_generators()
    checks.check_no_leak(allowed_repetitions)
    checks.check_memory()
    return checks.loaded


class _Checks:
    def __init__(self, name: str, options: Options) -> None:
        self.name, self.options = name, options
        self.loaded = load_anew(name, options)

    def fail(self, problem: str) -> AssertionError:
        return AssertionError(f"task {self.name} {dict(self.options)}: {problem}")

    def check_protocol(self) -> None:
        task = self.loaded
        if task.n_classes < 2:
            raise self.fail(f"{task.n_classes} classes; there is nothing to tell apart")
        for field in ("class_names", "source_labels", "group_names"):
            names = getattr(task, field)
            if not isinstance(names, tuple) or not all(isinstance(name, str) and name for name in names):
                raise self.fail(f"{field}: {names!r} is not a tuple of names")
        for part, split in task.splits.items():
            for what, tensor in (("x", split.x), ("y", split.y), ("groups", split.groups)):
                if tensor is not None and (tensor.device.type != "cpu" or tensor.requires_grad):
                    raise self.fail(
                        f"{part}.{what} is on {tensor.device} or wants a gradient; tasks are plain, on the CPU"
                    )
            absent = sorted(set(range(task.n_classes)) - set(split.y.tolist()))
            if absent:
                raise self.fail(
                    f"{part} has no sample of {task.class_names[absent[0]]!r}: its recall cannot be measured"
                )
        if task.card is None:
            raise self.fail("no card: say what the data are, from where, and under which licence (hill_sim.tasks.Card)")
        if bool(task.card.groups) and not task.group_names:
            raise self.fail(f"the card says grouped by {task.card.groups!r}, but there are no groups")

    def check_recipe(self) -> None:
        recipes = (self.loaded.recipe, *self.loaded.other_recipes)
        for recipe in recipes:
            try:
                registry.check("model", recipe.model)
                json.dumps(dict(Options(recipe.model_options)), default=dict)
            except HillError as error:
                raise self.fail(f"recipe: {error}") from None
            if recipe.optimizer not in OPTIMIZERS:
                raise self.fail(f"recipe.optimizer: {recipe.optimizer!r} is not one of {', '.join(OPTIMIZERS)}")
            if not (recipe.batch_size >= 1 and recipe.lr > 0 and recipe.weight_decay >= 0):
                raise self.fail("recipe: batch_size >= 1, lr > 0 and weight_decay >= 0 are allowed")
        models = [recipe.model for recipe in recipes]
        if len(set(models)) < len(models):
            raise self.fail(f"recipes: two for one model (of {', '.join(models)}); give each model one")

    def check_same_again(self) -> None:
        if difference := _difference(self.loaded, load_anew(self.name, self.options)):
            raise self.fail(f"loaded again, {difference} differs: use hill_sim.seeding.generator with a fixed seed")

    def check_global_generators(self) -> None:
        before = random.getstate(), np.random.get_state(legacy=False), torch.get_rng_state()  # noqa: NPY002
        try:
            random.seed(11)
            np.random.seed(11)  # noqa: NPY002 (to see whether the task listens to it)
            torch.manual_seed(11)
            states = _states()
            again = load_anew(self.name, self.options)
            for module, was, now in zip(("random", "numpy.random", "torch"), states, _states(), strict=True):
                if was != now:
                    raise self.fail(f"uses the global generator of {module}")
            if difference := _difference(self.loaded, again):
                raise self.fail(f"{difference} depends on a global generator")
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])  # noqa: NPY002
            torch.set_rng_state(before[2])

    def check_no_leak(self, allowed: float) -> None:
        task = self.loaded
        seen = _row_hashes(task.train)
        for part in ("validation", "test"):
            split = task.splits[part]
            repeated = np.array([row in seen for row in _rows(split)])
            if repeated.mean() > allowed:
                first = int(repeated.argmax())
                share = f"{repeated.sum()} of {len(split)} samples (row {first} is the first)"
                raise self.fail(f"{part}: {share} are training samples, bit for bit; allowed: {allowed:.0%}")
        if task.groups_apart:
            owners = {part: set(_groups(split)) for part, split in task.splits.items()}
            for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
                if both := owners[one] & owners[other]:
                    name = task.group_names[min(both)]
                    raise self.fail(f"groups_apart, but group {name!r} is in {one} and in {other}")

    def check_memory(self) -> None:
        for part, split in self.loaded.splits.items():
            for what, tensor in (("x", split.x), ("y", split.y)):
                held, shown = tensor.untyped_storage().nbytes(), tensor.numel() * tensor.element_size()
                if held > 1.1 * shown + 4096:
                    raise self.fail(f"{part}.{what} shows {shown:,} bytes of {held:,} that it holds: clone() it")
                if not tensor.is_contiguous():
                    raise self.fail(f"{part}.{what} is not contiguous")


def _difference(one: Task, other: Task) -> str:
    """What is not the same in two tasks, or nothing."""
    for field in ("class_names", "source_labels", "group_names", "recipe", "other_recipes", "groups_apart"):
        if getattr(one, field) != getattr(other, field):
            return field
    for part in one.splits:
        for what in ("x", "y", "groups"):
            a, b = getattr(one.splits[part], what), getattr(other.splits[part], what)
            same = a is b or (isinstance(a, Tensor) and isinstance(b, Tensor) and torch.equal(a, b))
            if not same:
                return f"{part}.{what}"
    return ""


def _rows(split: Split) -> list[bytes]:
    rows = split.x.flatten(1).contiguous().numpy()
    return [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows]


def _row_hashes(split: Split) -> frozenset[bytes]:
    return frozenset(_rows(split))


def _groups(split: Split) -> list[int]:
    return [] if split.groups is None else split.groups.tolist()


def _states() -> tuple[Any, Any, Any]:
    state: Any = np.random.get_state()  # noqa: NPY002 (watched, not used)
    return random.getstate(), (state[1].tobytes(), *state[2:]), torch.get_rng_state().numpy().tobytes()
