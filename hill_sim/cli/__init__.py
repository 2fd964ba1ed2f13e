"""The command line. `hill-sim --help` and `hill-sim list` start without torch: each command imports what it needs."""

from hill_sim.cli.main import main

__all__ = ["main"]
