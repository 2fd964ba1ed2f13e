"""The engine: plan trials as a tree of shared segments, train them in lockstep, compare each with its twin."""

from hill_sim.engine.attribution_cost import AttributionCost, attribution_cost
from hill_sim.engine.planning import Plan, plan
from hill_sim.engine.results import Interaction, Outcome, RunSet, TrialResult
from hill_sim.engine.simulation import simulate

__all__ = [
    "AttributionCost",
    "Interaction",
    "Outcome",
    "Plan",
    "RunSet",
    "TrialResult",
    "attribution_cost",
    "plan",
    "simulate",
]
