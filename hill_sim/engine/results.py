"""What comes out of a simulation: one `TrialResult` per trial as it ends, and the `RunSet` of them all as tables."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pandas as pd

from hill_sim.trial import Trial
from hill_sim.types import Array, Edit

EPOCH_COLUMNS = (
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "test_loss",
    "test_accuracy",
    "human_loss",
    "scale",
)
"""Measured each epoch. The train columns are means over the epoch's batches while it trained, in training mode;
the others are of the model as the epoch left it. `human_loss` is L_human before any weight, `scale` the batches'
mean scale_model; both are NaN before the first interaction and for the twin."""


@dataclass(frozen=True)
class Outcome:
    """How one trial ended, on the test split, and against its twin. Accuracies, recalls and rates are in [0,1].

    Every measure is defined in `hill_sim.risk` and in docs/risk.md: formula, range, which way is worse, source.

    Attributes:
        status: `done`, or `failed` with the traceback in `error` and NaN in every measure, or
            `pruned`: a sweep stopped it, and every measure is NaN.
        generalisation_gap: training accuracy (eval mode, labels as trained on) minus test accuracy.
        recall_disparity: largest minus smallest class recall.
        ece, brier: calibration of the softmax probabilities.
        gain: test accuracy minus the twin's.  `*_change`: the trial's measure minus the twin's.
        churn: share of test samples predicted differently from the twin.
        negative_flips: share that the twin had right and the trial has wrong; `positive_flips` the reverse.
        class_recall, class_gain: per class, and minus the twin's.
        group_accuracy, group_gain: per group of the task (subject, speaker), and minus the twin's; empty without any.
        worst_group, group_gap: the lowest group accuracy, and how far the highest is above it.
        human_loss_train, human_loss_test: L_human with the targets of the last interaction, each split as one batch;
            human_fit_gap: test minus train, how much better the user's wish is met on the samples trained on.
        directed_confusion: rise of confusion between classes that the user pulled together, beyond that of the others.
        imprint: how far classes went towards where the user wanted them, as a share of the way, net of the twin.
        conflict_index: how much successive edits take each other back, in [-1,1].
        edited_interactions, gestures: how many interactions changed something, and with how many gestures in all.
    """

    key: str
    twin_key: str
    status: str = "done"
    error: str = ""
    test_accuracy: float = float("nan")
    test_loss: float = float("nan")
    validation_accuracy: float = float("nan")
    train_accuracy: float = float("nan")
    macro_f1: float = float("nan")
    worst_recall: float = float("nan")
    worst_class: int = -1
    recall_disparity: float = float("nan")
    generalisation_gap: float = float("nan")
    ece: float = float("nan")
    brier: float = float("nan")
    worst_group: float = float("nan")
    group_gap: float = float("nan")
    human_loss_train: float = float("nan")
    human_loss_test: float = float("nan")
    human_fit_gap: float = float("nan")
    imprint: float = float("nan")
    conflict_index: float = float("nan")
    twin_test_accuracy: float = float("nan")
    gain: float = float("nan")
    macro_f1_change: float = float("nan")
    worst_recall_change: float = float("nan")
    recall_disparity_change: float = float("nan")
    generalisation_gap_change: float = float("nan")
    ece_change: float = float("nan")
    brier_change: float = float("nan")
    worst_group_change: float = float("nan")
    group_gap_change: float = float("nan")
    directed_confusion: float = float("nan")
    churn: float = float("nan")
    negative_flips: float = float("nan")
    positive_flips: float = float("nan")
    class_recall: tuple[float, ...] = ()
    class_gain: tuple[float, ...] = ()
    group_accuracy: tuple[float, ...] = ()
    group_gain: tuple[float, ...] = ()
    edited_interactions: int = 0
    gestures: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {name: list(v) if isinstance(v, tuple) else v for name, v in vars(self).items()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Outcome:
        known = {f.name for f in fields(cls)}
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items() if k in known}
        return cls(**values)


@dataclass(frozen=True, eq=False)
class Interaction:
    """One recorded interaction. Positions [n,2] are in the view's coordinates.

    Attributes:
        before: the shown points; labels, predictions, sample_ids: theirs.
        after: where the user left them (the target layout's points).
        achieved: where the same points stood when the next interaction came, or the training ended.
        unedited: where they stood in the twin at that time, in the same coordinates; NaN where the twin failed, and
            in records of versions that did not keep it.
        trust: [C] factor of the human weight per class, as it was in the last epoch before `achieved`; NaN where it
            was to be measured and nothing pulled.
        centers, spreads, touched: the target layout, [C,2], [C], [C].
        kappa: the gradient balance of this segment; 1 without balancing, NaN where nothing was there to balance.
        seconds: what the policy took.
    """

    epoch: int
    policy: str
    edit: Edit
    validation_accuracy: float
    before: Array
    after: Array
    achieved: Array
    labels: Array
    predictions: Array
    sample_ids: Array
    centers: Array
    spreads: Array
    touched: Array
    kappa: float
    seconds: float
    unedited: Array = field(default_factory=lambda: np.empty((0, 2)))
    trust: Array = field(default_factory=lambda: np.empty(0))

    def to_dict(self) -> dict[str, Any]:
        """JSON values; positions rounded to 1e-4 view units, far below what a screen or a hand resolves."""
        data: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name == "edit":
                data["edit"] = value.to_json()
            elif isinstance(value, np.ndarray):
                data[f.name] = (np.round(value, 4) if value.dtype.kind == "f" else value).tolist()
            else:
                data[f.name] = value
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Interaction:
        values = dict(data)
        values.setdefault("unedited", np.full(np.shape(values["before"]), np.nan))
        values.setdefault("trust", np.ones(len(values["spreads"])))
        for name in ("before", "after", "achieved", "unedited", "centers", "spreads", "trust"):
            values[name] = np.array(values[name], dtype=np.float64)
        for name in ("labels", "predictions", "sample_ids"):
            values[name] = np.array(values[name], dtype=np.int64)
        values["touched"] = np.array(values["touched"], dtype=bool)
        values["edit"] = Edit.from_json(values["edit"])
        return cls(**values)


@dataclass(frozen=True, eq=False)
class TrialResult:
    """All that one finished trial leaves behind.

    Attributes:
        trial: with every default filled in.
        epochs: one float list per name in `EPOCH_COLUMNS`, one entry per epoch from 1.
        predictions: [n_test] int64 predicted classes on the test split (empty if the trial failed).
        confidences: [n_test] float32 their softmax probabilities.
    """

    trial: Trial
    outcome: Outcome
    epochs: dict[str, list[float]] = field(default_factory=dict)
    interactions: tuple[Interaction, ...] = ()
    predictions: Array = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    confidences: Array = field(default_factory=lambda: np.empty(0, dtype=np.float32))

    def to_dict(self) -> dict[str, Any]:
        return {
            "trial": self.trial.to_dict(),
            "outcome": self.outcome.to_dict(),
            "epochs": self.epochs,
            "interactions": [item.to_dict() for item in self.interactions],
            "predictions": self.predictions.tolist(),
            "confidences": [round(float(c), 6) for c in self.confidences],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TrialResult:
        return cls(
            trial=Trial.from_dict(data["trial"]),
            outcome=Outcome.from_dict(data["outcome"]),
            epochs=data["epochs"],
            interactions=tuple(Interaction.from_dict(item) for item in data["interactions"]),
            predictions=np.array(data["predictions"], dtype=np.int64),
            confidences=np.array(data["confidences"], dtype=np.float32),
        )


@dataclass(frozen=True, eq=False)
class RunSet:
    """The results of many trials, in the order given, and as tidy tables.

    Attributes:
        results: one per trial.
        info: how they were made: backend, device, epochs asked and run, seconds, versions.
    """

    results: tuple[TrialResult, ...]
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def outcomes(self) -> pd.DataFrame:
        """One row a trial: its fields, its key, its measures, and those against the twin."""
        return pd.DataFrame([{**_cells(r.trial), **r.outcome.to_dict()} for r in self.results])

    @property
    def epochs(self) -> pd.DataFrame:
        """One row a trial and epoch: key, epoch, and `EPOCH_COLUMNS`."""
        tables = [
            pd.DataFrame({"key": r.outcome.key, "epoch": np.arange(1, len(r.epochs["train_loss"]) + 1), **r.epochs})
            for r in self.results
            if r.epochs
        ]
        return (
            pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["key", "epoch", *EPOCH_COLUMNS])
        )

    @property
    def edits(self) -> pd.DataFrame:
        """One row an interaction: key, epoch, policy, number of gestures, the gestures as JSON, and the positions."""
        rows = []
        for result in self.results:
            for item in result.interactions:
                edit = item.edit.to_json()
                rows.append({"key": result.outcome.key, **vars(item), "edit": json.dumps(edit), "gestures": len(edit)})
        return pd.DataFrame(rows, columns=["key", *(f.name for f in fields(Interaction)), "gestures"])

    def to_json(self) -> str:
        return json.dumps({"info": self.info, "results": [r.to_dict() for r in self.results]})

    @classmethod
    def from_json(cls, text: str) -> RunSet:
        data = json.loads(text)
        return cls(tuple(TrialResult.from_dict(r) for r in data["results"]), data["info"])


def _cells(trial: Trial) -> dict[str, Any]:
    """The trial's fields as table cells: nested options as JSON, so that they can be grouped by."""
    row = {name: json.dumps(v) if isinstance(v, dict | list) else v for name, v in trial.to_dict().items()}
    return {**row, "policy": trial.policy_name}


def summary(results: Iterable[TrialResult]) -> dict[str, int]:
    """How many trials ended in which way."""
    counts: dict[str, int] = {}
    for result in results:
        counts[result.outcome.status] = counts.get(result.outcome.status, 0) + 1
    return counts
