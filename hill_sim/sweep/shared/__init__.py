"""One sweep, several drivers: what they agree on, who is at what, and what came out, in a PostgreSQL database."""

from hill_sim.sweep.shared.database import Address, Database
from hill_sim.sweep.shared.executor import SharedExecutor
from hill_sim.sweep.shared.sweep import SharedSweep

__all__ = ["Address", "Database", "SharedExecutor", "SharedSweep"]
