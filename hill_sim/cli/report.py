"""`hill-sim report`: write a run folder's report again."""

from __future__ import annotations

from hill_sim.cli.arguments import Report
from hill_sim.sweep.folder import read_spec


def main(given: Report) -> int:
    read_spec(given.folder)  # a wrong folder is told before the figures' libraries load

    from hill_sim.report import write_report

    print(write_report(given.folder))
    return 0
