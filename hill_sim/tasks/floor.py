"""The floor of a task: what a linear model makes of it. A network that does no better has learnt nothing of shape."""

from __future__ import annotations

import warnings

import numpy as np

from hill_sim.seeding import generator
from hill_sim.tasks.base import Split, Task
from hill_sim.types import Array

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)
MOST = 10_000  # training samples; a linear model of CIFAR-10's pixels gains little from more, and takes minutes


def linear_floor(task: Task) -> float:
    """Test accuracy in [0,1] of multinomial logistic regression on the flattened inputs.

    The strength of its L2 penalty is the one of `STRENGTHS` that is best on the validation split. At most `MOST`
    training samples are used, drawn at random and the same each time.
    """
    from sklearn.linear_model import LogisticRegression

    x, y = _flat(task.train)
    if len(y) > MOST:
        rows = np.sort(generator(0, "floor").permutation(len(y))[:MOST])
        x, y = x[rows], y[rows]
    best, score = None, -1.0
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=200)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it need not converge to be a floor
            model.fit(x, y)
        accuracy = float(model.score(*_flat(task.validation)))
        if accuracy > score:
            best, score = model, accuracy
    assert best is not None
    return float(best.score(*_flat(task.test)))


def _flat(split: Split) -> tuple[Array, Array]:
    return split.x.flatten(1).numpy(), split.y.numpy()
