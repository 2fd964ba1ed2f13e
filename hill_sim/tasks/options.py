"""Checks for task options: each raises an InvalidInput that names the option, what was given, and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from hill_sim.errors import InvalidInput, unknown


def number(option: str, given: Any, low: float, high: float = math.inf, below: bool = False) -> float:
    """`given` as a float in [low, high], or in [low, high) if `below`."""
    ok = isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given)
    if not ok or not low <= given <= high or (below and given == high):
        top = f"{high:g}{')' if below else ']'}" if high < math.inf else "inf)"
        raise InvalidInput(f"task_options.{option}: {given!r} is not a number in [{low:g}, {top}")
    return float(given)


def share(option: str, given: Any) -> float:
    """`given` as a float in (0, 1)."""
    value = number(option, given, 0.0, 1.0, below=True)
    if value == 0.0:
        raise InvalidInput(f"task_options.{option}: {given!r} is not a number in (0, 1)")
    return value


def integer(option: str, given: Any, low: int, high: float = math.inf) -> int:
    """`given`, an integer in low..high."""
    if not isinstance(given, int) or isinstance(given, bool) or not low <= given <= high:
        allowed = f"in {low}..{high:g}" if high < math.inf else f">= {low}"
        raise InvalidInput(f"task_options.{option}: {given!r} is not an integer {allowed}")
    return given


def choice(option: str, given: Any, allowed: Iterable[str]) -> str:
    """`given`, one of the allowed names; an error suggests the nearest."""
    names = tuple(allowed)
    if given not in names:
        raise unknown(f"task_options.{option}", given, names)
    return str(given)


def flag(option: str, given: Any) -> bool:
    """`given`, true or false."""
    if not isinstance(given, bool):
        raise InvalidInput(f"task_options.{option}: {given!r} is not true or false")
    return given


def text(option: str, given: Any) -> str:
    """`given`, a string that is not empty."""
    if not isinstance(given, str) or not given:
        raise InvalidInput(f"task_options.{option}: {given!r} is not a string with something in it")
    return given


def members(option: str, given: Any, allowed: Sequence[Any]) -> tuple[Any, ...]:
    """`given`, a list without repetition of at least one of the allowed values."""
    if isinstance(given, str) or not isinstance(given, Sequence) or not given:
        raise InvalidInput(f"task_options.{option}: {given!r} is not a list of some of {list(allowed)}")
    for value in given:
        if value not in allowed or isinstance(value, bool):
            raise unknown(f"task_options.{option}", value, [str(name) for name in allowed])
    if len(set(given)) < len(given):
        raise InvalidInput(f"task_options.{option}: {list(given)} names something twice")
    return tuple(given)


def disjoint(**lists: Sequence[Any]) -> None:
    """Raise unless no value stands in two of the lists, which are named by their options."""
    seen: dict[Any, str] = {}
    for option, values in lists.items():
        for value in values:
            if value in seen:
                raise InvalidInput(
                    f"task_options.{option}: {value!r} is in {seen[value]} already; it can be in one only"
                )
            seen[value] = option
