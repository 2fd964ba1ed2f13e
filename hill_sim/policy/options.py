"""Checks for the options of policies: each raises an InvalidInput that names the option, the value and the range."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping
from typing import Any

from hill_sim.errors import InvalidInput, unknown


def number(option: str, given: Any, low: float, high: float = math.inf) -> None:
    """Raise unless `given` is a finite number in [low, high]."""
    ok = isinstance(given, numbers.Real) and not isinstance(given, bool) and math.isfinite(given)
    if not ok or not low <= given <= high:
        allowed = f"a number in [{low:g}, {high:g}]" if high < math.inf else f"a finite number >= {low:g}"
        raise InvalidInput(f"{option}: {given!r} is not {allowed}")


def integer(option: str, given: Any, low: int) -> None:
    """Raise unless `given` is an integer >= low."""
    if not isinstance(given, numbers.Integral) or isinstance(given, bool) or given < low:
        raise InvalidInput(f"{option}: {given!r} is not an integer >= {low}")


def flag(option: str, given: Any) -> None:
    """Raise unless `given` is true or false."""
    if not isinstance(given, bool):
        raise InvalidInput(f"{option}: {given!r} is not true or false")


def choice(option: str, given: Any, allowed: Iterable[str]) -> None:
    """Raise, with the nearest name, unless `given` is one of `allowed`."""
    if given not in (names := tuple(allowed)):
        raise unknown(option, given, names)


def mapping(option: str, given: Any) -> None:
    """Raise unless `given` is a mapping of option names."""
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise InvalidInput(f"{option}: {given!r} is not a mapping of option names to values")
