"""The stored trials as one tidy table, made from their JSON column by column: no object is made for any trial."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hill_sim.engine.results import Outcome
from hill_sim.trial import Trial

_FIELDS = tuple(Trial.__dataclass_fields__)
_UNMEASURED = Outcome("", "").to_dict()
_CHUNK = 2_000  # trials in memory at a time as a table is written

Row: TypeAlias = tuple[str, str, str, str]
"""Case, label, JSON of the trial, JSON of its outcome."""


def write_table(rows: Iterable[Row], target: Path) -> int:
    """Write the trials as Parquet, a chunk at a time; returns how many there are."""
    rows, written = iter(rows), 0
    with pq.ParquetWriter(target, _SCHEMA) as parquet:
        while chunk := list(islice(rows, _CHUNK)):
            parquet.write_table(pa.Table.from_pandas(outcomes_table(chunk), schema=_SCHEMA, preserve_index=False))
            written += len(chunk)
    return written


def outcomes_table(rows: Iterable[Row]) -> pd.DataFrame:
    """One row a trial: case, label, the trial's fields (nested ones as JSON), its key, its measures. What an older
    hill-sim did not know has its default."""
    columns: dict[str, list[Any]] = {name: [] for name in ("case", "label", *_FIELDS, *_UNMEASURED)}
    one: dict[str, str] = {}  # equal texts are kept once
    for case, label, trial, outcome in rows:
        cells = json.loads(trial)
        if cells.keys() != Trial.__dataclass_fields__.keys():
            cells = Trial.from_dict(cells).to_dict()
        if isinstance(cells["policy"], list):
            cells["policy"] = " > ".join(cells["policy"])
        cells |= {"case": case, "label": label}
        for name in ("case", "label", *_FIELDS):
            value = cells[name]
            text = json.dumps(value) if isinstance(value, dict | list) else value
            columns[name].append(one.setdefault(text, text) if isinstance(text, str) else text)
        measured = json.loads(outcome)
        for name, default in _UNMEASURED.items():
            columns[name].append(measured.get(name, default))
    return pd.DataFrame(columns)


def _arrow(annotation: str) -> pa.DataType:
    if annotation.startswith("tuple"):
        return pa.list_(pa.float64())
    return {"int": pa.int64(), "float": pa.float64()}.get(annotation.removesuffix(" | None"), pa.string())


_SCHEMA = pa.schema(
    [
        ("case", pa.string()),
        ("label", pa.string()),
        *((f.name, _arrow(str(f.type))) for kind in (Trial, Outcome) for f in fields(kind)),
    ]
)
