"""From the logits of a trial and of its twin to the trial's outcome."""

from __future__ import annotations

import numpy as np

from hill_sim.engine.results import EPOCH_COLUMNS, Outcome, TrialResult
from hill_sim.engine.walk import RawResult
from hill_sim.risk import measures
from hill_sim.tasks import load_task
from hill_sim.trial import Options, Trial
from hill_sim.types import Array


def trial_result(trial: Trial, raw: RawResult, twin: Trial, twin_raw: RawResult) -> TrialResult:
    """The finished record of one trial. Where the twin failed, what is measured against it is NaN."""
    epochs = {name: raw.epochs[:, column].tolist() for column, name in enumerate(EPOCH_COLUMNS)}
    if raw.error:
        outcome = Outcome(trial.key, twin.key, status="failed", error=raw.error)
        return TrialResult(trial, outcome, epochs, raw.interactions)
    labels = load_task(trial.task, Options(trial.task_options)).test.y.numpy()
    predictions = raw.test_logits.argmax(axis=1)
    own = _alone(raw, predictions, labels)
    against = {}
    if not twin_raw.error:
        twin_predictions = twin_raw.test_logits.argmax(axis=1)
        against = _against(own, _alone(twin_raw, twin_predictions, labels), predictions, twin_predictions, labels)
    outcome = Outcome(
        trial.key,
        twin.key,
        **own,
        **against,
        edited_interactions=sum(len(item.edit) > 0 for item in raw.interactions),
        gestures=sum(len(item.edit) for item in raw.interactions),
    )
    confidences = _softmax(raw.test_logits).max(axis=1).astype(np.float32)
    return TrialResult(trial, outcome, epochs, raw.interactions, predictions, confidences)


def _alone(raw: RawResult, predictions: Array, labels: Array) -> dict:
    n_classes = raw.test_logits.shape[1]
    recalls = measures.class_recalls(predictions, labels, n_classes)
    last = dict(zip(EPOCH_COLUMNS, raw.epochs[-1], strict=True))
    accuracy = float(np.mean(predictions == labels))
    return {
        "test_accuracy": accuracy,
        "test_loss": float(last["test_loss"]),
        "validation_accuracy": float(last["validation_accuracy"]),
        "train_accuracy": raw.train_accuracy,
        "macro_f1": measures.macro_f1(predictions, labels, n_classes),
        "worst_recall": float(np.nanmin(recalls)),
        "worst_class": int(np.nanargmin(recalls)),
        "recall_disparity": measures.recall_disparity(recalls),
        "generalisation_gap": raw.train_accuracy - accuracy,
        "class_recall": tuple(recalls.tolist()),
    }


def _against(own: dict, twin: dict, predictions: Array, twin_predictions: Array, labels: Array) -> dict:
    changes = ("macro_f1", "worst_recall", "recall_disparity", "generalisation_gap")
    gains = np.subtract(own["class_recall"], twin["class_recall"])
    return {
        "twin_test_accuracy": twin["test_accuracy"],
        "gain": own["test_accuracy"] - twin["test_accuracy"],
        **{f"{name}_change": own[name] - twin[name] for name in changes},
        "churn": measures.churn(predictions, twin_predictions),
        "negative_flips": measures.negative_flips(predictions, twin_predictions, labels),
        "positive_flips": measures.positive_flips(predictions, twin_predictions, labels),
        "class_gain": tuple(gains.tolist()),
    }


def _softmax(logits: Array) -> Array:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)
