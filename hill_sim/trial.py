"""`Trial`: one training with one user, as a frozen, hashable, JSON-serialisable value."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any

from hill_sim import registry
from hill_sim.errors import InvalidInput, unknown
from hill_sim.presets import PROJECTIONS, ObjectiveOptions, objective_options
from hill_sim.trust import Trust, trust_rule

TWIN = "ce_only"
CE_SCALED = "ce_scaled"
OPTIMIZERS = ("adam", "adamw", "sgd")
AUGMENTATIONS = ("none", "crop-flip")
VIEW_SOURCES = ("train", "validation")
LATER = {"later": True}
"""Metadata of a field that `Trial` did not always have: at its default it is left out of `Trial.key`, so that the keys
of stored results stay what they were."""


class Options(Mapping[str, Any]):
    """An immutable, hashable mapping of JSON values; nested mappings and lists become `Options` and tuples."""

    __slots__ = ("_hash", "_items")

    def __init__(self, given: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        items = {**(given or {}), **more}
        for name in items:
            if not isinstance(name, str):
                raise InvalidInput(f"option name {name!r} is not a string")
        self._items = {name: _freeze(items[name], name) for name in sorted(items)}
        self._hash = hash(tuple(self._items.items()))

    def __getitem__(self, name: str) -> Any:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return repr(plain(self))


def _freeze(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return Options(value)
    if isinstance(value, list | tuple):
        return tuple(_freeze(item, name) for item in value)
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a NumPy scalar from somebody's linspace
        value = value.item()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise InvalidInput(f"option {name}: {value!r} is not a finite number, string, boolean, list or mapping of such")


def plain(value: Any) -> Any:
    """The JSON form: `Options` as dict, tuples as lists."""
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value


@dataclass(frozen=True)
class Trial:
    """One training with one user. Everything that its outcome depends on, and nothing else.

    Attributes:
        task: a registered task (`hill-sim list tasks`) or `module:attr` / `path.py:attr`.
        task_options: the task's own, e.g. `{"train_per_class": 20, "label_noise": 0.1}`.
        model, model_options: a registered model and its options; None is the task's default model.
        policy: a registered policy, `module:attr` or `path.py:attr`; or a sequence of such, one per interaction.
        policy_options: the policy's own; for a sequence of policies a sequence of mappings, or none.
        user: human limits (`hill_sim.policy.HumanLimits`), e.g. `{"motor_noise": 0.1, "effort": 5}`.
        view: `{"source": "train" | "validation", "per_class": 10}`, the points a user is shown; per_class 0 is all.
        objective: a preset (`hill`, `paper`, `hill-samples`) or `{"preset": ..., option: value}`.
        alpha: weight of the human, in [0,1] ([0,1) under additive mixing).
        lam: weight of the scale term, >= 0.
        interactions: epochs after which the user edits, strictly ascending, in 1..epochs-1.
        epochs: length of the training, >= 1.
        batch_size, optimizer, lr, weight_decay, augment: the recipe; None is the task's default. `augment` is what is
            done to training batches: `none` or `crop-flip`.
        projection: `first-epoch`, `random`, `pca` or `lda`; None is the objective's default.
        seed: of initialisation, data order, display and user; >= 0.
        trust: a rule of `hill_sim.trust` or `{"rule": ..., option: value}`: how the human weight changes as it trains.

    Example:
        >>> trial = Trial(task="digits", policy="compactness", alpha=0.5, seed=1)
        >>> Trial.from_json(trial.to_json()) == trial
        True
    """

    task: str = "digits"
    task_options: Mapping[str, Any] = Options()
    model: str | None = None
    model_options: Mapping[str, Any] = Options()
    policy: str | Sequence[str] = "compactness"
    policy_options: Mapping[str, Any] | Sequence[Mapping[str, Any]] = Options()
    user: Mapping[str, Any] = Options()
    view: Mapping[str, Any] = Options()
    objective: str | Mapping[str, Any] = "hill"
    alpha: float = 0.5
    lam: float = 0.1
    interactions: Sequence[int] = (25, 30, 35, 40)
    epochs: int = 45
    batch_size: int | None = None
    optimizer: str | None = None
    lr: float | None = None
    weight_decay: float | None = None
    augment: str | None = None
    projection: str | None = None
    seed: int = 0
    trust: str | Mapping[str, Any] = field(default="fixed", metadata=LATER)

    def __post_init__(self) -> None:
        for name in ("task_options", "model_options", "user", "view"):
            object.__setattr__(self, name, _options(name, getattr(self, name)))
        _check_policy(self)
        registry.check("task", self.task)
        if self.model is not None:
            registry.check("model", self.model)
        if not isinstance(self.objective, str):
            object.__setattr__(self, "objective", _options("objective", self.objective))
        _ = self.objective_options  # raises for an unknown preset or option
        if not isinstance(self.trust, str):
            object.__setattr__(self, "trust", _options("trust", self.trust))
        _ = self.trust_rule
        object.__setattr__(self, "alpha", _number("alpha", self.alpha, 0.0, 1.0))
        object.__setattr__(self, "lam", _number("lam", self.lam, 0.0))
        if self.alpha == 1.0 and self.objective_options.mixing == "additive":
            raise InvalidInput("alpha: 1.0 is not below 1, and additive mixing weighs the human by alpha / (1 - alpha)")
        _integer("epochs", self.epochs, 1)
        _integer("seed", self.seed, 0)
        object.__setattr__(self, "interactions", _interactions(self.interactions, self.epochs))
        if isinstance(self.policy, tuple) and len(self.policy) != len(self.interactions):
            given = f"{len(self.policy)} policies for {len(self.interactions)} interactions {list(self.interactions)}"
            raise InvalidInput(f"policy: {given}; a sequence names one policy per interaction")
        if self.batch_size is not None:
            _integer("batch_size", self.batch_size, 1)
        if self.lr is not None:
            object.__setattr__(self, "lr", _number("lr", self.lr, 0.0, exclusive=True))
        if self.weight_decay is not None:
            object.__setattr__(self, "weight_decay", _number("weight_decay", self.weight_decay, 0.0))
        if self.optimizer is not None and self.optimizer not in OPTIMIZERS:
            raise unknown("optimizer", self.optimizer, OPTIMIZERS)
        if self.augment is not None and self.augment not in AUGMENTATIONS:
            raise unknown("augment", self.augment, AUGMENTATIONS)
        if self.projection is not None and self.projection not in PROJECTIONS:
            raise unknown("projection", self.projection, PROJECTIONS)
        _check_view(self.view)

    @cached_property
    def objective_options(self) -> ObjectiveOptions:
        return objective_options(self.objective)

    @cached_property
    def trust_rule(self) -> Trust:
        return _trust_rule(self.trust)

    @property
    def is_twin(self) -> bool:
        """True if no edit and no human term can ever reach the model."""
        return self.policy == TWIN or not self.interactions

    @property
    def policy_name(self) -> str:
        """The policy as one label; a sequence is joined by arrows."""
        return self.policy if isinstance(self.policy, str) else " > ".join(self.policy)

    def policy_at(self, interaction: int) -> tuple[str, Options]:
        """Name and options of the policy that edits at the interaction of this index, from 0."""
        name = self.policy if isinstance(self.policy, str) else self.policy[interaction]
        options = self.policy_options
        return name, options if isinstance(options, Options) else options[interaction]  # type: ignore[index,return-value]

    def twin(self) -> Trial:
        """The same trial without edits: same data, model, recipe and seed, cross-entropy alone."""
        return dataclasses.replace(
            self,
            policy=TWIN,
            policy_options=Options(),
            user=Options(),
            view=Options(),
            objective="hill",
            alpha=0.0,
            lam=0.0,
            interactions=(),
            trust="fixed",
            projection="first-epoch",  # fixed, although unused: a resolved twin must have the key of the planned one
        )

    def replace(self, **changes: Any) -> Trial:
        """A copy with some fields changed; raises InvalidInput for a field that does not exist."""
        check_fields(changes)
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, all fields, in the order of the class."""
        return {f.name: plain(getattr(self, f.name)) for f in fields(self)}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), separators=(",", ":"))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Trial:
        check_fields(data)
        return cls(**data)

    @classmethod
    def from_json(cls, text: str) -> Trial:
        return cls.from_dict(json.loads(text))

    @cached_property
    def key(self) -> str:
        """Content hash: 16 hex digits of the SHA-256 of the canonical JSON. Equal trials have equal keys."""
        said = {
            f.name: _canonical(value)
            for f in fields(self)
            if (value := getattr(self, f.name)) != f.default or f.metadata != LATER
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def _canonical(value: Any) -> Any:
    """The JSON form. 0 and 0.0 are equal, so they must be written alike; so must True and 1."""
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return float(value)
    if isinstance(value, Options):
        return {name: _canonical(item) for name, item in value.items()}
    return [_canonical(item) for item in value] if isinstance(value, tuple) else value


def check_fields(names: Mapping[str, Any]) -> None:
    allowed = [f.name for f in fields(Trial)]
    for name in names:
        if name not in allowed:
            raise unknown("trial field", name, allowed)


_trust_rule = lru_cache(maxsize=1024)(trust_rule)
_NO_OPTIONS = Options()  # shared: a sweep holds many trials


def _options(name: str, given: Any) -> Options:
    if isinstance(given, Options):
        return given
    if not isinstance(given, Mapping):
        raise InvalidInput(f"{name}: {given!r} is not a mapping")
    return Options(given) if given else _NO_OPTIONS


def _number(name: str, value: Any, low: float, high: float = math.inf, exclusive: bool = False) -> float:
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    ok = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not ok or not low <= value <= high or (exclusive and value == low):
        allowed = (
            f"in [{low:g}, {high:g}]" if high < math.inf else f"a finite number {'>' if exclusive else '>='} {low:g}"
        )
        raise InvalidInput(f"{name}: {value!r} is not {allowed}")
    return float(value)


def _integer(name: str, value: Any, low: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise InvalidInput(f"{name}: {value!r} is not an integer >= {low}")


def _interactions(given: Any, epochs: int) -> tuple[int, ...]:
    if isinstance(given, str) or not hasattr(given, "__iter__"):
        raise InvalidInput(f"interactions: {given!r} is not a list of epochs")
    values = tuple(given)
    for value in values:
        _integer("interactions", value, 1)
        if value >= epochs:
            raise InvalidInput(f"interactions: {value} is not in 1..{epochs - 1} (epochs is {epochs})")
    if any(later <= earlier for earlier, later in pairwise(values)):
        raise InvalidInput(f"interactions: {list(values)} is not strictly ascending")
    return values


def _check_policy(trial: Trial) -> None:
    policy, options = trial.policy, trial.policy_options
    if isinstance(policy, list | tuple):
        policy = tuple(policy)
        object.__setattr__(trial, "policy", policy)
        for name in policy:
            registry.check("policy", name)
            if name in (TWIN, CE_SCALED):
                raise InvalidInput(f"policy: {name!r} is a control of a whole trial, it cannot be one of a sequence")
        if isinstance(options, list | tuple):
            frozen: Options | tuple[Options, ...] = tuple(_options("policy_options", item) for item in options)
            if len(frozen) != len(policy):
                raise InvalidInput(f"policy_options: {len(frozen)} mappings for {len(policy)} policies")
        else:
            frozen = _options("policy_options", options)
    else:
        registry.check("policy", policy)  # type: ignore[arg-type]
        frozen = _options("policy_options", options)
    object.__setattr__(trial, "policy_options", frozen)


def _check_view(view: Mapping[str, Any]) -> None:
    for name in view:
        if name not in ("source", "per_class"):
            raise unknown("view option", name, ("source", "per_class"))
    if view.get("source", "train") not in VIEW_SOURCES:
        raise unknown("view.source", view["source"], VIEW_SOURCES)
    _integer("view.per_class", view.get("per_class", 10), 0)
