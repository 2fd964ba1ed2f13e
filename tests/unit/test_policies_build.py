"""From a name to a policy, and from a policy to an edit that can be trusted; each error in one line."""

from __future__ import annotations

import pickle
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hill_sim import registry
from hill_sim.errors import InvalidEdit, InvalidInput
from hill_sim.policy import HumanLimits, Policy, build_policy, run_policy
from hill_sim.testing import example_views
from hill_sim.types import Edit, LatentView, MoveCenter

VIEW = example_views()["ordinary"]

USER_FILE = textwrap.dedent(
    '''
    """A user's own policies."""
    from __future__ import annotations

    from dataclasses import dataclass

    from hill_sim.types import CollapseClass, Edit

    loaded = []


    @dataclass(frozen=True)
    class Mine:
        cls: int = 0

        def edit(self, view, rng):
            return Edit([CollapseClass(self.cls)])


    @dataclass(frozen=True)
    class Needs:
        cls: int

        def edit(self, view, rng):
            return Edit([CollapseClass(self.cls)])


    def make(cls=1):
        return Mine(cls)


    def make_any(**options):
        return Mine(**options)


    def make_nothing():
        return None


    def make_trouble():
        raise RuntimeError("no luck")


    class Raises:
        def edit(self, view, rng):
            raise ZeroDivisionError("as users do")


    ready = Mine(3)
    number = 7
    '''
)


@pytest.fixture
def user_file(tmp_path: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(USER_FILE)
    return str(path)


def collapsed(policy: Policy) -> int:
    [gesture] = run_policy(policy, VIEW, np.random.default_rng(0)).gestures
    return gesture.cls  # type: ignore[union-attr]


@pytest.mark.parametrize("name", registry.POLICIES)
def test_every_registered_policy_builds_pickles_and_names_itself(name: str) -> None:
    policy = build_policy(name)
    assert isinstance(policy, Policy)
    copy = pickle.loads(pickle.dumps(policy))
    assert repr(copy) == repr(policy)
    assert type(policy).__doc__, "the docstring is what `list` and the docs show"


def test_options_become_fields() -> None:
    assert build_policy("compactness", {"factor": 0.25}).factor == 0.25  # type: ignore[attr-defined]


def test_users_own(user_file: str) -> None:
    assert collapsed(build_policy(f"{user_file}:Mine")) == 0
    assert collapsed(build_policy(f"{user_file}:Mine", {"cls": 2})) == 2
    assert collapsed(build_policy(f"{user_file}:make")) == 1
    assert collapsed(build_policy(f"{user_file}:make", {"cls": 4})) == 4
    assert collapsed(build_policy(f"{user_file}:make_any", {"cls": 5})) == 5
    assert collapsed(build_policy(f"{user_file}:ready")) == 3
    assert collapsed(build_policy("hill_sim.strategies.compactness:Compactness", {"factor": 0}, {"effort": 1})) >= 0


def test_users_file_is_loaded_once_until_it_changes(user_file: str) -> None:
    first = registry.load("policy", f"{user_file}:loaded")
    assert registry.load("policy", f"{user_file}:loaded") is first
    policy = build_policy(f"{user_file}:Mine")
    assert pickle.loads(pickle.dumps(policy)) == policy
    Path(user_file).write_text(USER_FILE.replace("cls: int = 0", "cls: int = 8  # changed"))
    assert collapsed(build_policy(f"{user_file}:Mine")) == 8


def test_users_files_of_the_same_name_do_not_mix(tmp_path: Path) -> None:
    for i, folder in enumerate(("a", "b")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(USER_FILE.replace("cls: int = 0", f"cls: int = {i}"))
    assert collapsed(build_policy(f"{tmp_path}/a/mine.py:Mine")) == 0
    assert collapsed(build_policy(f"{tmp_path}/b/mine.py:Mine")) == 1
    assert collapsed(build_policy(f"{tmp_path}/a/mine.py:Mine")) == 0


def test_human_limits_by_mapping_or_object() -> None:
    for user in ({"effort": 2}, HumanLimits(effort=2)):
        assert len(run_policy(build_policy("hold", user=user), VIEW, np.random.default_rng(0))) == 2


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("compactnes", {}, "policy: unknown 'compactnes'; did you mean 'compactness'? (allowed: adversary, "),
        ("", {}, "policy: '' is not a name"),
        ("no_such_module:X", {}, "policy: 'no_such_module:X': cannot import no_such_module: ModuleNotFoundError"),
        ("FILE:Min", {}, "policy: 'FILE:Min': FILE has no 'Min' (it has: "),
        ("/nowhere/mine.py:Mine", {}, "policy: no file /nowhere/mine.py"),
        (
            "compactness",
            {"facto": 1},
            "policy_options of 'compactness': unknown 'facto'; did you mean 'factor'? (allowed: factor)",
        ),
        ("compactness", {"factor": 2}, "policy_options of 'compactness': factor: 2 is not a number in [0, 1]"),
        ("compactness", [0.5], "policy_options: [0.5] is not a mapping"),
        ("hold", {"factor": 1}, "policy_options of 'hold': takes no options, 'factor' was given"),
        ("random", {"matched": 1}, "policy_options of 'random': unknown 'matched'"),
        ("FILE:ready", {"cls": 1}, "policy_options: 'FILE:ready' is a ready policy, it takes no option 'cls'"),
        ("FILE:Needs", {}, "policy_options of 'FILE:Needs': needs the option 'cls'"),
        ("FILE:number", {}, "policy: 'FILE:number' gives a int without a method edit(view, rng)"),
        ("FILE:make_nothing", {}, "policy: 'FILE:make_nothing' gives a NoneType without a method edit(view, rng)"),
        ("FILE:make_trouble", {}, "policy: 'FILE:make_trouble' cannot be made: RuntimeError: no luck"),
    ],
)
def test_bad_names_and_options(user_file: str, name: str, options: Any, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        build_policy(name.replace("FILE", user_file), options)
    text = str(caught.value)
    assert text.startswith(message.replace("FILE", user_file))
    assert "\n" not in text


OUT_OF_RANGE = [
    ("compactness", {"factor": -0.1}),
    ("separation", {"factor": 0.9}),
    ("separation", {"factor": float("inf")}),
    ("separation", {"away_from": "origin"}),
    ("merge_similar", {"pairs": 0}),
    ("merge_similar", {"pull": 1.1}),
    ("merge_distinct", {"pairs": 1.5}),
    ("merge_distinct", {"pull": -0.5}),
    ("resolve_overlap", {"margin": -1}),
    ("resolve_overlap", {"rounds": 0}),
    ("fix_outliers", {"mispredicted": 1}),
    ("fix_outliers", {"far": 0.5}),
    ("fix_outliers", {"pull": "all"}),
    ("arrange", {"shape": "square"}),
    ("arrange", {"size": 0}),
    ("random", {"match": "randon"}),
    ("random", {"match_options": 3}),
    ("random", {"match_options": {"factr": 3}}),
    ("swap", {"pairs": True}),
    ("swap", {"which": "near"}),
    ("flip_flop", {"strategy": "flipflop"}),
    ("flip_flop", {"strategy_options": {"x": 1}}),
    ("switching", {"first": "x"}),
    ("switching", {"second": "x"}),
    ("switching", {"at": -1}),
    ("switching", {"first_options": []}),
    ("switching", {"second_options": {"x": 1}}),
    ("committee", {"aggregate": "max"}),
    ("adversary", {"moves": 0}),
    ("label_noise", {"share": 1.2}),
    ("label_noise", {"to": "far"}),
    ("label_noise", {"pull": -1}),
]


@pytest.mark.parametrize(("name", "options"), OUT_OF_RANGE)
def test_every_option_is_checked(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        build_policy(name, options)
    [given] = options
    problem = str(caught.value).removeprefix(f"policy_options of {name!r}: ")
    assert given in problem or "policy" in problem
    assert "\n" not in problem


class Returns:
    def __init__(self, value: Any) -> None:
        self.value = value

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        return self.value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "edit() returned None (is a `return` missing?), not a hill_sim.types.Edit"),
        ([MoveCenter(0, (0.0, 0.0))], "edit() returned list, not a hill_sim.types.Edit"),
        (Edit([MoveCenter(77, (0.0, 0.0))]), "gesture 1 of 1: class 77 is not in 0..9"),
        (
            Edit([MoveCenter(0, (0.0, float("nan")))]),
            "gesture 1 of 1: position (0.0, nan) is not a pair of finite numbers",
        ),
    ],
)
@pytest.mark.parametrize("user", [{}, {"strength": 0.5, "perception": 50}], ids=["unlimited", "limited"])
def test_run_policy_accepts_only_legal_edits(value: Any, message: str, user: dict[str, Any]) -> None:
    policy = HumanLimits(**user).wrap(Returns(value))
    with pytest.raises(InvalidEdit) as caught:
        run_policy(policy, VIEW, np.random.default_rng(0))
    assert str(caught.value) == f"policy Returns: {message}"


def test_run_policy_uses_the_name_it_is_given() -> None:
    with pytest.raises(InvalidEdit, match=r"policy mine\.py:Mine: edit\(\) returned None"):
        run_policy(Returns(None), VIEW, np.random.default_rng(0), name="mine.py:Mine")


def test_what_a_policy_raises_passes_through(user_file: str) -> None:
    for user in ({}, {"strength": 0.5}):
        with pytest.raises(ZeroDivisionError, match="as users do"):
            run_policy(build_policy(f"{user_file}:Raises", user=user), VIEW, np.random.default_rng(0))
