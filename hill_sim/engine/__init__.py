"""The engine: plan trials as a tree of shared segments, train them in lockstep, compare each with its twin."""

from hill_sim.engine.planning import Plan, plan
from hill_sim.engine.results import Interaction, Outcome, RunSet, TrialResult
from hill_sim.engine.simulation import simulate

__all__ = ["Interaction", "Outcome", "Plan", "RunSet", "TrialResult", "plan", "simulate"]
