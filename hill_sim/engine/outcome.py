"""From the logits of a trial and of its twin to the trial's outcome."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from hill_sim.engine.raw import RawResult
from hill_sim.engine.results import EPOCH_COLUMNS, Interaction, Outcome, TrialResult
from hill_sim.risk import calibration, confusion, groups, measures
from hill_sim.risk.imprint import conflict_index, imprint, layouts
from hill_sim.tasks import Task, load_task
from hill_sim.trial import Options, Trial
from hill_sim.types import Array

_CHANGES = ("macro_f1", "worst_recall", "recall_disparity", "generalisation_gap", "ece", "brier", "worst_group",
            "group_gap")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Measured:
    """A trained model on the test split: predictions [N], their probabilities [N], confusion [C,C], and measures that
    become fields of `Outcome`."""

    predictions: Array
    confidences: Array
    confusion: Array
    fields: dict


def trial_result(trial: Trial, raw: RawResult, twin: Trial, twin_raw: RawResult) -> TrialResult:
    """The finished record of one trial. Where the twin failed, what is measured against it is NaN."""
    epochs = {name: raw.epochs[:, column].tolist() for column, name in enumerate(EPOCH_COLUMNS)}
    if raw.stopped:
        return TrialResult(trial, Outcome(trial.key, twin.key, status="pruned"), epochs, raw.interactions)
    if raw.error:
        outcome = Outcome(trial.key, twin.key, status="failed", error=raw.error)
        return TrialResult(trial, outcome, epochs, raw.interactions)
    task = load_task(trial.task, Options(trial.task_options))
    labels = task.test.y.numpy()
    own = _measured(raw, task)
    against = {} if twin_raw.error else _against(own, _twin(twin_raw, task), labels)
    pulled, of_edits = _of_edits(raw.interactions, task.n_classes)
    if against:
        twin_confusion = _twin(twin_raw, task).confusion
        against["directed_confusion"] = confusion.directed_confusion(own.confusion, twin_confusion, pulled)
    outcome = Outcome(
        trial.key,
        twin.key,
        **own.fields,
        **against,
        **of_edits,
        human_loss_train=raw.human_loss_train,
        human_loss_test=raw.human_loss_test,
        human_fit_gap=raw.human_loss_test - raw.human_loss_train,
        edited_interactions=sum(len(item.edit) > 0 for item in raw.interactions),
        gestures=sum(len(item.edit) for item in raw.interactions),
    )
    return TrialResult(trial, outcome, epochs, raw.interactions, own.predictions, own.confidences)


@lru_cache(maxsize=64)
def _twin(raw: RawResult, task: Task) -> Measured:
    """A twin is asked for by each of its trials."""
    return _measured(raw, task)


def _measured(raw: RawResult, task: Task) -> Measured:
    labels, n_classes = task.test.y.numpy(), task.n_classes
    probabilities = _softmax(raw.test_logits)
    predictions = raw.test_logits.argmax(axis=1)
    recalls = measures.class_recalls(predictions, labels, n_classes)
    last = dict(zip(EPOCH_COLUMNS, raw.epochs[-1], strict=True))
    accuracy = measures.accuracy(predictions, labels)
    found = {
        "test_accuracy": accuracy,
        "test_loss": float(last["test_loss"]),
        "validation_accuracy": float(last["validation_accuracy"]),
        "train_accuracy": raw.train_accuracy,
        "macro_f1": measures.macro_f1(predictions, labels, n_classes),
        "worst_recall": float(np.nanmin(recalls)),
        "worst_class": int(np.nanargmin(recalls)),
        "recall_disparity": measures.recall_disparity(recalls),
        "generalisation_gap": raw.train_accuracy - accuracy,
        "ece": calibration.calibration_error(probabilities, labels),
        "brier": calibration.brier_score(probabilities, labels),
        "class_recall": tuple(recalls.tolist()),
    }
    if task.test.groups is not None:
        by_group = groups.group_accuracies(predictions, labels, task.test.groups.numpy(), len(task.group_names))
        found["group_accuracy"] = tuple(by_group.tolist())
        found["worst_group"], found["group_gap"] = float(np.nanmin(by_group)), groups.group_gap(by_group)
    confidences = probabilities.max(axis=1).astype(np.float32)
    return Measured(predictions, confidences, confusion.pair_confusion(predictions, labels, n_classes), found)


def _against(own: Measured, twin: Measured, labels: Array) -> dict:
    mine, its = own.fields, twin.fields
    found = {
        "twin_test_accuracy": its["test_accuracy"],
        "gain": mine["test_accuracy"] - its["test_accuracy"],
        **{f"{name}_change": mine[name] - its[name] for name in _CHANGES if name in mine},
        "churn": measures.churn(own.predictions, twin.predictions),
        "negative_flips": measures.negative_flips(own.predictions, twin.predictions, labels),
        "positive_flips": measures.positive_flips(own.predictions, twin.predictions, labels),
        "class_gain": tuple(np.subtract(mine["class_recall"], its["class_recall"]).tolist()),
    }
    if "group_accuracy" in mine:
        found["group_gain"] = tuple(np.subtract(mine["group_accuracy"], its["group_accuracy"]).tolist())
    return found


def _of_edits(interactions: tuple[Interaction, ...], n_classes: int) -> tuple[Array, dict]:
    """Which pairs of classes [C,C] were pulled together, and the measures of what was asked for."""
    if not interactions or not len(interactions[0].before):
        return np.zeros((n_classes, n_classes), dtype=bool), {}
    before, asked, achieved, unedited = (
        np.stack([getattr(item, name) for item in interactions]) for name in ("before", "after", "achieved", "unedited")
    )
    labels = interactions[0].labels
    seen = layouts(before, labels, n_classes)[..., :2]
    return confusion.pulled_pairs(seen, np.stack([item.centers for item in interactions])), {
        "imprint": imprint(before, asked, achieved, unedited, labels, n_classes),
        "conflict_index": conflict_index(before, asked),
    }


def _softmax(logits: Array) -> Array:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)
