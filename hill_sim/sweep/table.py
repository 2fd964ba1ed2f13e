"""The stored trials as one tidy table, made from their JSON column by column: no object is made for any trial."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pandas as pd

from hill_sim.engine.results import Outcome
from hill_sim.trial import Trial

_FIELDS = tuple(Trial.__dataclass_fields__)
_UNMEASURED = Outcome("", "").to_dict()


def outcomes_table(rows: Iterable[tuple[str, str, str, str]]) -> pd.DataFrame:
    """One row a trial: case, label, the trial's fields (nested ones as JSON), its key, its measures.

    Args:
        rows: case, label, JSON of the trial, JSON of its outcome. What an older hill-sim did not know has its default.
    """
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
