"""The report of a run: one self-contained HTML page, its figures, and the leaderboard for the terminal.

Names load on first use, so that a leaderboard in the terminal does not wait for matplotlib.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hill_sim.report.leaderboard import leaderboard_text
    from hill_sim.report.write import write_report, write_report_from

_HOMES = {
    "leaderboard_text": "hill_sim.report.leaderboard",
    "write_report": "hill_sim.report.write",
    "write_report_from": "hill_sim.report.write",
}

__all__ = ["leaderboard_text", "write_report", "write_report_from"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hill_sim.report' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
