"""A population equals a plain single training, written out here: a module, torch.optim, and autograd of the oracle.

In float64 to 1e-12, over epochs with interactions, for every backend, preset, kind of projection and optimiser.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from engine_support import small
from oracles import Target, added_loss, agreement, balance, coordinates, human_loss, mixing, scale_model
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor, nn

from hill_sim.engine.planning import plan
from hill_sim.engine.population import data_order
from hill_sim.engine.raw import RawResult
from hill_sim.engine.recall import Settings
from hill_sim.engine.seat import display
from hill_sim.engine.walk import Walker
from hill_sim.models.base import build_model
from hill_sim.policy import build_policy
from hill_sim.projection import auxiliary_classifier, random_projection
from hill_sim.seeding import generator
from hill_sim.tasks import Task, load_task, resolve
from hill_sim.trial import Options, Trial
from hill_sim.trust import Constant, Gradient, Schedule, Twin
from hill_sim.types import LatentView, TargetLayout

OPTIMISERS: dict[str, Any] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": lambda parameters, **options: torch.optim.SGD(parameters, momentum=0.9, **options),
}


@dataclass
class Alone:
    """What a plain training leaves behind."""

    curves: np.ndarray
    test_logits: np.ndarray
    views: list[LatentView] = field(default_factory=list)
    layouts: list[TargetLayout] = field(default_factory=list)
    kappas: list[float] = field(default_factory=list)
    human_losses: list[float] = field(default_factory=lambda: [float("nan")] * 2)
    trusts: list[list[float]] = field(default_factory=list)
    validation: list[np.ndarray] = field(default_factory=list)


class Training:
    """One trial, trained the obvious way. It knows no human limits, and its users remember nothing."""

    def __init__(self, given: Trial) -> None:
        trial = self.trial = resolve(given)
        self.task: Task = load_task(trial.task, Options(trial.task_options))
        self.x, self.y = self.task.train.x.double(), self.task.train.y
        self.options = trial.objective_options
        self.model = build_model(trial, self.task).double()
        width = self.model(self.x[:1])[1].shape[1]
        self.project, self.classify = nn.Linear(width, 2).double(), nn.Linear(2, self.task.n_classes).double()
        weight, bias = random_projection(trial.seed, width)
        self.project.load_state_dict({"weight": weight, "bias": bias})
        weight, bias = auxiliary_classifier(trial.seed, self.task.n_classes)
        self.classify.load_state_dict({"weight": weight, "bias": bias})
        self.target: Target | None = None
        self.kappa = float("nan")
        self.ce_weight = 1.0
        self.rule = trial.trust_rule
        self.trust = [float("nan") if isinstance(self.rule, Gradient) else 1.0] * self.task.n_classes
        self.touched = np.zeros(self.task.n_classes, dtype=bool)
        twin = trial.replace(policy="ce_only", trust="fixed")
        self.twin = Training(twin).run() if isinstance(self.rule, Twin) else None

    def run(self) -> Alone:
        trial = self.trial
        assert trial.optimizer is not None
        step = OPTIMISERS[trial.optimizer](self.model.parameters(), lr=trial.lr, weight_decay=trial.weight_decay)
        plane = [*self.project.parameters(), *self.classify.parameters()]
        plane_step = torch.optim.Adam(plane, lr=trial.lr or 0.0)
        curves, found = [], Alone(np.empty(0), np.empty(0))
        for epoch in range(1, trial.epochs + 1):
            sums = np.zeros(4)
            self.schedule(epoch)
            for rows in torch.from_numpy(data_order(trial.seed, epoch, len(self.x))).split(trial.batch_size or 0):
                loss, latents, measures = self.loss(rows)
                step.zero_grad()
                loss.backward()
                step.step()
                sums += len(rows) * np.array(measures)
                if epoch == 1:
                    plane_step.zero_grad()
                    F.cross_entropy(self.classify(self.project(latents.detach())), self.y[rows]).backward()
                    plane_step.step()
            means = sums / len(self.x)
            curves.append(
                [*means[:2], *self.held_out(self.task.validation), *self.held_out(self.task.test), *means[2:]]
            )
            if epoch == 1:
                self.projection = self.freeze()
            logits = self.outputs(self.task.validation.x)[0]
            found.validation.append(F.cross_entropy(logits, self.task.validation.y, reduction="none").numpy())
            if isinstance(self.rule, Twin) and self.rule.every == "epoch" and self.target is not None:
                self.judge(found.validation[-1], epoch)
            if epoch in trial.interactions and trial.policy != "ce_only":
                if self.target is not None:
                    found.kappas.append(self.kappa)
                    found.trusts.append(list(self.trust))
                    if isinstance(self.rule, Twin) and self.rule.every == "interaction":
                        self.judge(found.validation[-1], epoch)
                self.interact(epoch, found)
        found.kappas.append(self.kappa)
        if self.target is not None:
            found.human_losses = [self.human_loss(split) for split in (self.task.train, self.task.test)]
        found.trusts.append(list(self.trust))
        found.curves, found.test_logits = np.array(curves), self.outputs(self.task.test.x)[0].numpy()
        return found

    def schedule(self, epoch: int) -> None:
        """The trust of the epoch that begins, where it is a function of the epoch."""
        rule, first = self.rule, self.trial.interactions[0] if self.trial.interactions else 0
        if isinstance(rule, Constant):
            self.trust = [rule.factor] * self.task.n_classes
        if isinstance(rule, Schedule):
            over = rule.over or self.trial.epochs - first
            t = 1.0 if over == 1 else min(1.0, max(0.0, (epoch - first - 1) / (over - 1)))
            if rule.shape == "cosine":
                t = (1 - np.cos(np.pi * t)) / 2
            if rule.shape == "step":
                t = max(k / rule.steps for k in range(rule.steps + 1) if k / rule.steps <= t + 1e-12)
            self.trust = [rule.start + (rule.end - rule.start) * t] * self.task.n_classes

    def judge(self, losses: np.ndarray, epoch: int) -> None:
        """`twin` trust, class by class and sample by sample."""
        rule, labels = self.rule, self.task.validation.y.tolist()
        assert isinstance(rule, Twin)
        assert self.twin is not None
        worse = [float(a - b) for a, b in zip(losses, self.twin.validation[epoch - 1], strict=True)]
        for c in range(self.task.n_classes):
            judged = [d for d, label in zip(worse, labels, strict=True) if rule.per != "class" or label == c]
            mean = sum(judged) / len(judged)
            error = (sum((d - mean) ** 2 for d in judged) / (len(judged) - 1) / len(judged)) ** 0.5
            if abs(mean) > rule.evidence * error and (rule.per != "gesture" or self.touched[c]):
                self.trust[c] = self.trust[c] * (rule.factor if mean > 0 else rule.recover)
                self.trust[c] = min(max(self.trust[c], rule.floor), 1.0)

    def loss(self, rows: Tensor) -> tuple[Tensor, Tensor, list[float]]:
        """The whole objective on a batch, its latents, and (CE, accuracy, L_human, scale)."""
        self.model.train()
        y, target = self.y[rows], self.target
        logits, latents = self.model(self.x[rows])
        ce = F.cross_entropy(logits, y)
        measures = [ce.item(), float((logits.argmax(1) == y).double().mean()), float("nan"), float("nan")]
        if target is None:
            return self.ce_weight * ce, latents, measures
        if self.kappa != self.kappa:
            self.kappa = balance(self.options, latents, logits, y, target)
        if isinstance(self.rule, Gradient):
            for c, now in enumerate(agreement(self.options, latents, logits, y, target)):
                before = now if self.trust[c] != self.trust[c] else self.trust[c]
                if now == now:
                    self.trust[c] = self.rule.smoothing * before + (1 - self.rule.smoothing) * now
        z = coordinates(self.options, latents.detach(), target)
        measures[2] = float(human_loss(self.options, z, y.tolist(), target))
        if self.options.scale == "active":
            measures[3] = float(scale_model(z, target.scale0))
        return (
            self.ce_weight * ce + added_loss(self.options, latents, y.tolist(), target, self.kappa, self.trust),
            latents,
            measures,
        )

    def outputs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.model.eval()
        with torch.no_grad():
            return self.model(x.double())

    def held_out(self, split: Any) -> list[float]:
        logits = self.outputs(split.x)[0]
        return [float(F.cross_entropy(logits, split.y)), float((logits.argmax(1) == split.y).double().mean())]

    def human_loss(self, split: Any) -> float:
        """L_human with the last targets, the whole split as one batch."""
        assert self.target is not None
        z = coordinates(self.options, self.outputs(split.x)[1], self.target)
        return float(human_loss(self.options, z, split.y.tolist(), self.target))

    def freeze(self) -> tuple[Tensor, Tensor]:
        """The projection, after epoch 1."""
        kind = self.trial.projection
        if kind == "random":
            return random_projection(self.trial.seed, self.project.in_features)
        if kind == "first-epoch":
            return self.project.weight.detach(), self.project.bias.detach()
        h = self.outputs(self.x)[1].numpy()
        if kind == "pca":
            axes = PCA(2, svd_solver="full").fit(h).components_
        else:
            axes = LinearDiscriminantAnalysis(solver="eigen", shrinkage=1e-3).fit(h, self.y).scalings_[:, :2].T
        axes = np.array([axis * np.sign(axis[np.abs(axis).argmax()]) for axis in axes])
        return torch.from_numpy(axes), torch.from_numpy(-axes @ h.mean(axis=0))

    def interact(self, epoch: int, found: Alone) -> None:
        """Show ten training points a class, let the user edit them, and put the edit into the loss's coordinates."""
        trial, options = self.trial, self.options
        self.ce_weight = mixing(options, trial.alpha)[0]
        if trial.policy == "ce_scaled":
            return
        shown = display(self.task, "train", 10, trial.seed, 0)
        logits, latents = self.outputs(self.task.train.x[torch.from_numpy(shown.ids)])
        target = Target(*self.projection, [0.0, 0.0], 1.0, [], [], [], trial.alpha, trial.lam, 1.0)
        unit = options.coordinates == "unit"
        layout = coordinates(
            dataclasses.replace(options, coordinates="raw") if unit else options, latents, target
        ).numpy()
        mean = layout.mean(axis=0)
        radius = float(np.sqrt(((layout - mean) ** 2).sum(axis=1).mean()))
        confidences, predictions = logits.softmax(1).max(1)
        view = LatentView(
            (layout - mean) / radius, shown.labels, predictions.numpy(), confidences.numpy(), shown.ids,
            self.task.class_names, epoch, radius, self.held_out(self.task.validation)[1],
        )  # fmt: skip
        name, policy_options = trial.policy_at(trial.interactions.index(epoch))
        wanted = build_policy(name, policy_options).edit(view, generator(trial.seed, "policy", epoch, 0)).apply(view)
        centers, spreads = wanted.centers, wanted.spreads
        if unit:
            target.origin, target.unit = mean.tolist(), radius
        else:
            centers, spreads, target.scale0 = centers * radius + mean, spreads * radius, radius
        target.centers, target.spreads = centers.tolist(), spreads.tolist()
        target.touched = [True] * self.task.n_classes if options.hold_untouched else wanted.touched.tolist()
        self.touched = wanted.touched
        if isinstance(self.rule, Gradient):
            self.trust = [float("nan")] * self.task.n_classes
        self.target, self.kappa = target, float("nan") if options.balance == "gradient" else 1.0
        found.views.append(view)
        found.layouts.append(wanted)


CASES: list[dict[str, Any]] = [
    {},
    {"objective": "paper"},
    {"objective": "hill-samples", "policy": "separation"},
    {"objective": {"mixing": "convex", "coordinates": "raw", "reduction": "mean"}, "policy": "merge_similar"},
    {"objective": {"coordinates": "latent", "hold_untouched": True}, "policy": "merge_similar", "optimizer": "adamw"},
    {"optimizer": "sgd", "lr": 0.02, "weight_decay": 1e-2, "projection": "random"},
    {"projection": "pca", "lam": 1.0, "alpha": 0.9},
    {"projection": "lda", "lr": 1e-2},
    {"policy": ("random", "swap"), "weight_decay": 0.01, "seed": 3},
    {"policy": "ce_only"},
    {"policy": "ce_scaled", "objective": "paper"},
    {"trust": {"rule": "constant", "factor": 0.3}},
    {"trust": {"rule": "linear", "end": 0.2}, "objective": "hill-samples"},
    {"trust": {"rule": "cosine", "start": 0.9}, "interactions": (1,), "epochs": 4},
    {"trust": {"rule": "step", "steps": 2, "over": 2}, "objective": "paper"},
    {"trust": "gradient", "policy": "swap"},
    {"trust": {"rule": "gradient", "smoothing": 0.0}, "objective": "paper", "policy": "merge_distinct"},
    {"trust": {"rule": "twin", "every": "interaction"}, "policy": "swap", "epochs": 5, "interactions": (1, 2, 4)},
    {"trust": "twin", "policy": "merge_distinct", "alpha": 0.9, "epochs": 4},
    {"trust": {"rule": "twin", "per": "class", "every": "epoch", "evidence": 0.5}, "alpha": 0.9, "epochs": 4},
    {"trust": {"rule": "twin", "per": "gesture", "floor": 0.1, "factor": 0.5}, "policy": "swap", "objective": "paper"},
]


def trial_of(case: dict[str, Any]) -> Trial:
    return small(**{"epochs": 3, "interactions": (1, 2), "batch_size": 33, **case})


@cache
def alone(number: int) -> Alone:
    return Training(trial_of(CASES[number])).run()


@cache
def together(backend: str) -> dict[Trial, RawResult]:
    """All cases in one population, in float64."""
    planned = plan([trial_of(case) for case in CASES])
    walker = Walker(planned, Settings(backend, "auto", torch.device("cpu"), torch.float64))
    with torch.no_grad():
        return {planned.unique[position]: raw for position, raw in walker.run()}


QUICK = (0, 1, 5)
"""Cases whose oracle trains in a moment; the others are slow."""


@pytest.mark.parametrize(
    "number",
    [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow, id=str(case)) for n, case in enumerate(CASES)],
)
@pytest.mark.parametrize("backend", ["chain", "bmm", "vmap", "loop"])
def test_a_float64_population_equals_plain_training(backend: str, number: int) -> None:
    expected, raw = alone(number), together(backend)[resolve(trial_of(CASES[number]))]
    assert not raw.error
    np.testing.assert_allclose(raw.epochs, expected.curves, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(raw.test_logits, expected.test_logits, rtol=1e-12, atol=1e-12)
    losses = [raw.human_loss_train, raw.human_loss_test]
    np.testing.assert_allclose(losses, expected.human_losses, rtol=1e-10, atol=1e-12)
    assert len(raw.interactions) == len(expected.views)
    for item, view, layout, kappa, trust in zip(
        raw.interactions, expected.views, expected.layouts, expected.kappas, expected.trusts, strict=False
    ):
        np.testing.assert_allclose(item.before, view.points, rtol=1e-10, atol=1e-11)
        np.testing.assert_allclose(item.after, layout.points, rtol=1e-10, atol=1e-11)
        np.testing.assert_array_equal(item.predictions, view.predictions)
        np.testing.assert_array_equal(item.touched, layout.touched)
        assert item.validation_accuracy == view.validation_accuracy
        assert item.kappa == pytest.approx(kappa, rel=1e-10)
        np.testing.assert_allclose(item.trust, trust, rtol=1e-9, atol=1e-11)


@pytest.mark.slow
def test_the_cases_do_differ() -> None:
    """No two of them came out alike, so that the comparison above could tell them apart."""
    logits = [alone(number).test_logits for number in range(len(CASES))]
    for a in range(len(CASES)):
        for b in range(a):
            assert np.abs(logits[a] - logits[b]).max() > 1e-6
