"""Users: what a policy is, how one is built from a name, and the human limits that any of them can have."""

from hill_sim.policy.build import build_policy
from hill_sim.policy.limits import HumanLimits
from hill_sim.policy.protocol import Policy
from hill_sim.policy.run import run_policy

__all__ = ["HumanLimits", "Policy", "build_policy", "run_policy"]
