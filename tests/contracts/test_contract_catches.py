"""Each check of the contract fails on a policy that breaks just that rule, and says what is wrong."""

from __future__ import annotations

import random
import time
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from hill_sim.policy import HumanLimits
from hill_sim.testing import PolicyContract, check_policy, example_views
from hill_sim.types import Edit, LatentView, MoveCenter, MovePoint, ScaleClass

ORDINARY = {"ordinary": example_views()["ordinary"]}


def moved(x: float) -> Edit:
    return Edit([MoveCenter(0, (float(x), 0.0))])


class Good:
    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        return moved(rng.random())


class Entropy(Good):
    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        return moved(np.random.default_rng().random())


class Clock(Good):
    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        return moved(time.perf_counter())


class GlobalNumpy(Good):
    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        np.random.rand()  # noqa: NPY002
        return moved(0.0)


class GlobalRandom(Good):
    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        random.random()
        return moved(0.0)


class GlobalTorch(Good):
    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        torch.rand(1)
        return moved(0.0)


class Reseeds(Good):
    """Sets the global generator to a fixed state: the same edit each time, but everybody else's chance is gone."""

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        random.seed(0)
        return moved(random.random())


class Peeks(Good):
    """Reads a global generator and puts it back."""

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        state = random.getstate()
        x = random.random()
        random.setstate(state)
        return moved(x)


class WritesPoints(Good):
    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        if view.points.flags.writeable:
            view.points[0] = 0.0
        return moved(0.0)


class WritesFields(Good):
    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        object.__setattr__(view, "epoch", 0)
        return moved(0.0)


class WritesReadOnly(Good):
    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        view.points[0] = 0.0
        return moved(0.0)


class Counts(Good):
    def __init__(self) -> None:
        self.calls = 0

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        self.calls += 1
        return moved(self.calls > 4)


class Remembers(Good):
    """Keeps what it saw last in the class, so that instances talk to each other."""

    last: ClassVar[int] = 0

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        before, Remembers.last = Remembers.last, int(rng.integers(1000))
        return moved(before)


class Numbered(Good):
    made: ClassVar[int] = 0

    def __init__(self) -> None:
        Numbered.made += 1
        self.number = Numbered.made // 100

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        return moved(self.number)


class ReturnsList(Good):
    def edit(self, view: LatentView, rng: np.random.Generator) -> Any:
        return [MoveCenter(0, (0.0, 0.0))]


class ReturnsNone(Good):
    def edit(self, view: LatentView, rng: np.random.Generator) -> Any:
        return None


class ReturnsNaN(Good):
    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        return moved(float("nan"))


class UnknownClass(Good):
    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        return Edit([MoveCenter(99, (0.0, 0.0))])


class UnknownPoint(Good):
    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        return Edit([MovePoint(len(view.points), (0.0, 0.0))])


class ArrayPosition(Good):
    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        return Edit([MoveCenter(0, np.zeros(2))])  # type: ignore[arg-type]


class TooFar(Good):
    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        return Edit([ScaleClass(0, 1e308), ScaleClass(0, 1e308)])


LEGALITY = [
    (ReturnsList, "returned list, not a hill_sim.types.Edit"),
    (ReturnsNone, "returned None"),
    (ReturnsNaN, "not a pair of finite numbers"),
    (UnknownClass, "class 99 is not in 0..9"),
    (UnknownPoint, "point 100 is not in 0..99"),
    (ArrayPosition, "does not survive JSON"),
    (WritesReadOnly, "raised ValueError: assignment destination is read-only"),
]
GENERATORS = [
    (GlobalNumpy, "uses the global generator of numpy.random"),
    (GlobalRandom, "uses the global generator of random"),
    (GlobalTorch, "uses the global generator of torch"),
    (Reseeds, "uses the global generator of random"),
    (Peeks, "depends on a global generator"),
]
UNTOUCHED = [(WritesPoints, "modified the view: points"), (WritesFields, "modified the view: epoch")]


class Contract(PolicyContract):
    def views(self) -> dict[str, LatentView]:
        return ORDINARY


def contract(made: type) -> PolicyContract:
    return type("ContractOf", (Contract,), {"policy": made})()


@pytest.mark.parametrize("check", [name for name in dir(PolicyContract) if name.startswith("test_")])
def test_good_policy_passes(check: str) -> None:
    getattr(contract(Good), check)()


@pytest.mark.parametrize(("policy", "message"), LEGALITY)
def test_legality(policy: type, message: str) -> None:
    with pytest.raises(AssertionError, match=message) as caught:
        contract(policy).test_legality()
    assert f"policy {policy.__name__} on view 'ordinary'" in str(caught.value)


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid:RuntimeWarning")
def test_legality_of_the_result() -> None:
    with pytest.raises(AssertionError, match="the edited layout is not finite"):
        contract(TooFar).test_legality()


@pytest.mark.parametrize("policy", [Entropy, Clock])
def test_seeding(policy: type) -> None:
    with pytest.raises(AssertionError, match="generator seed 0 gave two different edits"):
        contract(policy).test_seeding()


@pytest.mark.parametrize(("policy", "message"), GENERATORS)
def test_global_generators(policy: type, message: str) -> None:
    before = random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state()  # type: ignore[index,union-attr]  # noqa: NPY002
    with pytest.raises(AssertionError, match=message):
        contract(policy).test_global_generators()
    assert random.getstate() == before[0], "the checker leaves no trace"
    assert np.random.get_state()[1].tobytes() == before[1]  # type: ignore[index,union-attr]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[2])


@pytest.mark.parametrize(("policy", "message"), UNTOUCHED)
def test_view_untouched(policy: type, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        contract(policy).test_view_untouched()


@pytest.mark.parametrize("policy", [Counts, Remembers])
def test_no_state(policy: type) -> None:
    with pytest.raises(AssertionError, match="keeps state"):
        contract(policy).test_no_state()


def test_no_state_between_instances() -> None:
    Numbered.made = 98  # the next instance is the last of the first hundred
    with pytest.raises(AssertionError, match="a new instance gave another edit"):
        contract(Numbered).test_no_state()


def test_awkward_views_are_named() -> None:
    class NeedsTwo(Good):
        def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
            first, _ = view.shown_classes[:2]
            return Edit([MoveCenter(int(first), (0.0, 0.0))])

    with pytest.raises(AssertionError, match="on view 'one class': raised ValueError: not enough values"):
        check_policy(NeedsTwo)


def test_bad_policy_behind_limits_is_named() -> None:
    limits = HumanLimits(strength=0.5)
    with pytest.raises(AssertionError, match="InvalidEdit: policy ReturnsNone: edit"):
        check_policy(limits.wrap(ReturnsNone()), views=ORDINARY)


def test_forgotten_policy_and_misplaced_options() -> None:
    with pytest.raises(AssertionError, match="set `policy`"):
        PolicyContract().test_legality()
    with pytest.raises(AssertionError, match="this policy is made already"):
        check_policy(Good(), {"factor": 1.0})
