"""Read one PAMAP2 .dat file: 54 columns of text, by Arrow's CSV reader, in blocks, keeping the 29 columns of use.

Columns from 1: 1 timestamp (s), 2 activity id, 3 heart rate, then per unit (hand 4-20, chest 21-37, ankle 38-54):
1 temperature, 2-4 acceleration +-16 g (m/s^2), 5-7 acceleration +-6 g, 8-10 gyroscope (rad/s), 11-13 magnetometer
(uT), 14-17 orientation (invalid in the original). NaN stands for a value that did not arrive.
"""

from __future__ import annotations

import lzma
import re
from collections.abc import Container
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv

from hill_sim.tasks.files import damaged, open_binary
from hill_sim.types import Array

COLUMNS = 54
PERIOD = 0.01  # s
CHANNELS = tuple(unit + offset for unit in (3, 20, 37) for offset in (1, 2, 3, 7, 8, 9, 10, 11, 12))
"""The 27 columns of use, from 0: three units x (acceleration +-16 g, gyroscope, magnetometer) x (x, y, z)."""

_BLOCK = 8 << 20


def read_dat(path: Path, activities: Container[int]) -> dict[str, Array]:
    """`time` [R] float64, `activity` [R] int8, `values` [R,27] float32 with NaN where nothing arrived.

    Raises:
        InvalidInput: a truncated file, a row with another number of columns, text that is no number, an activity id
            that is not among `activities`; the message names file and row.
    """
    names = [str(i) for i in range(COLUMNS)]
    kept = ["0", "1", *(str(c) for c in CHANNELS)]
    types = {"0": pa.float64(), "1": pa.int16()} | {str(c): pa.float32() for c in CHANNELS}
    times, ids, values, rows = [], [], [], 0
    try:
        with open_binary(path) as stream:
            reader = csv.open_csv(
                stream,
                csv.ReadOptions(use_threads=False, block_size=_BLOCK, column_names=names),
                csv.ParseOptions(delimiter=" ", quote_char=False),
                csv.ConvertOptions(column_types=types, include_columns=kept, null_values=["NaN", "nan"]),
            )
            for batch in reader:
                block = np.empty((len(CHANNELS), batch.num_rows), dtype=np.float32)
                for i in range(len(CHANNELS)):
                    block[i] = batch.column(i + 2).to_numpy(zero_copy_only=False)
                times.append(batch.column(0).to_numpy(zero_copy_only=False))
                ids.append(batch.column(1).to_numpy(zero_copy_only=False))
                values.append(np.ascontiguousarray(block.T))
                rows += batch.num_rows
    except (EOFError, lzma.LZMAError):
        raise damaged(
            path, f"row {rows + 1}: the compressed data are damaged or end too early; fetch it again"
        ) from None
    except pa.ArrowInvalid as error:
        raise damaged(path, _explained(str(error))) from None
    except OSError as error:
        raise damaged(path, f"cannot be read: {error}") from None
    if not rows:
        raise damaged(path, "no rows")
    time, activity = np.concatenate(times), np.concatenate(ids)
    _check(path, "timestamp", np.isnan(time), time)
    _check(path, "activity id", ~np.isin(activity, list(_ids(activities))), activity)
    return {"time": time, "activity": activity.astype(np.int8), "values": np.concatenate(values)}


def _ids(activities: Container[int]) -> list[int]:
    return [i for i in range(128) if i in activities]


def _check(path: Path, field: str, bad: Array, column: Array) -> None:
    if bad.any():
        row = int(bad.argmax())
        raise damaged(path, f"row {row + 1}: {field} {column[row]} is not one of PAMAP2's")


def _explained(message: str) -> str:
    """Arrow's message about a row in our words."""
    row = re.search(r"Row #(\d+)", message)
    where = f"row {row[1]}: " if row else ""
    counted = re.search(r"Expected (\d+) columns, got (\d+)", message)
    if counted:
        return f"{where}{counted[2]} columns, allowed: {COLUMNS} separated by single spaces; truncated or foreign?"
    value = re.search(r"In CSV column #(\d+).*invalid value '(.*?)'", message, re.DOTALL)
    if value:
        return f"{where}column {int(value[1]) + 1}: {value[2]!r} is not a number of the kind that stands there"
    return message.splitlines()[0]
