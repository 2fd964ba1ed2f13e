"""From a list of trials to a tree of segments: trials share every epoch up to the first thing in which they differ.

A *segment* is a run of epochs under one regime (cross-entropy alone, or one user's targets). Trials that agree on
task, model, recipe and seed start in one segment, and part where one is edited and the other is not, or differently.
Twins are planned with their trials, as one more leaf of the same tree.

After Hippo's stage trees (Shin et al., VLDB 2020); the populations that run the segments fuse horizontally as in HFTA
(Wang et al., MLSys 2021).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import TypeAlias

from torch.nn.modules.conv import _ConvNd

from hill_sim.engine.arena import Layout
from hill_sim.errors import InvalidInput
from hill_sim.models.base import activation_floats, build_model, latent_width
from hill_sim.objective import mixing_weights
from hill_sim.policy import HumanLimits, build_policy
from hill_sim.presets import ObjectiveOptions
from hill_sim.tasks import load_task, resolve
from hill_sim.tasks.base import forget_changed
from hill_sim.trial import CE_SCALED, Options, Trial
from hill_sim.trust import Schedule, Trust, Twin

PACK_BYTES = 10_000_000
"""What `pmax="auto"` lets a population's parameters, gradients and moments take: about what stays in a core's share of
the caches. Larger populations wait for memory, smaller ones for Python (measured: digits MLPs, 16 to 128 replicas)."""
PMAX_RANGE = (4, 128)


@dataclass(frozen=True)
class CrossEntropy:
    """Train on weight * CE."""

    weight: float = 1.0


@dataclass(frozen=True)
class Human:
    """Train under what one user asked for at the segment's first epoch.

    `since` is the epoch of the trial's first interaction where trust follows a schedule, which counts from there;
    else 0.
    """

    policy: str
    policy_options: Options
    user: Options
    view: Options
    objective: ObjectiveOptions
    projection: str
    alpha: float
    lam: float
    trust: Trust
    since: int


Regime: TypeAlias = CrossEntropy | Human


@dataclass(frozen=True)
class Sight:
    """All that decides where a trial's user sees a state of its model: the samples shown, and the coordinates."""

    source: str
    per_class: int
    user_seed: int
    projection: str
    coordinates: str


@lru_cache(maxsize=4096)
def sight_of(regime: Human) -> Sight:
    source, per_class = regime.view.get("source", "train"), regime.view.get("per_class", 10)
    coordinates = "latent" if regime.objective.coordinates == "latent" else "raw"  # unit: raw, moved and scaled
    return Sight(source, per_class, HumanLimits.from_options(regime.user).seed, regime.projection, coordinates)


@dataclass(frozen=True)
class Base:
    """All that decides the epochs before the first interaction."""

    task: str
    task_options: Options
    model: str
    model_options: Options
    batch_size: int
    optimizer: str
    lr: float
    weight_decay: float
    augment: str
    seed: int

    def initial_trial(self) -> Trial:
        """A trial that starts as these replicas do."""
        return Trial(task=self.task, task_options=self.task_options, model=self.model, model_options=self.model_options,
                     seed=self.seed)  # fmt: skip

    @property
    def bucket(self) -> Base:
        """Equal for replicas that fit into one population: same tensors and shapes, any rates and seeds."""
        return Base(
            self.task, self.task_options, self.model, self.model_options, self.batch_size, "", 0.0, 0.0, self.augment, 0
        )


@dataclass(eq=False)
class Segment:
    """Epochs start+1 .. end under one regime. `edited`: the regime's user edits at `start`.

    `finished` are the trials that end with it, as positions in `Plan.unique`; `projections` the kinds that the tree
    below a root needs.
    """

    base: Base
    start: int
    end: int
    regime: Regime
    edited: bool
    children: list[Segment] = field(default_factory=list)
    finished: list[int] = field(default_factory=list)
    projections: frozenset[str] = frozenset()

    def walk(self) -> Iterator[Segment]:
        pending = [self]
        while pending:
            segment = pending.pop()
            yield segment
            pending.extend(segment.children)


@dataclass(frozen=True, eq=False)
class Plan:
    """What will run, before anything does. `str(plan)` is a summary for people.

    Attributes:
        trials: resolved, in the order given; unique: without repetition, then the twins that were not among them.
        twins: position in `unique` of each unique trial's twin.
        roots: the segment trees.
        watched: what the twins are measured for: per base and epoch at which interactions end, the sights of them.
        epochs_asked: of all unique trials, each trained alone.
        epochs_to_run: with shared segments.
        pmax: replicas in a population.
        memory_bytes: estimate of the states and activations held at the same time.
    """

    trials: tuple[Trial, ...]
    unique: tuple[Trial, ...]
    twins: tuple[int, ...]
    roots: tuple[Segment, ...]
    watched: Mapping[Base, Mapping[int, frozenset[Sight]]]
    pmax: int

    @cached_property
    def epochs_asked(self) -> int:
        return sum(trial.epochs for trial in self.unique)

    @cached_property
    def epochs_to_run(self) -> int:
        return sum(segment.end - segment.start for root in self.roots for segment in root.walk())

    @cached_property
    def memory_bytes(self) -> int:
        """One population per level of the tree (parameters, two moments), one more with gradients, and a training
        step's activations with their gradients; float32."""
        levels = max((len({s.start for s in root.walk()}) for root in self.roots), default=0)
        floats = max((_size_of(root.base).parameters for root in self.roots), default=0)
        step = max((_size_of(root.base).step(root.base.batch_size, self.pmax) for root in self.roots), default=0)
        return 4 * (self.pmax * floats * (3 * levels + 4) + 2 * step)

    def __str__(self) -> str:
        twins = len(self.unique) - len(dict.fromkeys(trial.key for trial in self.trials))
        saved = 1.0 - self.epochs_to_run / self.epochs_asked if self.epochs_asked else 0.0
        return (
            f"{len(self.trials):,} trials and {twins:,} twins; {self.epochs_asked:,} epochs asked, "
            f"{self.epochs_to_run:,} to run ({saved:.0%} shared); populations of up to {self.pmax}, "
            f"about {self.memory_bytes / 2**20:,.0f} MiB of states and activations"
        )


def plan(trials: Sequence[Trial], *, pmax: int | str = "auto", share: bool = True) -> Plan:
    """Plan trials and their twins.

    Args:
        trials: any mixture; repeated ones are trained once.
        pmax: most replicas in a population, >= 1, or "auto".
        share: False trains every trial from its first epoch on, which must not change any result.

    Raises:
        InvalidInput: naming the first trial (from 1) that cannot be run, and the field.
    """
    check_pmax(pmax)
    resolved = resolve_all(trials)
    positions: dict[Trial, int] = {}
    for trial in resolved:
        positions.setdefault(trial, len(positions))
    twin_of = {trial: trial.twin() for trial in positions}
    for twin in twin_of.values():
        positions.setdefault(twin, len(positions))
    unique = tuple(positions)
    twins = tuple(positions[twin_of.get(trial, trial)] for trial in unique)
    programs = [_program(position, trial) for position, trial in enumerate(unique)]
    roots = tuple(_roots(programs, share))
    size = _automatic_pmax(roots) if pmax == "auto" else int(pmax)
    return Plan(tuple(resolved), unique, twins, roots, _watched(programs), size)


def check_pmax(pmax: int | str) -> None:
    """Raise InvalidInput unless `pmax` is "auto" or an integer >= 1."""
    if pmax != "auto" and (not isinstance(pmax, int) or isinstance(pmax, bool) or pmax < 1):
        raise InvalidInput(f"pmax: {pmax!r} is not an integer >= 1 or 'auto'")


def resolve_all(trials: Sequence[Trial]) -> list[Trial]:
    """Each trial with every default filled in, after checking that it can be run.

    Raises:
        InvalidInput: naming the first trial (from 1) that cannot be run, and the field.
    """
    if isinstance(trials, Trial | str) or not isinstance(trials, Iterable):
        raise InvalidInput(f"trials: {type(trials).__name__} is not a list of hill_sim.Trial")
    forget_changed()
    trials, resolved = list(trials), []
    for number, trial in enumerate(trials, start=1):
        if not isinstance(trial, Trial):
            raise InvalidInput(f"trial {number}: {type(trial).__name__} is not a hill_sim.Trial")
        try:
            resolved.append(resolve(trial))
            _check_user(resolved[-1])
        except InvalidInput as error:
            raise InvalidInput(f"trial {number} of {len(trials)}: {error}") from error
    return resolved


def _automatic_pmax(roots: Sequence[Segment]) -> int:
    largest = max((_size_of(root.base).parameters for root in roots), default=1)
    return min(max(PACK_BYTES // (16 * largest), PMAX_RANGE[0]), PMAX_RANGE[1])


def _check_user(trial: Trial) -> None:
    limits = HumanLimits.from_options(trial.user)
    limits.check_classes(load_task(trial.task, Options(trial.task_options)).class_names)
    _size_of(base_of(trial))
    for index in range(len(trial.interactions) if isinstance(trial.policy, tuple) else 1):
        name, options = trial.policy_at(index)
        _check_policy(name, options)


@lru_cache(maxsize=1024)
def _check_policy(name: str, options: Options) -> None:
    build_policy(name, options)


@dataclass(frozen=True)
class _Size:
    """Floats of one replica: its parameters, and what a training step keeps of each sample for the backward pass."""

    parameters: int
    activations: int
    one_by_one: bool

    def step(self, batch: int, replicas: int) -> int:
        """Floats that a training step of a population keeps."""
        return self.activations * batch * (1 if self.one_by_one else replicas)


def _size_of(base: Base) -> _Size:
    task = load_task(base.task, base.task_options)
    return _sized(base.task, base.task_options, base.model, base.model_options, task.input_shape, task.n_classes)


@lru_cache(maxsize=64)
def _sized(
    task: str, task_options: Options, model: str, model_options: Options, shape: tuple[int, ...], classes: int
) -> _Size:
    """A model's size, after checking that it fits the task. The task's shapes are there as the data may change."""
    data = load_task(task, task_options)
    module = build_model(Trial(task=task, task_options=task_options, model=model, model_options=model_options), data)
    latent_width(module, data, model)
    convolves = any(isinstance(part, _ConvNd) for part in module.modules())  # those run in `loop`
    return _Size(Layout.of(module.named_parameters()).size, activation_floats(module, data), convolves)


@dataclass(frozen=True, eq=False)
class _Program:
    """A trial as what happens when: (epoch, regime, edited), ascending, and the last epoch."""

    trial: int
    base: Base
    events: tuple[tuple[int, Regime, bool], ...]
    end: int

    def end_of(self, index: int) -> int:
        """The last epoch of the event of this index."""
        return self.events[index + 1][0] if index + 1 < len(self.events) else self.end


def _program(position: int, trial: Trial) -> _Program:
    start: tuple[int, Regime, bool] = (0, CrossEntropy(), False)
    base, objective = base_of(trial), trial.objective_options
    if trial.is_twin:
        return _Program(position, base, (start,), trial.epochs)
    w_ce, w_human = mixing_weights(objective, trial.alpha)
    if trial.policy == CE_SCALED:
        scaled = (trial.interactions[0], CrossEntropy(w_ce), False)
        return _Program(position, base, (start, scaled) if w_ce != 1.0 else (start,), trial.epochs)
    if w_human == 0.0 and (trial.lam == 0.0 or objective.scale == "dead"):
        return _Program(position, base, (start,), trial.epochs)  # nobody is listened to: the twin
    events, trust, since = [start], trial.trust_rule, 0
    if isinstance(trust, Schedule):
        since = trial.interactions[0]
        trust = replace(trust, over=trust.over or trial.epochs - since)
    for index, epoch in enumerate(trial.interactions):
        name, options = trial.policy_at(index)
        assert trial.projection is not None
        regime = Human(name, options, Options(trial.user), Options(trial.view), objective, trial.projection,
                       trial.alpha, trial.lam, trust, since)  # fmt: skip
        events.append((epoch, regime, True))
    return _Program(position, base, tuple(events), trial.epochs)


def base_of(trial: Trial) -> Base:
    assert trial.model is not None and trial.batch_size is not None and trial.optimizer is not None  # noqa: PT018
    assert trial.lr is not None and trial.weight_decay is not None  # noqa: PT018
    return Base(trial.task, Options(trial.task_options), trial.model, Options(trial.model_options), trial.batch_size,
                trial.optimizer, trial.lr, trial.weight_decay, trial.augment or "none", trial.seed)  # fmt: skip


def _watched(programs: Sequence[_Program]) -> dict[Base, dict[int, frozenset[Sight]]]:
    found: dict[Base, dict[int, set[Sight]]] = {}
    for program in programs:
        for index, (start, regime, _) in enumerate(program.events):
            if isinstance(regime, Human):
                epochs, end = found.setdefault(program.base, {}), program.end_of(index)
                epochs.setdefault(end, set()).add(sight_of(regime))
                if isinstance(regime.trust, Twin) and regime.trust.every == "epoch":
                    for epoch in range(start + 1, end):
                        epochs.setdefault(epoch, set())
    return {base: {epoch: frozenset(sights) for epoch, sights in epochs.items()} for base, epochs in found.items()}


def _roots(programs: Sequence[_Program], share: bool) -> Iterator[Segment]:
    groups: dict[tuple[Base, int], list[_Program]] = {}
    kinds: dict[Base, set[str]] = {}  # a twin is seen in its trials' projections, also where it is trained apart
    for program in programs:
        alone = 0 if share else program.trial
        groups.setdefault((program.base, alone), []).append(program)
        kinds.setdefault(program.base, set()).update(r.projection for _, r, _ in program.events if isinstance(r, Human))
    for (base, _), members in groups.items():
        for root in _tree(members):
            root.projections = frozenset(kinds[base])
            yield root


def _tree(programs: list[_Program]) -> list[Segment]:
    """The segments that begin at 0, with all that follows: a trial may interact too often for recursion."""
    roots: list[Segment] = []
    pending = [(0, [(program, 0) for program in programs], roots)]
    while pending:
        start, members, siblings = pending.pop()
        for segment, onward in _segments(start, members):
            siblings.append(segment)
            if onward:
                pending.append((segment.end, onward, segment.children))
    return roots


def _segments(start: int, programs: list[tuple[_Program, int]]) -> Iterator[tuple[Segment, list[tuple[_Program, int]]]]:
    """The segments that begin at `start`, one per regime, and who goes on; each program comes with the index of its
    current event."""
    groups: dict[tuple[Regime, bool], list[tuple[_Program, int]]] = {}
    for program, index in programs:
        epoch, regime, edited = program.events[index]
        groups.setdefault((regime, edited and epoch == start), []).append((program, index))
    for (regime, edited), members in groups.items():
        ends = [program.end_of(index) for program, index in members]
        segment = Segment(members[0][0].base, start, min(ends), regime, edited)
        onward = []
        for (program, index), end in zip(members, ends, strict=True):
            if end > segment.end:
                onward.append((program, index))
            elif index + 1 < len(program.events):
                onward.append((program, index + 1))
            else:
                segment.finished.append(program.trial)
        yield segment, onward
