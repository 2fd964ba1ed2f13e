"""YAML as checked values: what is read, what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hill_sim.config import Strict, dump_yaml, parse_yaml, read, set_value, validated
from hill_sim.errors import InvalidInput


class Inner(Strict):
    lr: float = 0.1
    names: list[str] = []  # noqa: RUF012  (pydantic copies defaults)


class Outer(Strict):
    epochs: int
    inner: Inner = Inner()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("2E5", 2e5),
        (".5", 0.5),
        ("-3.", -3.0),
        ("+7", 7),
        (".inf", float("inf")),
        ("no", "no"),
        ("off", "off"),
        ("true", True),
        ("", None),
        ("null", None),
        ("1:30", "1:30"),
        ("010", "010"),
        ("2020-01-01", "2020-01-01"),
        ("1_000", "1_000"),
    ],
)
def test_scalars_are_read_as_a_researcher_writes_them(text: str, value: Any) -> None:
    read_back = parse_yaml(text, "x")
    assert read_back == value
    assert type(read_back) is type(value)


_scalars = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False) | st.text()
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@example({"\x85": "\u2028"})
@given(_values)
def test_what_is_dumped_reads_back_as_equal(value: Any) -> None:
    again = parse_yaml(dump_yaml(value), "x")
    assert again == value
    assert repr(again) == repr(value)  # True and 1, 1 and 1.0, -0.0 and 0.0 are told apart


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "f.yaml: line 2, column 1: 'a' is given twice"),
        ("a: [1,", "f.yaml: line 1, column 7: while parsing a flow node expected the node content"),
        ("a: *b", "f.yaml: line 1, column 4: found undefined alias 'b'"),
        ("a: !!python/object:os.system 1", "f.yaml: line 1, column 4: could not determine a constructor"),
        ("? [1]\n: 2", "f.yaml: line 1, column 3: a key is a list or mapping"),
        ("\x00", "f.yaml: not YAML: unacceptable character"),
    ],
)
def test_what_is_no_yaml_names_the_place_in_one_line(text: str, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_yaml(text, "f.yaml")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"epochs": 3, "epcohs": 4}, "f.yaml: epcohs: unknown; did you mean 'epochs'? (allowed: epochs, inner)"),
        ({"epochs": 3, "inner": {"lrr": 1.0}}, "f.yaml: inner.lrr: unknown; did you mean 'lr'? (allowed: lr, names)"),
        ({"epochs": 3, "zzz": 1}, "f.yaml: zzz: unknown (allowed: epochs, inner)"),
        ({}, "f.yaml: epochs: missing"),
        ({"epochs": "three"}, "f.yaml: epochs: 'three' is not a valid integer"),
        ({"epochs": True}, "f.yaml: epochs: True is not a valid integer"),
        ({"epochs": 3, "inner": {"lr": "high"}}, "f.yaml: inner.lr: 'high' is not a valid number"),
        ({"epochs": 3, "inner": {"names": ["a", 2]}}, "f.yaml: inner.names.1: 2 is not a valid string"),
        ({"epochs": "x", "inner": {"lr": "y"}}, "f.yaml: epochs: 'x' is not a valid integer (and 1 more)"),
        ([1], "f.yaml: [1] is not a mapping of epochs, inner"),
        (None, "f.yaml: empty, and not a mapping of epochs, inner"),
    ],
)
def test_what_does_not_fit_is_one_line_with_place_given_and_allowed(data: Any, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        validated(Outer, data, "f.yaml")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_read_applies_overrides_in_order(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("epochs: 3\n")
    assert read(path, Outer, ("epochs=4", "inner.lr=1e-2", "epochs=5")) == Outer(epochs=5, inner=Inner(lr=0.01))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"none\.yaml: cannot be read: No such file or directory"):
        read(tmp_path / "none.yaml", Outer)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match=r"binary\.yaml: cannot be read: 'utf-8' codec"):
        read(binary, Outer)


def test_overrides_reach_into_mappings_lists_and_dotted_keys() -> None:
    data = {"users": [{"name": "a"}], "grid": {"task_options.noise": [1]}}
    assert set_value(data, "users.0.name=b") == {**data, "users": [{"name": "b"}]}
    assert set_value(data, "grid.task_options.noise=[2, 3]")["grid"] == {"task_options.noise": [2, 3]}
    assert set_value(data, "fresh.inner=1")["fresh"] == {"inner": 1}
    assert data == {"users": [{"name": "a"}], "grid": {"task_options.noise": [1]}}, "the original stays"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("a", "--set: 'a' is not of the form a.b=value"),
        ("=1", "--set: '=1' is not of the form a.b=value"),
        ("a.b=1", "--set a.b=1: 'b' cannot be set inside 3, which is not a mapping"),
        ("users.1=x", "--set users.1=x: '1' is not an item 0..0 of the list"),
        ("users.first=x", "--set users.first=x: 'first' is not an item 0..0 of the list"),
        ("a=[1", "--set a: line 1, column 3: while parsing a flow sequence"),
    ],
)
def test_overrides_that_fit_nowhere_say_why(override: str, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        set_value({"a": 3, "users": ["u"]}, override)
    assert str(caught.value).startswith(message)
