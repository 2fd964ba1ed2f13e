"""The engine: plan trials as a tree of shared segments, train them in lockstep, compare each with its twin.

Names load on first use: a driver that only stores results needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hill_sim.lazy import getter

if TYPE_CHECKING:
    from hill_sim.engine.cost import AttributionCost, attribution_cost
    from hill_sim.engine.planning import Plan, plan
    from hill_sim.engine.results import Interaction, Outcome, RunSet, TrialResult
    from hill_sim.engine.simulation import simulate

_HOMES = {
    **dict.fromkeys(("AttributionCost", "attribution_cost"), "hill_sim.engine.cost"),
    **dict.fromkeys(("Plan", "plan"), "hill_sim.engine.planning"),
    **dict.fromkeys(("Interaction", "Outcome", "RunSet", "TrialResult"), "hill_sim.engine.results"),
    "simulate": "hill_sim.engine.simulation",
}

__all__ = ["AttributionCost", "Interaction", "Outcome", "Plan", "RunSet", "TrialResult", "attribution_cost", "plan",
           "simulate"]  # fmt: skip

__getattr__ = getter(__name__, _HOMES)
