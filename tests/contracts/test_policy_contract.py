"""Every registered policy keeps the contract, with and without human limits, and so does one from a user's file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hill_sim.registry import POLICIES
from hill_sim.testing import PolicyContract, check_policy, example_views

LIMITS = {
    "perception": 20,
    "motor_noise": 0.1,
    "effort": 5,
    "mistakes": 0.2,
    "skipping": 0.1,
    "strength": 0.8,
    "consistency": 0.7,
}
VARIANTS = [
    ("compactness", {"factor": 0.0}),
    ("separation", {"away_from": "neighbor"}),
    ("arrange", {"shape": "grid"}),
    ("random", {"match": "fix_outliers"}),
    ("random", {"match": "committee", "match_options": {"members": ["compactness", "separation"]}}),
    ("swap", {"which": "random"}),
    ("label_noise", {"share": 1.0, "to": "nearest"}),
    ("flip_flop", {"strategy": "compactness", "strategy_options": {"factor": 0.2}}),
    ("committee", {"aggregate": "turn"}),
    (
        "committee",
        {
            "members": ["fix_outliers", {"policy": "separation", "options": {"factor": 2.0}, "user": LIMITS}, "random"],
            "aggregate": "median",
        },
    ),
]

MINE = """
from __future__ import annotations

from dataclasses import dataclass

from hill_sim.types import Edit, MoveCenter


@dataclass(frozen=True)
class Mine:
    reach: float = 0.5

    def edit(self, view, rng):
        to = view.centers + self.reach * rng.normal(size=view.centers.shape)
        return Edit(MoveCenter(int(c), tuple(to[c].tolist())) for c in view.shown_classes)
"""


VIEWS = example_views()
FEW = {name: VIEWS[name] for name in ("ordinary", "third interaction", "one point", "coincident points")}


@pytest.mark.parametrize("name", POLICIES)
def test_registered_policies(name: str) -> None:
    check_policy(name)


@pytest.mark.parametrize("name", POLICIES)
def test_registered_policies_with_human_limits(name: str) -> None:
    check_policy(name, user=LIMITS, views=FEW)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["compactness", "separation", "fix_outliers"])  # each kind of gesture
def test_human_limits_on_all_views(name: str) -> None:
    check_policy(name, user=LIMITS)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_options_of_registered_policies(name: str, options: dict[str, object]) -> None:
    check_policy(name, options)


@pytest.mark.parametrize("limit", LIMITS)
def test_each_limit_alone(limit: str) -> None:
    check_policy("separation", user={limit: LIMITS[limit]}, views=FEW)


class TestBySubclass(PolicyContract):
    """The way a third party uses it."""

    policy = "committee"
    options = {"members": ("arrange", "adversary")}  # noqa: RUF012
    user = {"motor_noise": 0.05}  # noqa: RUF012


def test_users_own_policy_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    check_policy(f"{tmp_path / 'mine.py'}:Mine", {"reach": 0.1}, user=LIMITS)


@pytest.mark.slow
def test_imports_without_pytest() -> None:
    code = "import sys; sys.modules['pytest'] = None; import hill_sim.testing as t; t.check_policy('hold')"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
