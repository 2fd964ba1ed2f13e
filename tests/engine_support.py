"""What the engine's tests share: small trials of every kind, and where two results differ."""

from __future__ import annotations

from typing import Any

import numpy as np

from hill_sim.engine import TrialResult
from hill_sim.trial import Options, Trial

FEW_DIGITS = {"train_per_class": 20, "label_noise": 0.1}


def small(**changes: Any) -> Trial:
    """A quick trial: 200 images, odd layer widths, batches that leave a remainder."""
    fields: dict[str, Any] = {
        "task_options": FEW_DIGITS,
        "model": "mlp",
        "model_options": {"hidden": (37, 13)},
        "batch_size": 16,
        "lr": 3e-3,
        "epochs": 5,
        "interactions": (1, 3),
    }
    return Trial(**{**fields, **changes})


def mixture(**changes: Any) -> list[Trial]:
    """Trials that differ in everything that may differ within a population, and in what splits one."""
    kinds: list[dict[str, Any]] = [
        {},
        {"policy": "ce_only"},
        {"alpha": 0.9, "lam": 0.0},
        {"objective": "hill-samples", "policy": "separation"},
        {"objective": "paper"},
        {"objective": "paper", "policy": "ce_scaled"},
        {"objective": "paper", "alpha": 1.0},
        {"objective": {"mixing": "convex", "hold_untouched": True}, "policy": "hold"},
        {"objective": {"coordinates": "raw", "balance": "none", "reduction": "mean"}},
        {"policy": "random"},
        {"lr": 1e-2, "weight_decay": 0.1},
        {"optimizer": "adamw", "weight_decay": 0.1},
        {"optimizer": "sgd", "lr": 0.05, "weight_decay": 1e-3},
        {"interactions": (1,)},
        {"interactions": (1, 4)},
        {"interactions": (2, 3, 4)},
        {"policy": ("compactness", "separation")},
        {"policy": ("compactness", "hold")},
        {"policy": "flip_flop"},
        {"projection": "pca"},
        {"projection": "lda"},
        {"projection": "random"},
        {"seed": 1},
        {"seed": 1, "policy": "merge_distinct"},
        {"user": {"motor_noise": 0.2, "effort": 3, "seed": 5}},
        {"view": {"source": "validation", "per_class": 3}},
        {"epochs": 4},
        {"epochs": 7},
        {"batch_size": 10},
        {"model_options": {"hidden": (32, 16)}},
        {"trust": "linear"},
        {"trust": {"rule": "step", "over": 3}, "interactions": (2, 3), "objective": "paper"},
        {"trust": "gradient", "policy": "swap"},
        {"trust": "gradient", "objective": "hill-samples"},
        {"trust": {"rule": "twin", "every": "interaction"}, "policy": "merge_distinct", "alpha": 0.9},
        {
            "trust": {"rule": "twin", "per": "class", "every": "interaction"},
            "policy": "merge_distinct",
            "alpha": 0.9,
            "interactions": (1, 3, 4),
        },
        {"trust": {"rule": "twin", "every": "epoch", "per": "gesture"}, "policy": "swap", "interactions": (1, 4)},
        {"trust": "twin", "policy": "swap", "interactions": (1, 4), "epochs": 7},
    ]
    return [small(**{**kind, **changes}) for kind in kinds]


def differences(a: TrialResult, b: TrialResult) -> list[str]:
    """Names of what differs in so much as a bit, for messages; what `same_result` answers with yes or no."""
    found = [name for name, value in a.outcome.to_dict().items() if not _same(value, b.outcome.to_dict()[name])]
    found += [name for name in a.epochs if not _same(a.epochs[name], b.epochs.get(name))]
    if len(a.interactions) != len(b.interactions):
        found.append(f"{len(a.interactions)} and {len(b.interactions)} interactions")
    for x, y in zip(a.interactions, b.interactions, strict=False):
        found += [f"{n} at {x.epoch}" for n in vars(x) if n != "seconds" and not _same(vars(x)[n], vars(y)[n])]
    return found


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, str) or a is None or b is None or hasattr(a, "gestures") or isinstance(a, Options):
        return a == b
    one, other = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    return one.shape == other.shape and np.array_equal(one, other, equal_nan=True)
