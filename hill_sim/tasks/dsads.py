"""Daily and Sports Activities: 19 activities from body-worn motion sensors, by people who are not in the training data.

25 Hz, nine axes a unit. Reads the archive's layout (`data/a01/p1/s01.txt`: 125 rows x 45 columns, five units) and one
CSV a person (`p1.csv`: columns activity, segment, then the channels of some units). Both give the same tensors where
they hold the same people, segments and units.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from hill_sim.tasks import options
from hill_sim.tasks.base import Recipe, Split, Task
from hill_sim.tasks.cache import cached
from hill_sim.tasks.card import Card, described
from hill_sim.tasks.fetch import download, unpack_zip
from hill_sim.tasks.files import damaged, data_root, digest_of, locate, missing, read_bytes
from hill_sim.tasks.windows import Windows, run_ids, summarised
from hill_sim.trial import Options
from hill_sim.types import Array

PARSER_VERSION = 1
URL = "https://archive.ics.uci.edu/static/public/256/daily+and+sports+activities.zip"
ARCHIVE_FOLDERS = ("dsads/data", "dsads", "data")
CSV_FOLDERS = ("dsads",)
SEGMENT = 125  # rows of a segment, 5 s
UNITS = ("T", "RA", "LA", "RL", "LL")  # torso, right and left arm, right and left leg: 9 columns each, in this order
AXES = tuple(f"{axis}{kind}" for kind in ("acc", "gyro", "mag") for axis in "xyz")
ACTIVITIES = (
    "sitting", "standing", "lying on back", "lying on right side", "ascending stairs", "descending stairs",
    "standing in an elevator", "moving in an elevator", "walking in a parking lot", "treadmill 4 km/h",
    "treadmill 4 km/h, inclined", "treadmill running 8 km/h", "stepper", "cross trainer", "exercise bike, horizontal",
    "exercise bike, vertical", "rowing", "jumping", "playing basketball",
)  # fmt: skip

CARD = Card(
    title="Daily and Sports Activities, body-worn sensors",
    input="window of 27 motion channels x 125 samples (5 s)",
    source="https://archive.ics.uci.edu/dataset/256/daily+and+sports+activities",
    licence="CC BY 4.0",
    citation="K. Altun, B. Barshan, O. Tuncel, Comparative study on classifying human activities with miniature "
    "inertial and magnetic sensors, Pattern Recognition 43(10), 2010; doi 10.24432/C5C59F",
    groups="subject",
)

SMALL_CNN1D = Recipe(model="small_cnn1d", batch_size=64, lr=3e-3)
MLP = Recipe(model_options=Options(hidden=(128, 64)), batch_size=64, lr=1e-3)


def fetch(root: Path) -> list[Path]:
    """Download the 0.2 GB archive, check it, and unpack it below `root`."""
    archive = download(URL, root / "dsads.zip", None)  # UCI gives no checksum; the archive's own CRCs are checked
    unpack_zip(archive, root / "dsads")
    return [archive, root / "dsads" / "data"]


def _segment_files(person: int, segments: int) -> list[Path]:
    folder = next((f for f in ARCHIVE_FOLDERS if (data_root() / f / "a01" / f"p{person}").is_dir()), None)
    if folder is None:
        raise missing("dsads", f"a01/p{person}/s01.txt nor p{person}.csv", ARCHIVE_FOLDERS[:1], CARD)
    paths = []
    for activity in range(1, len(ACTIVITIES) + 1):
        for segment in range(1, segments + 1):
            place = f"{folder}/a{activity:02d}/p{person}"
            found = locate([place], f"s{segment:02d}.txt")
            if found is None:
                raise missing("dsads", f"s{segment:02d}.txt", [place], CARD)
            paths.append(found)
    return paths


def _find(person: int, segments: int) -> list[Path]:
    """The person's CSV, or their segments in order of activity and time."""
    path = locate(CSV_FOLDERS, f"p{person}.csv")
    return _segment_files(person, segments) if path is None else [path]


@described(CARD, fetch, lambda: [_find(person, 10) for person in range(1, 7)])
def load(
    train: Sequence[int] = (1, 2, 3),
    validation: Sequence[int] = (4,),
    test: Sequence[int] = (5, 6),
    segments: int = 10,
    units: Sequence[str] = ("T", "RA", "RL"),
    window: int = 125,
    step: int = 25,
    features: str = "windows",
) -> Task:
    """Daily and Sports Activities: 19 activities of people who are not in the training data, from motion sensors.

    Args:
        train, validation, test: the people (1..8) of each split.
        segments: use the first so many of each activity's 60 segments of 5 s, which follow one another.
        units: some of T (torso), RA, LA (arms), RL, LL (legs).
        window, step: length of a window and distance between two, in samples of 40 ms.
        features: `windows` [channels, window] for convolutions, or `summary`, each channel's mean, deviation, minimum
            and maximum in a window: 4 numbers a channel, for MLPs.
    """
    people = {"train": train, "validation": validation, "test": test}
    people = {split: options.members(split, who, range(1, 9)) for split, who in people.items()}
    options.disjoint(**people)
    options.integer("segments", segments, 1, 60)
    options.members("units", units, UNITS)
    options.integer("window", window, 2, segments * SEGMENT)
    options.integer("step", step, 1)
    options.choice("features", features, ("windows", "summary"))
    wanted = sorted(person for who in people.values() for person in who)
    channels = [unit + "_" + axis for unit in units for axis in AXES]
    tables = {person: recordings(person, segments, channels) for person in wanted}
    values = np.concatenate([tables[person]["values"] for person in wanted])
    activity = np.concatenate([tables[person]["activity"] for person in wanted])
    person = np.repeat(wanted, [len(tables[p]["activity"]) for p in wanted])
    windows = Windows.inside(run_ids(person, activity), np.ones(len(values), dtype=bool), window, step)
    owners = person[windows.starts]
    mean, deviation = Windows(windows.starts[np.isin(owners, people["train"])], window).statistics(values)

    def split(name: str) -> Split:
        rows = np.isin(owners, people[name])
        starts = windows.starts[rows]
        x = Windows(starts, window).cut(values, mean, deviation)
        y = torch.from_numpy(activity[starts].astype(np.int64) - 1)
        groups = torch.from_numpy(np.searchsorted(wanted, owners[rows]))
        return Split(summarised(x) if features == "summary" else x, y, groups)

    card = CARD if features == "windows" else SUMMARY
    return Task(
        name="dsads",
        train=split("train"),
        validation=split("validation"),
        test=split("test"),
        class_names=ACTIVITIES,
        recipe=MLP if features == "summary" else SMALL_CNN1D,
        other_recipes=() if features == "summary" else (MLP,),
        source_labels=tuple(str(i + 1) for i in range(len(ACTIVITIES))),
        group_names=tuple(f"p{p}" for p in wanted),
        groups_apart=True,
        card=dataclasses.replace(card, input=card.input.replace("27", str(len(channels)))),
    )


SUMMARY = dataclasses.replace(
    CARD,
    title="Daily and Sports Activities, summarised windows",
    input="mean, deviation, minimum, maximum of 27 motion channels over 5 s",
)


@described(SUMMARY, fetch, lambda: [_find(person, 10) for person in range(1, 7)])
def load_summary(segments: int = 10, step: int = 25) -> Task:
    """Daily and Sports Activities, each window as its channels' mean, deviation, minimum and maximum: for MLPs.

    Args:
        segments, step: as in `dsads`.
    """
    task = load(segments=segments, step=step, features="summary")
    return dataclasses.replace(task, name="dsads-summary", recipe=dataclasses.replace(task.recipe, lr=3e-4))


def recordings(person: int, segments: int, channels: Sequence[str]) -> dict[str, Array]:
    """`values` [R,K] float32 and `activity` [R] int16 of one person, in order of activity and time.

    Raises:
        Unavailable: no file. InvalidInput: a damaged or foreign one; the message names file, row or column.
    """
    paths = _find(person, segments)
    # Segments are all called s01.txt ...: their order in the list tells them apart.
    key = {"person": person, "segments": segments, "channels": list(channels), "files": [digest_of([p]) for p in paths]}
    read = _read_csv if len(paths) == 1 else _read_segments
    return cached("dsads", PARSER_VERSION, key, lambda: read(paths, segments, channels))


def _read_segments(paths: Sequence[Path], segments: int, channels: Sequence[str]) -> dict[str, Array]:
    names = [unit + "_" + axis for unit in UNITS for axis in AXES]
    columns = [names.index(channel) for channel in channels]
    blocks = []
    for path in paths:
        table = _table(path, header=None)
        if table.shape != (SEGMENT, len(names)):
            given = f"{len(table)} rows of {table.shape[1]} columns"
            raise damaged(path, f"{given}; allowed: {SEGMENT} rows of {len(names)}, separated by commas")
        _check_numbers(path, table, first_row=1)
        blocks.append(table.to_numpy(dtype=np.float32)[:, columns])
    activity = np.repeat(np.arange(1, len(ACTIVITIES) + 1, dtype=np.int16), segments * SEGMENT)
    return {"values": np.concatenate(blocks), "activity": activity}


def _read_csv(paths: Sequence[Path], segments: int, channels: Sequence[str]) -> dict[str, Array]:
    [path] = paths
    table = _table(path, header=0)
    for column in ("activity", "segment", *channels):
        if column not in table:
            raise damaged(path, f"no column {column!r} (it has: {', '.join(map(str, table.columns))})")
    table = table[["activity", "segment", *channels]]
    _check_numbers(path, table, first_row=2)
    ids = np.repeat(np.arange(1, len(ACTIVITIES) + 1), segments)
    number = np.tile(np.arange(1, segments + 1), len(ACTIVITIES))
    table = table[table["segment"] <= segments].sort_values(["activity", "segment"], kind="stable")
    counts = table.groupby(["activity", "segment"]).size()
    for activity, segment in zip(ids, number, strict=True):
        if (rows := int(counts.get((activity, segment), 0))) != SEGMENT:
            raise damaged(path, f"activity {activity}, segment {segment}: {rows} rows, allowed: {SEGMENT}; truncated?")
    if len(counts) != len(ids):
        raise damaged(path, f"activities other than 1..{len(ACTIVITIES)}, or segments below 1")
    return {
        "values": np.ascontiguousarray(table[list(channels)].to_numpy(dtype=np.float32)),
        "activity": table["activity"].to_numpy(dtype=np.int16),
    }


def _table(path: Path, header: int | None) -> pd.DataFrame:
    data = read_bytes(path)
    try:
        return pd.read_csv(io.BytesIO(data), header=header)
    except (ValueError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise damaged(path, f"no table of comma-separated numbers ({str(error).splitlines()[0].strip()})") from None


def _check_numbers(path: Path, table: pd.DataFrame, first_row: int) -> None:
    """Raise for the first cell that holds no finite number."""
    for position, column in enumerate(table.columns):
        numbers = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float64)
        bad = ~np.isfinite(numbers)
        if bad.any():
            row = int(bad.argmax())
            name = column if isinstance(column, str) else position + 1
            value = table[column].iloc[row]
            shown = repr(value) if isinstance(value, str) else str(value)
            raise damaged(path, f"line {row + first_row}, column {name}: {shown} is not a number")
