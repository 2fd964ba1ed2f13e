"""Names in a trial find what they mean: registered, `module:attr`, or a file of one's own; else with a hint."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from hill_sim import registry
from hill_sim.errors import HillError, InvalidInput


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind, table in registry._TABLES.items() for name in table],
)
def test_every_registered_name_leads_somewhere(kind: str, name: str) -> None:
    assert callable(registry.load(kind, name))


def test_a_module_of_ones_own() -> None:
    assert registry.load("policy", "collections:OrderedDict").__name__ == "OrderedDict"


def write(file: Path, text: str, stamp: int) -> str:
    file.write_text(text)
    os.utime(file, ns=(stamp * 10**9, stamp * 10**9))
    return str(file)


def test_a_file_is_loaded_once_until_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    name = f"{write(file, 'class Mine: value = 1', 1)}:Mine"
    first = registry.load("policy", name)
    assert registry.load("policy", name) is first
    assert sys.modules[first.__module__].Mine is first  # pickle finds it
    write(file, "class Mine: value = 2", 2)
    assert registry.load("policy", name).value == 2


def test_files_of_one_name_in_two_folders_are_two_modules(tmp_path: Path) -> None:
    found = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        found.append(registry.load("policy", f"{write(folder / 'mine.py', f'VALUE = {number}', 1)}:VALUE"))
    assert found == [1, 2]


def test_a_file_that_raises_leaves_nothing_behind(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    before = set(sys.modules)
    with pytest.raises(InvalidInput, match=r"cannot import .*bad\.py: ZeroDivisionError: division by zero"):
        registry.load("policy", f"{write(file, 'VALUE = 1 / 0', 1)}:VALUE")
    assert set(sys.modules) == before
    assert registry.load("policy", f"{write(file, 'VALUE = 3', 2)}:VALUE") == 3


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("policy", "compactnes", r"policy: unknown 'compactnes'; did you mean 'compactness'\? \(allowed: adversary, "),
        ("task", "digit", r"task: unknown 'digit'; did you mean 'digits'\?"),
        ("model", "", "model: '' is not a name"),
        ("model", 3, "model: 3 is not a name"),
        ("policy", "no.such.module:X", r"policy: 'no\.such\.module:X': cannot import no\.such\.module: ModuleNotFound"),
        ("policy", "collections:Nothing", r"collections has no 'Nothing' \(it has: "),
        ("policy", "/no/such/file.py:X", r"policy: no file /no/such/file\.py"),
        ("policy", ":X", "policy: ':X': cannot import"),
        ("policy", "collections:", "collections has no ''"),
    ],
)
def test_what_is_not_there_is_named(kind: str, name: str, message: str) -> None:
    with pytest.raises(HillError, match=message) as caught:
        registry.load(kind, name)
    assert "\n" not in str(caught.value)


def anything_first(*first: object, width: int) -> None: ...


def two_first(shape: object, n: int, /, *more: object, width: int = 3, **others: object) -> None: ...


@pytest.mark.parametrize(("factory", "options"), [(anything_first, {"width": 3}), (two_first, {"depth": 3})])
def test_options_are_what_stands_beside_the_arguments_given(factory: Any, options: dict[str, int]) -> None:
    registry.check_options("model_options of mine", factory, options, given=2)


def test_an_option_that_is_missing_beside_any_arguments() -> None:
    with pytest.raises(InvalidInput, match=r"^model_options of mine: needs the option 'width'$"):
        registry.check_options("model_options of mine", anything_first, {}, given=2)
