"""Handwritten digits, 8 x 8 pixels: real data that comes with scikit-learn, so that nothing is downloaded.

1,797 images of the test set of E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine
Learning Repository, 1998, doi 10.24432/C50P49 (CC BY 4.0).
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from hill_sim.errors import InvalidInput
from hill_sim.seeding import generator
from hill_sim.tasks.base import Recipe, Split, Task
from hill_sim.tasks.card import Card, described
from hill_sim.trial import Options
from hill_sim.types import Array

SPLIT_SEED = 0
"""The split, the subset and the wrong labels are part of the task: every trial of it sees the same."""

CARD = Card(
    title="Handwritten digits, 1,797 small images",
    input="64 pixels of an 8 x 8 image",
    source="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
    licence="CC BY 4.0",
    citation="E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, "
    "1998, doi 10.24432/C50P49",
)


@described(CARD)
def load(train_per_class: int | None = None, label_noise: float = 0.0) -> Task:
    """Digits, split 60 / 20 / 20 by class.

    Args:
        train_per_class: keep only this many training images of each class (1..100); None keeps all 1,077.
        label_noise: share of the training labels, in [0,1), that are replaced by a wrong class. Validation and test
            labels stay right.
    """
    pixels, labels = load_digits(return_X_y=True)
    rest, test = train_test_split(np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=SPLIT_SEED)
    train, validation = train_test_split(rest, test_size=0.25, stratify=labels[rest], random_state=SPLIT_SEED)
    train = _subset(train, labels, train_per_class)
    train_labels = _with_noise(labels[train], label_noise)

    def split(rows: Array, y: Array) -> Split:
        return Split(torch.from_numpy(pixels[rows] / 16.0).float(), torch.from_numpy(y).long())

    return Task(
        name="digits",
        train=split(train, train_labels),
        validation=split(validation, labels[validation]),
        test=split(test, labels[test]),
        class_names=tuple(str(digit) for digit in range(10)),
        recipe=Recipe(model="mlp", model_options=Options(hidden=(128, 64)), batch_size=64, lr=1e-3),
        card=CARD,
    )


def _subset(rows: Array, labels: Array, per_class: int | None) -> Array:
    if per_class is None:
        return rows
    if isinstance(per_class, bool) or not isinstance(per_class, int) or not 1 <= per_class <= 100:
        raise InvalidInput(f"task_options.train_per_class: {per_class!r} is not an integer in 1..100")
    rows = generator(SPLIT_SEED, "digits subset").permutation(rows)
    return np.sort(np.concatenate([rows[labels[rows] == digit][:per_class] for digit in range(10)]))


def _with_noise(labels: Array, share: float) -> Array:
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0.0 <= share < 1.0:
        raise InvalidInput(f"task_options.label_noise: {share!r} is not a number in [0, 1)")
    rng = generator(SPLIT_SEED, "digits label noise")
    wrong = rng.choice(len(labels), size=round(share * len(labels)), replace=False)
    noisy = labels.copy()
    noisy[wrong] = (labels[wrong] + rng.integers(1, 10, size=len(wrong))) % 10
    return noisy
