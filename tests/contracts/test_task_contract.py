"""Every registered task keeps the contract, on miniature files in its real format; the contract catches breaches."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import miniature
import pytest

from hill_sim import registry
from hill_sim.tasks.card import description_of
from hill_sim.testing import TaskContract, check_task


@pytest.fixture(scope="module", autouse=True)
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with miniature.installed(tmp_path_factory.mktemp("data")) as root:
        yield root


@pytest.mark.parametrize("name", registry.TASKS)
def test_registered_tasks(name: str) -> None:
    task = check_task(name, miniature.OPTIONS[name])
    assert task.name == name


@pytest.mark.parametrize("name", registry.TASKS)
def test_registered_tasks_are_described(name: str) -> None:
    found = description_of(registry.load("task", name))
    assert found is not None
    assert found.is_here
    if name not in ("text", "arrays"):
        for field in ("title", "input", "source", "licence", "citation"):
            assert getattr(found.card, field), field


def test_data_that_are_not_there_are_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HILL_SIM_DATA", str(tmp_path))
    here = {name: description_of(registry.load("task", name)).is_here for name in registry.TASKS}  # type: ignore[union-attr]
    assert [name for name, there in here.items() if there] == ["digits", "text", "arrays"]


class TestBySubclass(TaskContract):
    """The way a third party uses it."""

    task = "digits"
    options = {"train_per_class": 20, "label_noise": 0.1}  # noqa: RUF012


MOONS = """
import random
from dataclasses import replace

import numpy as np
import torch

from hill_sim.tasks import Card, Recipe, Split, Task, described

CARD = Card(title="Moons", input="2 numbers")


def make(rng, n=40, groups=None, **fields):
    def split():
        y = torch.arange(n) % 2
        x = torch.from_numpy(rng.normal(size=(n, 2))).float() + y[:, None]
        return Split(x, y, groups)
    return Task("moons", split(), split(), split(), ("upper", "lower"), card=CARD, **fields)


def good():
    return make(np.random.default_rng(0))

calls = []
def other_each_time():
    calls.append(0)
    return make(np.random.default_rng(len(calls)))

def global_numpy():
    return make(np.random)

def advances_torch():
    torch.rand(1)
    return good()

def advances_random():
    random.random()
    return good()

def leaks():
    task = good()
    return replace(task, test=Split(task.train.x[:20].clone(), task.train.y[:20].clone()))

def no_card():
    return replace(good(), card=None)

def absent_class():
    task = good()
    return replace(task, test=Split(task.test.x, torch.zeros_like(task.test.y)))

def groups_shared():
    return make(np.random.default_rng(0), groups=torch.zeros(40, dtype=torch.int64), group_names=("anna",),
                groups_apart=True)

def large_storage():
    task = good()
    return replace(task, test=Split(
        torch.ones(100_000, 2)[:40], task.test.y))

def not_contiguous():
    task = good()
    return replace(task, train=Split(task.train.x.T.contiguous().T, task.train.y))

def wants_gradient():
    task = good()
    return replace(task, train=Split(task.train.x.requires_grad_(), task.train.y))

def unknown_model():
    return replace(good(), recipe=Recipe(model="mpl"))

def unknown_optimizer():
    return replace(good(), recipe=Recipe(optimizer="adm"))

def two_recipes():
    return replace(good(), other_recipes=(Recipe(lr=1e-2),))

def promised_groups():
    return replace(good(), card=replace(CARD, groups="subject"))
"""


@pytest.fixture(scope="module")
def moons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plugin") / "moons.py"
    path.write_text(MOONS)
    return path


def test_a_users_own_task_from_a_file(moons: Path) -> None:
    assert check_task(f"{moons}:good").class_names == ("upper", "lower")


def test_the_example_of_the_documentation(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text()
    [example] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "moons.py").write_text(example)
    assert check_task(f"{tmp_path / 'moons.py'}:load", {"noise": 0.2}).name == "moons"


def test_the_documentation_names_every_task() -> None:
    page = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text()
    assert [name for name in registry.TASKS if f"| `{name}` |" not in page] == []


@pytest.mark.parametrize(
    ("breach", "message"),
    [
        ("other_each_time", "loaded again, train.x differs"),
        ("global_numpy", "loaded again, train.x differs"),
        ("advances_torch", "uses the global generator of torch"),
        ("advances_random", "uses the global generator of random"),
        ("leaks", "test: 20 of 20 samples"),
        ("no_card", "no card"),
        ("absent_class", "test has no sample of 'lower'"),
        ("groups_shared", "group 'anna' is in train and in validation"),
        ("large_storage", "test.x shows 320 bytes of 800,000"),
        ("not_contiguous", "train.x is not contiguous"),
        ("wants_gradient", "train.x is on cpu or wants a gradient"),
        ("unknown_model", "did you mean 'mlp'?"),
        ("unknown_optimizer", "recipe.optimizer: 'adm'"),
        ("two_recipes", "two for one model (of mlp, mlp)"),
        ("promised_groups", "grouped by 'subject', but there are no groups"),
    ],
)
def test_the_contract_catches(moons: Path, breach: str, message: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_task(f"{moons}:{breach}")
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"task {moons}:{breach}")
