"""A finished trial as a row of a database: JSON for what people query, compressed arrays for the rest."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hill_sim.engine.results import EPOCH_COLUMNS, Interaction, Outcome, TrialResult
from hill_sim.trial import Trial
from hill_sim.types import Array

COLUMNS = ("trial", "outcome", "epochs", "predictions", "confidences")


@dataclass(frozen=True)
class Row:
    """A result without its place in a sweep.

    Attributes:
        interactions: one compressed JSON text each.
        trial, outcome: JSON.
        epochs: float64 [len(EPOCH_COLUMNS), epochs], predictions: int32, confidences: float32; little endian, zlib.
    """

    key: str
    interactions: Sequence[bytes]
    status: str
    trial: str
    outcome: str
    epochs: bytes
    predictions: bytes
    confidences: bytes

    @property
    def columns(self) -> tuple[str, str, bytes, bytes, bytes]:
        """In the order of `COLUMNS`."""
        return self.trial, self.outcome, self.epochs, self.predictions, self.confidences


def pack(result: TrialResult, *, views: bool) -> Row:
    """The row of a result; without `views` the shown points are left out."""
    kept = result.interactions if views else [_without_view(item) for item in result.interactions]
    epochs = np.array([result.epochs[name] for name in EPOCH_COLUMNS] if result.epochs else [], dtype="<f8")
    return Row(
        key=result.trial.key,
        status=result.outcome.status,
        trial=result.trial.to_json(),
        outcome=json.dumps(result.outcome.to_dict()),
        epochs=_compressed(epochs),
        predictions=_compressed(np.asarray(result.predictions, dtype="<i4")),
        confidences=_compressed(np.asarray(result.confidences, dtype="<f4")),
        interactions=[zlib.compress(json.dumps(item.to_dict()).encode(), 1) for item in kept],
    )


def unpack(row: Row) -> TrialResult:
    return TrialResult(
        trial=Trial.from_json(row.trial),
        outcome=Outcome.from_dict(json.loads(row.outcome)),
        epochs=unpack_epochs(row.epochs),
        interactions=tuple(Interaction.from_dict(json.loads(zlib.decompress(item))) for item in row.interactions),
        predictions=np.frombuffer(zlib.decompress(row.predictions), dtype="<i4").astype(np.int64),
        confidences=np.frombuffer(zlib.decompress(row.confidences), dtype="<f4").astype(np.float32),
    )


def unpack_epochs(column: bytes) -> dict[str, list[float]]:
    """The curves of a row's `epochs` by name; empty if no epoch was trained."""
    curves = np.frombuffer(zlib.decompress(column), dtype="<f8").reshape(len(EPOCH_COLUMNS), -1)
    return dict(zip(EPOCH_COLUMNS, curves.tolist(), strict=True)) if curves.size else {}


def _compressed(array: Array) -> bytes:
    return zlib.compress(np.ascontiguousarray(array).tobytes(), 1)


def _without_view(item: Interaction) -> Interaction:
    points, ids = np.empty((0, 2)), np.empty(0, dtype=np.int64)
    shown = dict.fromkeys(("before", "after", "achieved", "unedited"), points)
    return replace(item, **shown, labels=ids, predictions=ids, sample_ids=ids)  # type: ignore[arg-type]
