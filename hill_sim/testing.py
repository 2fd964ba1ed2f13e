"""Is your policy a good citizen? A contract that any policy can be put to, with or without pytest.

(For tasks there is the like: `TaskContract` and `check_task`, see `hill_sim.tasks.contract`.)

In a test file:

    from hill_sim.testing import PolicyContract

    class TestMine(PolicyContract):
        policy = "path/to/mine.py:Mine"
        options = {"factor": 0.5}

or anywhere: `check_policy("path/to/mine.py:Mine", {"factor": 0.5})`. Each check raises an AssertionError that names the
policy, the view and what is wrong. What is checked, and why: the engine forks trials, replays them and runs them in any
company and order, so an edit must be a function of the view and the given generator, and of nothing else.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

from hill_sim.errors import HillError
from hill_sim.policy import HumanLimits, Policy, build_policy, run_policy
from hill_sim.policy.run import name_of
from hill_sim.tasks.contract import TaskContract, check_task
from hill_sim.types import Array, Edit, LatentView, Memory, MoveCenter, ScaleClass

__all__ = ["PolicyContract", "TaskContract", "check_policy", "check_task", "example_views", "random_view"]

SEEDS = (0, 1)


def example_views() -> dict[str, LatentView]:
    """Views by name: an ordinary one, with and without history, and the awkward ones that happen in practice."""
    ordinary = random_view(np.repeat(np.arange(10), 10), 10, wrong=0.15)
    few = random_view(np.repeat(np.arange(4), 6), 4, wrong=0.2)
    return {
        "ordinary": ordinary,
        "second interaction": _continued(ordinary, 1),
        "third interaction": _continued(ordinary, 2),
        "two classes": random_view(np.repeat(np.arange(2), 5), 2, wrong=0.2),
        "all predictions right": random_view(np.repeat(np.arange(4), 6), 4, wrong=0.0),
        "all predictions wrong": random_view(np.repeat(np.arange(4), 6), 4, wrong=1.0),
        "classes that are not shown": random_view(np.repeat([1, 4, 7], 5), 10, wrong=0.3),
        "unequal classes, unsorted": random_view(np.array([2, 0, 2, 2, 1, 2, 0, 2, 2]), 4, wrong=0.3),
        "one point a class": random_view(np.arange(5), 5, wrong=0.2),
        "one class": random_view(np.zeros(6, dtype=np.int64), 1, wrong=0.0),
        "one class of several": random_view(np.full(6, 2), 4, wrong=0.5),
        "one point": random_view(np.array([1]), 3, wrong=0.0),
        "coincident points": _moved(few, lambda p: np.zeros_like(p)),
        "coincident classes": _moved(few, lambda p: np.tile(p[:6], (4, 1))),
        "collapsed classes": _moved(few, lambda p: np.repeat(p[::6], 6, axis=0)),
        "points on a line": _moved(few, lambda p: p * [1.0, 0.0]),
        "tied distances": _moved(few, lambda p: np.repeat([[1.0, 1], [1, -1], [-1, -1], [-1, 1]], 6, axis=0)),
        "a far outlier": _moved(few, lambda p: np.concatenate([p[:-1], [[1e8, -1e8]]])),
        "far from the origin": _moved(few, lambda p: p + 1e6),
        "very small": _moved(few, lambda p: p * 1e-9),
        "very large": _moved(few, lambda p: p * 1e9),
    }


def random_view(labels: Array, n_classes: int, wrong: float = 0.15, seed: int = 0) -> LatentView:
    """A view of normal clusters around normal centers, scaled to rms radius 1.

    Args:
        labels: [n] the classes of the shown points, in 0..n_classes-1.
        wrong: share of the predictions, in [0,1], that are drawn from the other classes.
        seed: of all that is random.
    """
    rng = np.random.default_rng([seed, len(labels), n_classes])
    points = rng.normal(size=(n_classes, 2))[labels] + 0.3 * rng.normal(size=(len(labels), 2))
    points -= points.mean(axis=0)
    points /= max(float(np.sqrt((points**2).sum(axis=1).mean())), 1e-6)
    shift = (rng.random(len(labels)) < wrong) * rng.integers(1, max(n_classes, 2), len(labels))
    return LatentView(
        points=points,
        labels=labels.astype(np.int64),
        predictions=(labels + shift) % n_classes,
        confidences=rng.uniform(1 / n_classes, 1.0, len(labels)),
        sample_ids=rng.permutation(10 * len(labels))[: len(labels)],
        class_names=tuple(f"class {c}" for c in range(n_classes)),
        epoch=25,
        scale=2.5,
        validation_accuracy=0.9,
    )


def _moved(view: LatentView, change: Callable[[Array], Array]) -> LatentView:
    return dataclasses.replace(view, points=change(np.array(view.points)))


def _continued(view: LatentView, interactions: int) -> LatentView:
    first, second = (int(c) for c in view.shown_classes[:2])
    edits = (Edit([MoveCenter(first, (1.0, -0.5))]), Edit([ScaleClass(second, 0.5), MoveCenter(first, (0.0, 0.0))]))
    history = tuple(
        Memory(25 + 5 * i, edit, edit.apply(view), 0.9 + 0.01 * i) for i, edit in enumerate(edits[:interactions])
    )
    return dataclasses.replace(view, epoch=25 + 5 * interactions, history=history)


class PolicyContract:
    """Subclass as `TestX` and set `policy`; pytest then finds the checks. Needs no fixtures.

    Attributes:
        policy: a registered name, `module:attr`, `path.py:attr`, a class (or a function that makes a policy), or a
            policy.
        options: the policy's options.
        user: human limits.
    """

    policy: ClassVar[Any] = None
    options: ClassVar[Mapping[str, Any]] = {}
    user: ClassVar[Mapping[str, Any]] = {}

    def views(self) -> dict[str, LatentView]:
        """The views to check on; extend or replace as needed."""
        return example_views()

    def test_legality(self) -> None:
        """Returns an `Edit` that applies to the view, is finite and survives JSON."""
        for case in self._cases():
            case.check_legality()

    def test_seeding(self) -> None:
        """The same generator seed gives the same edit, bit for bit."""
        for case in self._cases():
            case.check_seeding()

    def test_global_generators(self) -> None:
        """Neither uses nor advances the global generators of `random`, NumPy and torch."""
        for case in self._cases():
            case.check_global_generators()

    def test_view_untouched(self) -> None:
        """Does not modify the view."""
        for case in self._cases():
            case.check_view_untouched()

    def test_no_state(self) -> None:
        """What was asked before does not matter: no state is kept between calls or shared between instances."""
        for case in self._cases():
            case.check_no_state()

    def _cases(self) -> Iterator[_Case]:
        make = _maker(self.policy, dict(self.options), HumanLimits.from_options(self.user))
        for name, view in self.views().items():
            yield _Case(make, name, view)


def check_policy(
    policy: Any,
    options: Mapping[str, Any] | None = None,
    user: Mapping[str, Any] | None = None,
    views: Mapping[str, LatentView] | None = None,
) -> None:
    """Put a policy to all checks of `PolicyContract`.

    Args:
        policy, options, user: as the attributes of `PolicyContract`.
        views: views by name; by default `example_views()`.

    Raises:
        AssertionError: the first check that fails, in one message.

    Example:
        >>> check_policy("compactness", {"factor": 0.3}, user={"effort": 3})
    """
    make = _maker(policy, dict(options or {}), HumanLimits.from_options(user))
    for name, view in (example_views() if views is None else views).items():
        case = _Case(make, name, view)
        case.check_legality()
        case.check_seeding()
        case.check_global_generators()
        case.check_view_untouched()
        case.check_no_state()


def _maker(policy: Any, options: dict[str, Any], limits: HumanLimits) -> Callable[[], Policy]:
    """A function that makes a fresh policy each time."""
    if policy is None:
        raise AssertionError("set `policy`: a name, a class, or a policy")
    if isinstance(policy, str):
        return lambda: build_policy(policy, options, limits)
    if isinstance(policy, type) or not callable(getattr(policy, "edit", None)):
        return lambda: limits.wrap(policy(**options))
    if options:
        raise AssertionError("`options` are for a name or a class; this policy is made already")
    return lambda: limits.wrap(copy.deepcopy(policy))


@dataclasses.dataclass(frozen=True)
class _Case:
    """A policy on one view."""

    make: Callable[[], Policy]
    view_name: str
    view: LatentView

    def fail(self, policy: Any, problem: str) -> AssertionError:
        return AssertionError(f"policy {name_of(policy)} on view {self.view_name!r}: {problem}")

    def ask(self, policy: Policy, seed: int, view: LatentView | None = None) -> Edit:
        """The edit; an exception of the policy becomes a failure that names the view."""
        try:
            return policy.edit(self.view if view is None else view, np.random.default_rng(seed))
        except Exception as error:
            raise self.fail(policy, f"raised {type(error).__name__}: {error}") from error

    def check_legality(self) -> None:
        for seed in SEEDS:
            policy = self.make()
            edit = self.ask(policy, seed)
            try:
                run_policy(_Given(edit), self.view, np.random.default_rng(seed))
            except HillError as error:
                raise self.fail(policy, f"not legal: {str(error).removeprefix('policy _Given: ')}") from error
            try:
                returned = Edit.from_json(json.loads(json.dumps(edit.to_json(), allow_nan=False)))
                same = bool(returned == edit)
            except (TypeError, ValueError) as error:
                raise self.fail(policy, f"the edit does not survive JSON: {error}") from error
            if not same:
                raise self.fail(policy, f"the edit comes back from JSON as another one: {edit} became {returned}")

    def check_seeding(self) -> None:
        for seed in SEEDS:
            policy = self.make()
            first, second = self.ask(policy, seed), self.ask(self.make(), seed)
            if _bits(first) != _bits(second):
                raise self.fail(policy, f"generator seed {seed} gave two different edits, {first} and {second}")

    def check_global_generators(self) -> None:
        for seed in SEEDS:
            policy = self.make()
            edits = []
            with _global_generators_kept():
                for state in (11, 12):  # two states of the global generators, in which it must do the same
                    _seed_global_generators(state)
                    before = _global_states()
                    edits.append(self.ask(policy, seed))
                    for module, was, now in zip(
                        ("random", "numpy.random", "torch"), before, _global_states(), strict=True
                    ):
                        if was != now:
                            raise self.fail(
                                policy, f"uses the global generator of {module} instead of the `rng` it is given"
                            )
            if _bits(edits[0]) != _bits(edits[1]):
                raise self.fail(policy, "the edit depends on a global generator instead of the `rng` it is given")

    def check_view_untouched(self) -> None:
        for seed in SEEDS:
            policy, view = self.make(), copy.deepcopy(self.view)
            before = _contents(view)
            self.ask(policy, seed, view)
            if changed := [name for name, content in _contents(view).items() if before.get(name) != content]:
                raise self.fail(policy, f"modified the view: {', '.join(changed)}")

    def check_no_state(self) -> None:
        policy = self.make()
        other = self.view if self.view_name == "ordinary" else example_views()["ordinary"]
        first = {seed: _bits(self.ask(policy, seed)) for seed in SEEDS}
        for _ in range(2):  # asked other things in between, and in another order
            self.ask(policy, 99, other)
            for seed in reversed(SEEDS):
                if _bits(self.ask(policy, seed)) != first[seed]:
                    raise self.fail(
                        policy, f"keeps state: asked again with generator seed {seed}, it gave another edit"
                    )
        for made, what in ((copy.deepcopy(policy), "a copy of it"), (self.make(), "a new instance")):
            for seed in SEEDS:
                if _bits(self.ask(made, seed)) != first[seed]:
                    raise self.fail(policy, f"keeps state: {what} gave another edit for generator seed {seed}")


@dataclasses.dataclass(frozen=True)
class _Given:
    """The policy that makes a given edit: lets `run_policy` judge an edit that was made already."""

    given: Any

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        return self.given


def _bits(edit: Any) -> str:
    """Equal only for edits that are equal in every bit (repr of a float is exact; -0.0 differs from 0.0)."""
    return repr(edit)


def _contents(view: LatentView) -> dict[str, Any]:
    arrays = {k: (v.dtype.str, v.shape, v.tobytes()) for k, v in vars(view).items() if isinstance(v, np.ndarray)}
    rest = {k: repr(v) for k, v in vars(view).items() if k not in arrays and k != "history"}
    return {**arrays, **rest, "history": json.dumps([memory.to_json() for memory in view.history])}


def _global_states() -> tuple[Any, Any, Any]:
    import torch

    numpy_state: Any = np.random.get_state()  # noqa: NPY002 (watched, not used)
    return random.getstate(), (numpy_state[1].tobytes(), *numpy_state[2:]), torch.get_rng_state().numpy().tobytes()


def _seed_global_generators(seed: int) -> None:
    import torch

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (to see whether a policy listens to it)
    torch.manual_seed(seed)


@contextmanager
def _global_generators_kept() -> Iterator[None]:
    import torch

    before = random.getstate(), np.random.get_state(legacy=False), torch.get_rng_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        torch.set_rng_state(before[2])
