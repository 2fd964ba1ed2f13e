"""Ask a policy for its edit, and accept only what can be applied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from hill_sim.errors import InvalidEdit
from hill_sim.policy.protocol import Policy
from hill_sim.types import Edit, LatentView


def run_policy(policy: Policy, view: LatentView, rng: np.random.Generator, *, name: str | None = None) -> Edit:
    """The edit of `policy` on `view`, checked: an `Edit` whose gestures fit the view and lead to a finite layout.

    Args:
        name: what to call the policy in messages; by default its class's name, looking through human limits.

    Raises:
        InvalidEdit: anything else came back; the message begins with the policy's name.
        Exception: whatever the policy itself raises passes through.
    """
    edit = policy.edit(view, rng)
    if type(edit) is not Edit:
        what = f"{type(edit).__name__}" if edit is not None else "None (is a `return` missing?)"
        raise InvalidEdit(f"policy {name or name_of(policy)}: edit() returned {what}, not a hill_sim.types.Edit")
    try:
        layout = edit.apply(view)
    except InvalidEdit as error:
        raise InvalidEdit(f"policy {name or name_of(policy)}: {error}") from None
    if not np.isfinite(layout.points).all() or not np.isfinite(layout.spreads).all():
        raise InvalidEdit(f"policy {name or name_of(policy)}: the edited layout is not finite, gestures reach too far")
    return edit


def name_of(policy: Any) -> str:
    """The class's name of a policy; of a limited one, the name of the policy inside."""
    *_, innermost = _inwards(policy)
    return type(innermost).__name__


def _inwards(policy: Any) -> Iterator[Any]:
    while policy is not None:
        yield policy
        policy = policy.policy if isinstance(policy, Limited) else None


@dataclass(frozen=True)
class Limited:
    """Base of the wrappers that stand between a view and the edit of another policy."""

    policy: Policy


@dataclass(frozen=True)
class Checked(Limited):
    """A policy whose edits are checked before a wrapper reads them, so that errors name the policy, not the wrapper."""

    name: str | None = None

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        return run_policy(self.policy, view, rng, name=self.name or name_of(self.policy))
