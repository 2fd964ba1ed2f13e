"""From the name that stands in a trial to the policy that edits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hill_sim import registry
from hill_sim.errors import InvalidInput
from hill_sim.policy.limits import HumanLimits
from hill_sim.policy.protocol import Policy


def build_policy(
    name: str, options: Mapping[str, Any] | None = None, user: Mapping[str, Any] | HumanLimits | None = None
) -> Policy:
    """The policy of a registered name, of `module:attr` or of `path.py:attr`, within a user's limits.

    Args:
        name: what it names may be a class or function, called with the options, or a ready policy.
        options: the policy's own options, as keyword arguments.
        user: human limits, see `HumanLimits`.

    Raises:
        InvalidInput: an unknown name, option or limit (with the nearest allowed one), a value that is not allowed, or
            an object that is not a policy.

    Example:
        >>> build_policy("compactness", {"factor": 0.25}).factor
        0.25
    """
    if options is not None and not isinstance(options, Mapping):
        raise InvalidInput(f"policy_options: {options!r} is not a mapping")
    limits = HumanLimits.from_options(user)
    named = registry.load("policy", name)
    given = dict(options or {})
    if isinstance(named, type) or (callable(named) and not callable(getattr(named, "edit", None))):
        policy = _call(name, named, given)
    elif given:
        raise InvalidInput(f"policy_options: {name!r} is a ready policy, it takes no option {next(iter(given))!r}")
    else:
        policy = named
    if not callable(getattr(policy, "edit", None)):
        raise InvalidInput(f"policy: {name!r} gives a {type(policy).__name__} without a method edit(view, rng)")
    return limits.wrap(policy, name)


def _call(name: str, factory: Callable[..., Any], options: dict[str, Any]) -> Any:
    registry.check_options(f"policy_options of {name!r}", factory, options)
    try:
        return factory(**options)
    except InvalidInput as error:
        raise InvalidInput(f"policy_options of {name!r}: {error}") from error
    except Exception as error:
        raise InvalidInput(f"policy: {name!r} cannot be made: {type(error).__name__}: {error}") from error
