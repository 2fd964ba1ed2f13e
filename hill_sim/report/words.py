"""Numbers as a reader meets them: never without an interval, and never without the seeds behind them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

ARROW = " > "
"""What joins the strategies of a sequence."""


def points(value: float, digits: int = 1) -> str:
    """+1.2, −0.4 or ±0: signed percentage points with a true minus sign."""
    if math.isnan(value):
        return "–"
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def effect(row: Any, digits: int = 1) -> str:
    """`+1.2 [+0.4, +1.9]`, `+1.2 [one seed]`, or – where there is no number.

    An end of the interval that rounding would put on 0, and that is not there, is shown with one more digit.
    """
    if math.isnan(row.iqm):
        return "–"
    if math.isnan(row.low):
        return f"{points(row.iqm, digits)} [one seed]"
    return f"{points(row.iqm, digits)} [{_end(row.low, digits)}, {_end(row.high, digits)}]"


def _end(value: float, digits: int) -> str:
    return points(value, digits + (value != 0 and float(f"{value:.{digits}f}") == 0))


def crossing(row: Any) -> str:
    """`0.34 [0.2, 0.5]`: a threshold with its interval; an end past the last alpha tried is `never`."""
    if math.isnan(row.alpha):
        return "–"
    value, low, high = ("never" if math.isinf(v) else f"{v:.2g}" for v in (row.alpha, row.low, row.high))
    return f"{value} [one seed]" if math.isnan(row.low) else f"{value} [{low}, {high}]"


def p_value(p: float) -> str:
    """`0.03`, `< 0.001`, or – where there was no test."""
    return "–" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.2g}" if p < 0.995 else "1"


def in_seeds(row: Any) -> str:
    """`better in 8 of 10 seeds`, or worse, whichever the estimate says."""
    word, count = ("worse", row.worse) if row.iqm < 0 else ("better", row.better)
    return f"{word} in {int(count)} of {count_of(int(row.n), 'seed')}"


def count_of(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def listed(names: Sequence[str], most: int = 6) -> str:
    """`a`, `a and b`, `a, b and c`; the rest counted where there are too many."""
    shown = list(names[:most]) + ([f"{len(names) - most} more"] if len(names) > most else [])
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}" if shown else ""


def short(name: str, most: int = 26) -> str:
    """A name of at most `most` characters; of a sequence of strategies every part is shortened, so that two sequences
    that differ late still look different.

    Example:
        >>> short("compactness > compactness > separation > hold")
        'com… > com… > sep… > hold'
    """
    parts = name.split(ARROW)
    if len(name) > most and len(parts) > 1 and (each := (most - len(ARROW) * (len(parts) - 1)) // len(parts)) > 2:
        return ARROW.join(part if len(part) <= each else part[: each - 1] + "…" for part in parts)
    return name if len(name) <= most else name[: most - 1] + "…"


def alphas(values: Sequence[float]) -> str:
    """`alpha 0.5`, or `alpha 0.1 to 0.9`."""
    if not values:
        return "no alpha"
    low, high = (f"{value:.3g}" for value in (min(values), max(values)))
    return f"alpha {low}" if low == high else f"alpha {low} to {high}"


def duration(seconds: float) -> str:
    """`42 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
