"""Read a user's own samples: .npz, a pair of .npy, CSV or TSV (plain or .xz), Parquet."""

from __future__ import annotations

import csv
import io
import math
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from hill_sim.errors import InvalidInput, unknown
from hill_sim.tasks.files import bytes_stream, damaged
from hill_sim.types import Array

TABLES = (".csv", ".tsv", ".tab", ".parquet", ".pq")
KINDS = (".npz", ".npy", *TABLES)


@dataclass(frozen=True, eq=False)
class Samples:
    """What a file holds: x [N, ...] real numbers, and labels, groups, splits [N] as text (None where not asked for)."""

    x: Array
    labels: tuple[str, ...]
    groups: tuple[str, ...] | None = None
    splits: tuple[str, ...] | None = None


def kind_of(path: Path) -> str:
    """The file's suffix, `.xz` aside.

    Raises:
        InvalidInput: a kind of file that is not read.
    """
    kind = Path(path.name.removesuffix(".xz")).suffix.lower()
    if kind not in KINDS:
        raise InvalidInput(f"{path}: kind {kind or 'none'!r}, allowed: {', '.join(KINDS)}")
    return kind


def read_npz(path: Path, x: str, label: str, group: str | None, split: str | None) -> Samples:
    """Arrays of an .npz by their names."""
    stream = bytes_stream(path)
    if not zipfile.is_zipfile(stream):  # NumPy would take it for a pickle, and advise to trust it
        raise damaged(path, "not a whole .npz of plain arrays (it is no zip archive); truncated or foreign?")
    stream.seek(0)
    try:
        with np.load(stream, allow_pickle=False) as archive:
            found = {}
            for name in (x, label, group, split):
                if name is not None and name not in archive:
                    raise InvalidInput(f"{path}: {unknown('array', name, archive.files)}")
                if name is not None:
                    found[name] = archive[name]
    except InvalidInput:
        raise
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise damaged(path, f"not a whole .npz of plain arrays ({_first_line(error)})") from None
    return _samples(path, found[x], found[label], found.get(group or ""), found.get(split or ""))


def read_npy(x: Path, y: Path, group: Path | None, split: Path | None) -> Samples:
    """Arrays of .npy files, one a file; x is a memory map."""
    rest = [None if path is None else _npy(path, None) for path in (y, group, split)]
    assert rest[0] is not None
    return _samples(x, _npy(x, "r"), rest[0], rest[1], rest[2])


def _npy(path: Path, mmap: Any) -> Array:
    try:
        array: Array = np.load(path, mmap_mode=mmap, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise damaged(path, f"not a whole .npy of a plain array ({_first_line(error)})") from None
    return array


def read_table(path: Path, label: str, group: str | None, split: str | None, features: Sequence[str] | None) -> Samples:
    """Columns of a CSV, TSV or Parquet file. Without `features` all columns are, but label, group and split."""
    parquet = kind_of(path) in (".parquet", ".pq")
    names = pa_parquet_names(path) if parquet else _csv_names(path)
    for name in (label, group, split, *(features or ())):
        if name is not None and name not in names:
            raise InvalidInput(f"{path}: {unknown('column', name, names)}")
    roles = [name for name in (label, group, split) if name is not None]
    if len(set(roles)) < len(roles):
        raise InvalidInput(f"{path}: label, group and split are {roles}; allowed: three different columns")
    chosen = [name for name in names if name not in roles] if features is None else list(features)
    if not chosen or set(chosen) & set(roles):
        raise InvalidInput(f"{path}: features are {chosen}; allowed: at least one column, and none of {roles}")
    table = _parquet(path, [*chosen, *roles]) if parquet else _csv(path, names, chosen, roles)
    x = np.empty((table.num_rows, len(chosen)), dtype=np.float32)
    for place, name in enumerate(chosen):
        x[:, place] = _numbers(path, name, table.column(name))

    def texts(name: str) -> Array:
        return np.array(table.column(name).to_pylist(), dtype=object)

    return _samples(path, x, texts(label), texts(group) if group else None, texts(split) if split else None, chosen)


def _numbers(path: Path, name: str, column: Any) -> Array:
    try:
        return np.asarray(column.cast(pa.float32(), safe=False).to_numpy(), dtype=np.float32)  # missing becomes NaN
    except pa.ArrowException:
        raise InvalidInput(
            f"{path}: column {name!r} holds {column.type}, not numbers; choose with features=[...]"
        ) from None


def pa_parquet_names(path: Path) -> list[str]:
    """The columns of a Parquet file."""
    try:
        return list(pa_parquet.read_schema(path).names)
    except (pa.ArrowException, OSError) as error:
        raise damaged(path, f"not a whole Parquet file ({_first_line(error)})") from None


def _parquet(path: Path, columns: Sequence[str]) -> pa.Table:
    try:
        return pa_parquet.read_table(path, columns=list(columns), use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise damaged(path, f"not a whole Parquet file ({_first_line(error)})") from None


def _delimiter(path: Path) -> str:
    return "\t" if kind_of(path) in (".tsv", ".tab") else ","


def _csv_names(path: Path) -> list[str]:
    try:
        first = io.TextIOWrapper(bytes_stream(path), encoding="utf-8-sig").readline()
    except UnicodeDecodeError:
        raise damaged(path, "line 1 is not UTF-8") from None
    names = next(csv.reader([first], delimiter=_delimiter(path)), [])
    if not names:
        raise damaged(path, "line 1: no header; allowed: the columns' names")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise damaged(path, f"line 1: the column {twice!r} stands there twice")
    return names


def _csv(path: Path, names: Sequence[str], numbers: Sequence[str], texts: Sequence[str]) -> pa.Table:
    types: dict[str, Any] = dict.fromkeys(numbers, pa.float32()) | dict.fromkeys(texts, pa.string())
    try:
        return pa_csv.read_csv(
            bytes_stream(path),
            pa_csv.ReadOptions(use_threads=False, column_names=list(names), skip_rows=1),
            pa_csv.ParseOptions(delimiter=_delimiter(path), newlines_in_values=True),
            pa_csv.ConvertOptions(column_types=types, include_columns=[*numbers, *texts]),
        )
    except pa.ArrowInvalid as error:
        raise damaged(path, _explained(str(error), names)) from None


def _explained(message: str, names: Sequence[str]) -> str:
    """Arrow's message in our words; its rows are lines of the file, the header among them."""
    row = re.search(r"Row #(\d+)", message)
    where = f"line {row[1]}: " if row else ""
    counted = re.search(r"Expected (\d+) columns, got (\d+)", message)
    if counted:
        return f"{where}{counted[2]} fields, allowed: {counted[1]}; truncated?"
    value = re.search(r"In CSV column #(\d+).*invalid value '(.*?)'", message, re.DOTALL)
    if value:
        hint = "choose the numeric columns with features=[...]"
        return f"{where}column {names[int(value[1])]!r}: {value[2]!r} is not a number; {hint}"
    return message.splitlines()[0]


def _samples(
    path: Path, x: Array, y: Array, group: Array | None, split: Array | None, columns: Sequence[str] | None = None
) -> Samples:
    if x.ndim < 2 or x.dtype.kind not in "fiub":
        raise damaged(path, f"samples have shape {list(x.shape)} and type {x.dtype}; allowed: [N, ...], real numbers")
    if not len(x):
        raise damaged(path, "no samples")
    texts = {}
    for what, values in (("label", y), ("group", group), ("split", split)):
        if values is not None:
            if values.ndim != 1 or len(values) != len(x):
                raise damaged(path, f"{what}s have shape {list(values.shape)}, allowed: [{len(x)}], one a sample")
            texts[what] = tuple(_text(path, what, row, value) for row, value in enumerate(values.tolist()))
    _check_finite(path, x, columns)
    return Samples(x, texts["label"], texts.get("group"), texts.get("split"))


def _check_finite(path: Path, x: Array, columns: Sequence[str] | None) -> None:
    """Raise for the first number that is missing or infinite; in blocks, to hold no mask as large as the data."""
    for start in range(0, len(x), 4096):
        bad = ~np.isfinite(x[start : start + 4096])
        if bad.any():
            row, *place = (int(i) for i in np.argwhere(bad)[0])
            feature = f"column {columns[place[0]]!r}" if columns else f"feature {place}"
            value = x[(start + row, *place)]
            raise damaged(path, f"row {start + row + 1}, {feature}: {value} is not a finite number")


def _text(path: Path, what: str, row: int, value: Any) -> str:
    """A label as text: 3, 3.0 and True by their shortest names."""
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        value = int(value)
    if value is None or value == "" or (isinstance(value, float) and not math.isfinite(value)):
        raise damaged(path, f"row {row + 1}: the {what} is missing")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
