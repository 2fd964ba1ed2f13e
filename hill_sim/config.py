"""YAML files as checked values: unknown and repeated keys are errors, and every error is one line that names the place.

spec = read(Path("experiments/quickstart.yaml"), SweepSpec, overrides=("fixed.epochs=10",))

experiments/quickstart.yaml: fixed.alhpa: unknown; did you mean 'alpha'? (allowed: alpha, batch_size, ...)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from hill_sim.errors import InvalidInput, nearest


class Strict(BaseModel):
    """Base of everything read from YAML: immutable, and a key that is not a field is an error, not a silent default."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, given: Any) -> Any:
        if isinstance(given, Mapping):
            for name in given:
                if name not in cls.model_fields:
                    raise ValueError(f"{name}: {unknown_key(str(name), cls.model_fields)}")
        elif not isinstance(given, cls):
            raise ValueError(f"{_shown(given)} is not a mapping of {', '.join(cls.model_fields)}")
        return given


Model = TypeVar("Model", bound=BaseModel)


def unknown_key(name: str, allowed: Iterable[str]) -> str:
    """`unknown; did you mean 'alpha'? (allowed: alpha, lam, ...)`"""
    return f"unknown{nearest(name, list(allowed))}"


def read(path: Path, model: type[Model], overrides: Sequence[str] = ()) -> Model:
    """The file at `path` as a `model`, after the overrides `a.b=c` have been applied.

    Raises:
        InvalidInput: no such file, no YAML, an unknown or repeated key, a value that is not allowed.
    """
    data = load_yaml(path)
    for override in overrides:
        data = set_value(data, override)
    return validated(model, data, str(path))


def validated(model: type[Model], data: Any, where: str) -> Model:
    """`data` as a `model`; the first thing that is wrong becomes one line beginning with `where`."""
    if not isinstance(data, Mapping):
        given = "empty, and" if data is None else f"{_shown(data)} is"
        raise InvalidInput(f"{where}: {given} not a mapping of {', '.join(model.model_fields)}")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first, *more = error.errors(include_url=False)
        also = f" (and {len(more)} more)" if more else ""
        raise InvalidInput(f"{where}: {_one_line(dict(first))}{also}") from None


def load_yaml(path: Path) -> Any:
    """The file's content, with numbers as a researcher writes them (`1e-3` is a number, `no` a word)."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInput(f"{path}: cannot be read: {reason}") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, where: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = " ".join(part for part in (error.context, error.problem) if part)
        raise InvalidInput(f"{where}: {place}{problem}") from None
    except yaml.YAMLError as error:
        raise InvalidInput(f"{where}: not YAML: {' '.join(str(error).split())}") from None


def dump_yaml(data: Any) -> str:
    """Plain values as YAML that `parse_yaml` reads back to the same values, keys in the order given."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def set_value(data: Any, override: str) -> Any:
    """A copy of `data` with `a.b=c` applied: mappings are made on the way, list items are named by number from 0.

    Raises:
        InvalidInput: no `=`, a place inside something that is no mapping or list, an item that is not there.
    """
    place, equals, text = override.partition("=")
    if not equals or not place.strip():
        raise InvalidInput(f"--set: {override!r} is not of the form a.b=value")
    return _placed(data, place.strip().split("."), parse_yaml(text, f"--set {place.strip()}"), override)


def _placed(data: Any, path: Sequence[str], value: Any, override: str) -> Any:
    if not path:
        return value
    head, *rest = path
    if isinstance(data, list):
        if not head.isdecimal() or int(head) >= len(data):
            raise InvalidInput(f"--set {override}: {head!r} is not an item 0..{len(data) - 1} of the list")
        return [_placed(item, rest, value, override) if i == int(head) else item for i, item in enumerate(data)]
    if data is not None and not isinstance(data, Mapping):
        raise InvalidInput(f"--set {override}: {head!r} cannot be set inside {_shown(data)}, which is not a mapping")
    data = dict(data or {})
    dotted = ".".join(path)  # `grid: {task_options.label_noise: [...]}` is one key
    if dotted in data:
        return {**data, dotted: value}
    return {**data, head: _placed(data.get(head), rest, value, override)}


def _one_line(error: dict[str, Any]) -> str:
    """One pydantic error as `place: what is wrong`."""
    place = ".".join(str(part) for part in error["loc"])
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "missing":
        return f"{place}: missing"
    if error["type"] == "value_error":  # ours: names what was given itself; `name: ...` continues the place
        joint = "." if re.match(r"[\w.]+: ", message) and place else ": " if place else ""
        return f"{place}{joint}{message}"
    allowed = message.removeprefix("Input should be ")
    verdict = f"is not {allowed}" if allowed != message else f"is not allowed: {message}"
    return f"{place}: {_shown(error.get('input'))} {verdict}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2's reading of plain scalars, and repeated keys as errors."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, list | dict):
                raise yaml.constructor.ConstructorError(None, None, "a key is a list or mapping", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Short lists on one line; quotes exactly what `_Loader` would read as something other than the string."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}

    def ignore_aliases(self, data: Any) -> bool:
        return True


_FLOAT = r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan"
for _tag, _pattern, _first in (
    ("null", r"(?:~|null|)", ["~", "n", ""]),
    ("bool", r"(?:true|false)", list("tf")),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", _FLOAT, list("-+.0123456789")),
    ("merge", r"<<", ["<"]),
):
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})\\Z"), _first)


def _represent_list(dumper: yaml.SafeDumper, values: Sequence[Any]) -> yaml.Node:
    short = all(not isinstance(v, list | tuple | Mapping) for v in values)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", list(values), flow_style=short)


def _represent_str(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    # Unicode's own line breaks survive only escaped, which PyYAML does within double quotes and nowhere else.
    style = '"' if any(mark in text for mark in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_str)
_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(tuple, _represent_list)
