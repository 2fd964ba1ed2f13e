"""Many trials as one question: written in YAML, run by workers, stored as they end, resumed where they stopped."""

from hill_sim.sweep.expand import Planned, expand
from hill_sim.sweep.folder import load_candidates, load_outcomes, load_results
from hill_sim.sweep.gains import gains
from hill_sim.sweep.run import SweepSummary, run_sweep
from hill_sim.sweep.spec import SweepSpec, read_sweep

__all__ = [
    "Planned",
    "SweepSpec",
    "SweepSummary",
    "expand",
    "gains",
    "load_candidates",
    "load_outcomes",
    "load_results",
    "read_sweep",
    "run_sweep",
]
