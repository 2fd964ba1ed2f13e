"""hill-sim: simulated users who reshape a classifier's latent space while it trains.

Names load on first use, so that `import hill_sim` and the command line start without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hill_sim.lazy import getter

if TYPE_CHECKING:
    from hill_sim.engine import Plan, RunSet, plan, simulate
    from hill_sim.trial import Trial
    from hill_sim.types import CollapseClass, Edit, LatentView, MoveCenter, MovePoint, ScaleClass

__version__ = "0.1.0"

_HOMES = {
    **dict.fromkeys(("Plan", "RunSet", "plan", "simulate"), "hill_sim.engine"),
    "Trial": "hill_sim.trial",
    **dict.fromkeys(("CollapseClass", "Edit", "LatentView", "MoveCenter", "MovePoint", "ScaleClass"), "hill_sim.types"),
}

__all__ = ["CollapseClass", "Edit", "LatentView", "MoveCenter", "MovePoint", "Plan", "RunSet", "ScaleClass", "Trial",
           "plan", "simulate"]  # fmt: skip

__getattr__ = getter(__name__, _HOMES)
