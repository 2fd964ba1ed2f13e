"""Optuna announces each study that it makes, and which samplers are young: once a generation is too often."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import optuna


@contextmanager
def quiet(level: int = optuna.logging.WARNING) -> Iterator[None]:
    """Within it Optuna logs warnings only, or what `level` says, and nothing of what is experimental."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(level)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            warnings.filterwarnings("ignore", message="PedAnovaImportanceEvaluator computes")  # says its target's sign
            yield
    finally:
        optuna.logging.set_verbosity(before)
