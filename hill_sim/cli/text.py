"""What commands print: plain tables for a terminal, strict JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need; the first is aligned left, the others right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = []
    for row in [header, *rows]:
        cells = [c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f} %"


def points(difference: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    return "-" if math.isnan(difference) else f"{100 * difference:+.1f}"


def strict_json(data: Any) -> str:
    """JSON that every reader accepts: NaN, which means not measured, becomes null."""
    return json.dumps(_strict(data), indent=2)


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _strict(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if hasattr(value, "item"):  # a NumPy scalar from a table
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value
