"""What a trial leaves when its training ends, before it is compared with its twin."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from hill_sim.engine.paths import Path
from hill_sim.engine.planning import Human, Segment
from hill_sim.engine.population import Population
from hill_sim.engine.results import Interaction
from hill_sim.kernels.terms import Backend as KernelBackend
from hill_sim.objective import Targets, human_loss
from hill_sim.presets import ObjectiveOptions


@dataclass(frozen=True, eq=False)
class RawResult:
    """What a trial leaves when its last segment ends, or where it was `stopped`; `error` is a traceback, or empty."""

    epochs: np.ndarray
    interactions: tuple[Interaction, ...] = ()
    test_logits: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    train_accuracy: float = float("nan")
    human_loss_train: float = float("nan")
    human_loss_test: float = float("nan")
    error: str = ""
    stopped: bool = False


def raw_result(population: Population, row: int, segment: Segment, path: Path) -> RawResult:
    """What the trials leave that end with this segment."""
    data = population.data
    logits, latents = population.outputs(row, data.train.x)
    train_loss, test_loss = float("nan"), float("nan")
    found = population.targets_of(row)
    if found is not None and isinstance(segment.regime, Human):  # the last targets, each split as one batch
        targets, test = found[0].rows(slice(found[1], found[1] + 1)), slice(data.n_validation, None)
        test_latents = population.outputs(row, data.held_out.x[test])[1]
        for_user = segment.regime.objective, targets, population.kernels
        train_loss = _human_loss(latents, data.train.y, *for_user)
        test_loss = _human_loss(test_latents, data.held_out.y[test], *for_user)
    return RawResult(
        epochs=np.concatenate(path.epochs),
        interactions=path.closed,
        test_logits=population.held_out_logits[row, data.n_validation :].double().cpu().numpy(),
        train_accuracy=float((logits.argmax(-1) == data.train.y).double().mean()),
        human_loss_train=train_loss,
        human_loss_test=test_loss,
    )


def _human_loss(
    latents: Tensor, y: Tensor, options: ObjectiveOptions, targets: Targets, kernels: KernelBackend
) -> float:
    """L_human of one replica on latents [N,H] with labels [N]."""
    return float(human_loss(options, latents.unsqueeze(0), y.unsqueeze(0), targets, kernels))
