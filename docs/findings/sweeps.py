"""The sweeps behind docs/findings.md: `python -m docs.findings.sweeps` runs what is missing of them, and collects.

Each is an experiment at its full budget, or cut as written here. A sweep that was interrupted goes on; one that is done
costs nothing. Data: everything but digits must be below the data root (`hill-sim data list`).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from docs.findings.collect import collect

RUNS = Path("runs/findings")
FULL = ("--budget", "full")
SWEEPS: dict[str, tuple[str, ...]] = {
    "baseline": FULL,
    "alpha_sensitivity": FULL,
    "conflict_stress": FULL,
    "cross_dataset": FULL,
    "trust": FULL,
    "user_variability": FULL,
    "overfitting_stress": FULL,
    "schedule": FULL,
    "alpha_lambda": FULL,
    "strategy_ablation": FULL,
}


def command(experiment: str) -> str:
    """What makes the results of one experiment again."""
    return " ".join(["hill-sim sweep", f"experiments/{experiment}.yaml", *SWEEPS[experiment]])


def main() -> int:
    for name, more in SWEEPS.items():
        given = [f"experiments/{name}.yaml", *more, "--out", str(RUNS / name)]
        if code := subprocess.run([sys.executable, "-m", "hill_sim.cli", "sweep", *given]).returncode:
            return code
    collect([RUNS / name for name in SWEEPS])
    return 0


if __name__ == "__main__":
    sys.exit(main())
