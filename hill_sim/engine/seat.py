"""The user's seat: which points are shown, the view of them, and the targets that an edit of it becomes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from hill_sim.engine.planning import Human, Sight, sight_of
from hill_sim.engine.results import Interaction
from hill_sim.engine.twins import Moment
from hill_sim.objective import STD_EPS, Targets, mixing_weights
from hill_sim.policy import HumanLimits, build_policy, run_policy
from hill_sim.seeding import generator
from hill_sim.tasks import Split, Task
from hill_sim.trust import Gradient
from hill_sim.types import Array, Edit, LatentView, Memory, TargetLayout


@dataclass(frozen=True, eq=False)
class Display:
    """The samples that one user is shown throughout a trial: rows of a split, grouped by class."""

    ids: Array
    x: Tensor
    labels: Array


@lru_cache(maxsize=64)
def display(task: Task, source: str, per_class: int, seed: int, user_seed: int) -> Display:
    """Up to `per_class` random samples of each class (0: all), fixed by the trial's and the user's seed."""
    split: Split = task.train if source == "train" else task.validation
    labels = split.y.numpy()
    rng = generator(seed, "display", user_seed)
    chosen = [rng.permutation(np.flatnonzero(labels == c))[: per_class or None] for c in range(task.n_classes)]
    ids = np.concatenate([np.sort(c) for c in chosen])
    return Display(ids, split.x[torch.from_numpy(ids)], labels[ids])


def display_for(task: Task, sight: Sight, seed: int) -> Display:
    """The display of a trial's user."""
    return display(task, sight.source, sight.per_class, seed, sight.user_seed)


def layout_coordinates(coordinates: str, projection: tuple[Tensor, Tensor], latents: Tensor) -> Array:
    """Where latents [n,H] lie, [n,2] float64: projected, and for `latent` standardised as the objective's batches."""
    weight, bias = (t.double().cpu().numpy() for t in projection)
    h = latents.double().cpu().numpy()
    raw: Array = h @ weight.T + bias
    if coordinates != "latent":
        return raw
    return (raw - raw.mean()) / (raw.std(ddof=1) + STD_EPS) * h.std(ddof=1) + h.mean()


@dataclass(frozen=True, eq=False)
class Frame:
    """The map from layout coordinates q to the view's (q - mean) / radius.

    `mean` [2] and `radius` are those of the shown points when the user came, so later positions are comparable.
    """

    projection: tuple[Tensor, Tensor]
    mean: Array
    radius: float

    @classmethod
    def at(cls, projection: tuple[Tensor, Tensor], layout: Array) -> Frame:
        mean = layout.mean(axis=0)
        radius = float(np.sqrt(((layout - mean) ** 2).sum(axis=1).mean()))
        return cls(projection, mean, radius if radius > 0 else 1.0)

    def place(self, layout: Array) -> Array:
        """View coordinates [n,2] of layout coordinates [n,2]."""
        return (layout - self.mean) / self.radius


@dataclass(frozen=True, eq=False)
class OpenInteraction:
    """An interaction whose consequence is still to come."""

    regime: Human
    frame: Frame
    view: LatentView
    edit: Edit
    layout: TargetLayout
    shown: Display
    seconds: float

    def memory(self) -> Memory:
        return Memory(self.view.epoch, self.edit, self.layout, self.view.validation_accuracy)

    def close(self, latents: Tensor, twin: Moment | None, targets: tuple[Targets, int] | None) -> Interaction:
        """The record, once the end of the segment is known: the shown points' latents [n,H] there, the twin, and what
        has become of the targets."""
        view, layout, sight = self.view, self.layout, sight_of(self.regime)
        held = targets[0].rows(slice(targets[1], targets[1] + 1)) if targets else None
        trust = held.trust if held else None
        achieved = layout_coordinates(sight.coordinates, self.frame.projection, latents)
        return Interaction(
            epoch=view.epoch,
            policy=self.regime.policy,
            edit=self.edit,
            validation_accuracy=view.validation_accuracy,
            before=view.points,
            after=layout.points,
            achieved=self.frame.place(achieved),
            unedited=self.frame.place(twin.layouts[sight]) if twin else np.full_like(view.points, np.nan),
            labels=view.labels,
            predictions=view.predictions,
            sample_ids=view.sample_ids,
            centers=layout.centers,
            spreads=layout.spreads,
            touched=layout.touched,
            kappa=float(held.kappa[0]) if held else float("nan"),
            trust=np.ones(len(layout.touched)) if trust is None else trust[0].double().cpu().numpy(),
            seconds=self.seconds,
        )


def look(task: Task, regime: Human, shown: Display, outputs: tuple[Tensor, Tensor], projection: tuple[Tensor, Tensor],
         epoch: int, validation_accuracy: float) -> tuple[Frame, LatentView]:  # fmt: skip
    """What the user sees, given (logits [n,C], latents [n,H]) of the shown samples.

    Raises:
        FloatingPointError: the latents are not finite, there is nothing to show.
    """
    logits, latents = (t.double().cpu() for t in outputs)
    if not torch.isfinite(latents).all() or not torch.isfinite(logits).all():
        raise FloatingPointError(f"training diverged: the latents are not finite after epoch {epoch}")
    layout = layout_coordinates(regime.objective.coordinates, projection, latents)
    frame = Frame.at(projection, layout)
    confidences, predictions = logits.softmax(-1).max(-1)
    view = LatentView(
        points=frame.place(layout),
        labels=shown.labels,
        predictions=predictions.numpy(),
        confidences=confidences.numpy(),
        sample_ids=shown.ids,
        class_names=task.class_names,
        epoch=epoch,
        scale=frame.radius,
        validation_accuracy=validation_accuracy,
    )
    return frame, view


def ask(regime: Human, seed: int, frame: Frame, view: LatentView, shown: Display) -> OpenInteraction:
    """Let the regime's user edit the view (which already holds the user's memories).

    Raises whatever the policy raises, and InvalidEdit for an edit that cannot be applied.
    """
    policy = build_policy(regime.policy, regime.policy_options, regime.user)  # not cached: a user's file may change
    rng = generator(seed, "policy", view.epoch, HumanLimits.from_options(regime.user).seed)
    start = time.perf_counter()
    edit = run_policy(policy, view, rng, name=regime.policy)
    seconds = time.perf_counter() - start
    return OpenInteraction(regime, frame, view, edit, edit.apply(view), shown, seconds)


def targets_of(interaction: OpenInteraction, trust: Array | None, dtype: torch.dtype, device: torch.device) -> Targets:
    """The edit as targets of the loss, for a population of one, with trust [C] to begin with (None: 1)."""
    regime, frame, layout = interaction.regime, interaction.frame, interaction.layout
    unit = regime.objective.coordinates == "unit"  # there the loss lives in the view's own coordinates
    radius, mean = (1.0, np.zeros(2)) if unit else (frame.radius, frame.mean)
    shown = np.isin(np.arange(len(layout.touched)), interaction.view.shown_classes)
    touched = shown if regime.objective.hold_untouched else layout.touched

    def tensor(value: object, kind: torch.dtype = dtype) -> Tensor:
        return torch.as_tensor(np.asarray(value), dtype=kind, device=device).unsqueeze(0)

    return Targets(
        weight=frame.projection[0].to(device, dtype).unsqueeze(0),
        bias=frame.projection[1].to(device, dtype).unsqueeze(0),
        origin=tensor(frame.mean if unit else np.zeros(2)),
        unit=tensor(frame.radius if unit else 1.0),
        centers=tensor(np.where(shown[:, None], layout.centers, 0.0) * radius + mean),
        spreads=tensor(layout.spreads * radius),
        touched=tensor(touched, torch.bool),
        w_human=tensor(mixing_weights(regime.objective, regime.alpha)[1]),
        lam=tensor(regime.lam),
        scale0=tensor(radius),
        kappa=tensor(float("nan")),
        smoothing=tensor(regime.trust.smoothing if isinstance(regime.trust, Gradient) else float("nan")),
        trust=None if trust is None else tensor(trust),
    )
