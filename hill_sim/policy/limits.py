"""Human limits: what keeps a person from doing exactly what their strategy says. Each wraps any policy.

After BPref (Lee, Smith, Dragan, Abbeel 2021, "B-Pref: Benchmarking Preference-Based Reinforcement Learning"), whose
simulated teachers are irrational (here: consistency), make mistakes, and skip; the rest are limits of hand and eye.
Every limit works on movements of the hand (`hill_sim.policy.motion`): a person who takes the wrong class still drags it
the way they meant to drag the right one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from hill_sim.errors import InvalidInput, unknown
from hill_sim.policy import options
from hill_sim.policy.motion import Motion, perform, randomised, read, scaled
from hill_sim.policy.protocol import Policy
from hill_sim.policy.run import Checked, Limited
from hill_sim.types import Array, Edit, LatentView, MovePoint, ScaleClass

if TYPE_CHECKING:
    from hill_sim.tasks.human_confusion import Confusion


@dataclass(frozen=True)
class Perception(Limited):
    """Attends to `k` of the shown points only, drawn anew at each interaction.

    The policy sees a view of those points. What it does is carried over as movements: a class is dragged as far as its
    attended points suggested; classes without an attended point stay untouched. The history is remembered in full.
    """

    k: int

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        n = len(view.points)
        if self.k >= n:
            return self.policy.edit(view, rng)
        rows = np.sort(rng.choice(n, size=self.k, replace=False))
        columns = ("points", "labels", "predictions", "confidences", "sample_ids")
        seen = dataclasses.replace(view, **{name: getattr(view, name)[rows] for name in columns})
        motions = read(self.policy.edit(seen, rng), seen)
        return perform(
            (dataclasses.replace(m, target=int(rows[m.target])) if m.kind is MovePoint else m for m in motions), view
        )


@dataclass(frozen=True)
class Misperception(Limited):
    """Takes each shown point for one of class k instead of its own class c with probability P[c, k].

    P is the confusion matrix Q of real people (`hill_sim.tasks.human_confusion`) with its off-diagonal entries times
    `scale` (a row that would exceed 1 is divided by its sum; the diagonal takes the rest). The draws are independent,
    and anew at each interaction. The policy sees the points under the classes that the user takes them for: classes
    that people confuse share points, so their centers look closer, and their spreads larger, than they are. The
    model's predictions are printed, not perceived, so they are seen as they are. What the policy does is carried over
    as movements, as in `Perception`; a gesture on a class of which no point is shown is lost.
    """

    confusion: Confusion
    scale: float = 1.0

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        chances = self.chances(view.class_names)
        below = chances.cumsum(axis=1)[view.labels] <= rng.random(len(view.labels))[:, None]
        perceived = np.minimum(below.sum(axis=1), view.n_classes - 1)
        if (perceived == view.labels).all():
            return self.policy.edit(view, rng)
        seen = dataclasses.replace(view, labels=perceived)
        motions = read(self.policy.edit(seen, rng), seen)
        shown = set(view.shown_classes.tolist())
        return perform((m for m in motions if m.kind is MovePoint or m.target in shown), view)

    def chances(self, class_names: Sequence[str]) -> Array:
        """P [C,C]; rows sum to 1."""
        others = self.confusion.of(class_names) * self.scale
        np.fill_diagonal(others, 0.0)
        others /= np.maximum(others.sum(axis=1, keepdims=True), 1.0)
        np.fill_diagonal(others, 1.0 - others.sum(axis=1))
        return others


@dataclass(frozen=True)
class Consistency(Limited):
    """Follows the policy with probability `p` at each interaction; else the same movements in random directions."""

    p: float

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        follows = rng.random() < self.p
        edit = self.policy.edit(view, rng)
        return edit if follows else perform(randomised(read(edit, view), rng), view)


@dataclass(frozen=True)
class Strength(Limited):
    """Moves everything `factor` times as far: 0 takes things and puts them back, 2 overshoots twofold.

    A scaling by f becomes one by 1 + factor (f - 1), or a collapse where that is not positive.
    """

    factor: float

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        return perform(scaled(read(self.policy.edit(view, rng), view), self.factor), view)


@dataclass(frozen=True)
class Mistakes(Limited):
    """Each gesture takes, with probability `p`, another class (or point) than meant, drawn from the others shown."""

    p: float

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        motions = read(self.policy.edit(view, rng), view)
        return perform([self._misplaced(m, view, rng) if rng.random() < self.p else m for m in motions], view)

    @staticmethod
    def _misplaced(motion: Motion, view: LatentView, rng: np.random.Generator) -> Motion:
        candidates = np.arange(len(view.points)) if motion.kind is MovePoint else view.shown_classes
        others = candidates[candidates != motion.target]
        return dataclasses.replace(motion, target=int(rng.choice(others))) if len(others) else motion


@dataclass(frozen=True)
class Effort(Limited):
    """Makes at most `k` gestures: those that move their points farthest (rms), in the order in which they were meant.

    Of equals the earlier ones are made.
    """

    k: int

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        edit = self.policy.edit(view, rng)
        if len(edit) <= self.k:
            return edit
        magnitudes = np.array([motion.magnitude for motion in read(edit, view)])
        kept = np.sort(np.argsort(-magnitudes, kind="stable")[: self.k])
        return Edit(edit.gestures[i] for i in kept)


@dataclass(frozen=True)
class MotorNoise(Limited):
    """Lands off the mark: a normal error of standard deviation `sd` (view units) in each coordinate of a drag.

    The handle of a scaling sits at the class's rms radius r and errs along it: the factor errs by sd / r, and stops at
    0. A collapse is a double-click and never errs, nor does a scaling of a class without extent.
    """

    sd: float

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        motions = read(self.policy.edit(view, rng), view)
        errors = rng.normal(0.0, self.sd, size=(len(motions), 2)).tolist()
        return perform([self._shaken(m, *error) for m, error in zip(motions, errors, strict=True)], view)

    @staticmethod
    def _shaken(motion: Motion, dx: float, dy: float) -> Motion:
        if motion.kind is not ScaleClass:
            return dataclasses.replace(motion, vector=(motion.vector[0] + dx, motion.vector[1] + dy))
        if motion.growth == -1.0 or motion.extent == 0.0:
            return motion
        return dataclasses.replace(motion, growth=max(-1.0, motion.growth + dx / motion.extent))


@dataclass(frozen=True)
class Skipping(Limited):
    """Lets an interaction pass without any gesture, with probability `p`."""

    p: float

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        return Edit() if rng.random() < self.p else self.policy.edit(view, rng)


@dataclass(frozen=True)
class HumanLimits:
    """The trial's `user`: which limits a simulated person has. The defaults are no limits at all.

    Attributes:
        perception: number of shown points that the user attends to, >= 1; None is all of them.
        motor_noise: standard deviation of the landing error in view units (a view's rms radius is 1), >= 0.
        effort: the most gestures made at an interaction, >= 0; None is any number.
        mistakes: probability in [0,1] that a gesture takes another class or point than meant (BPref's mistake).
        skipping: probability in [0,1] of letting an interaction pass (BPref's skip).
        strength: how far everything is moved, relative to the policy, >= 0.
        consistency: probability in [0,1] of following the policy at an interaction, else random directions (a coarse
            form of BPref's rationality).
        confusion: what this person takes for what: `cifar10h` (what people confuse in CIFAR-10), or the path of a class
            confusion or similarity matrix (.npy, .csv; `hill_sim.tasks.human_confusion`); None confuses nothing.
        confusion_scale: how much more, or less, often than the matrix says, >= 0: people who label at leisure err less
            than people in a hurry.
        seed: which person this is, an integer >= 0: the engine derives the user's chance and the points they are shown
            from it, together with the trial's seed.

    Example:
        >>> HumanLimits.from_options({"motor_noise": 0.1, "effort": 5}).effort
        5
    """

    perception: int | None = None
    motor_noise: float = 0.0
    effort: int | None = None
    mistakes: float = 0.0
    skipping: float = 0.0
    strength: float = 1.0
    consistency: float = 1.0
    seed: int = 0
    confusion: str | None = None
    confusion_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.perception is not None:
            options.integer("user.perception", self.perception, 1)
        if self.effort is not None:
            options.integer("user.effort", self.effort, 0)
        options.integer("user.seed", self.seed, 0)
        for name in ("motor_noise", "strength", "confusion_scale"):
            options.number(f"user.{name}", getattr(self, name), 0.0)
        if self.confusion is not None and not (isinstance(self.confusion, str) and self.confusion):
            raise InvalidInput(f"user.confusion: {self.confusion!r} is not 'cifar10h' or the path of a matrix")
        for name in ("mistakes", "skipping", "consistency"):
            options.number(f"user.{name}", getattr(self, name), 0.0, 1.0)

    @classmethod
    def from_options(cls, given: Mapping[str, Any] | HumanLimits | None) -> HumanLimits:
        """From the trial's `user` mapping.

        Raises:
            InvalidInput: an unknown limit, or a value that is not allowed.
        """
        if isinstance(given, HumanLimits):
            return given
        if given is None:
            return cls()
        if not isinstance(given, Mapping):
            raise InvalidInput(f"user: {given!r} is not a mapping of human limits")
        allowed = [f.name for f in fields(cls)]
        for name in given:
            if name not in allowed:
                raise unknown("user", name, allowed)
        return cls(**given)

    def check_classes(self, class_names: Sequence[str]) -> None:
        """Raise unless what this user confuses are the classes of that task.

        Raises:
            InvalidInput, Unavailable: a confusion matrix that is damaged, not there, or about other classes.
        """
        if (confusion := self._confusion()) is not None:
            confusion.of(class_names)

    def _confusion(self) -> Confusion | None:
        if self.confusion is None or self.confusion_scale == 0:
            return None
        from hill_sim.tasks.human_confusion import load_confusion  # tasks need torch; most users confuse nothing

        return load_confusion(self.confusion)

    def wrap(self, policy: Policy, name: str | None = None) -> Policy:
        """`policy` within these limits; itself if there are none.

        From the eye to the hand: the user attends to some points, takes them for what they look like, decides (or does
        something random), moves more or less far, takes the wrong thing, tires, and lands off the mark; or does not
        act at all.

        Raises:
            InvalidInput, Unavailable: a confusion matrix that is damaged, or not there.
        """
        wrapped: Policy = Checked(policy, name)
        if (confusion := self._confusion()) is not None:
            wrapped = Misperception(wrapped, confusion, self.confusion_scale)
        if self.perception is not None:
            wrapped = Perception(wrapped, self.perception)
        if self.consistency < 1:
            wrapped = Consistency(wrapped, self.consistency)
        if self.strength != 1:
            wrapped = Strength(wrapped, self.strength)
        if self.mistakes > 0:
            wrapped = Mistakes(wrapped, self.mistakes)
        if self.effort is not None:
            wrapped = Effort(wrapped, self.effort)
        if self.motor_noise > 0:
            wrapped = MotorNoise(wrapped, self.motor_noise)
        if self.skipping > 0:
            wrapped = Skipping(wrapped, self.skipping)
        return policy if isinstance(wrapped, Checked) else wrapped
