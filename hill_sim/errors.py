"""What can go wrong through no bug of ours. Everything here prints as one clear line, without a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class HillError(Exception):
    """Base of every error that a user can cause and mend."""


class InvalidInput(HillError, ValueError):
    """A value that is not allowed. The message names the field, what was given and what is allowed."""


class InvalidEdit(InvalidInput):
    """A policy's edit that does not fit the view: unknown class or point, not finite, not an `Edit`."""


class Unavailable(HillError, RuntimeError):
    """An explicit request that this installation cannot meet; the message says why and what would."""


def unknown(field: str, given: object, names: Iterable[str]) -> InvalidInput:
    """The error for a name that is not among `names`, with the nearest name suggested."""
    return InvalidInput(f"{field}: unknown {given!r}{nearest(given, sorted(names))}")


def nearest(given: object, names: Sequence[str]) -> str:
    """What follows `unknown`: `; did you mean 'alpha'? (allowed: alpha, lam, ...)`"""
    near = difflib.get_close_matches(str(given), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{hint} (allowed: {', '.join(names)})" if names else f"{hint} (there are none)"
