"""PAMAP2: what people do, from three motion sensors; one of the two data sets of the HILL study.

Nine people wore units at hand, chest and ankle, 100 Hz. Files `subject101.dat` .. `subject109.dat`, as published.

What is done, and what is not: the 27 channels acceleration (+-16 g), gyroscope, magnetometer; missing values are
interpolated between neighbours of the same run (one person, one activity, no gap in time) only; 100 Hz stay 100 Hz;
windows never cross a change of activity or a gap; people are in one split only; channels are standardised with the
training people's statistics alone.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from hill_sim.errors import InvalidInput
from hill_sim.tasks import options
from hill_sim.tasks.base import Recipe, Split, Task
from hill_sim.tasks.cache import cached
from hill_sim.tasks.card import Card, described
from hill_sim.tasks.fetch import download, unpack_zip
from hill_sim.tasks.files import digest_of, locate, missing
from hill_sim.tasks.pamap2_file import PERIOD, read_dat
from hill_sim.tasks.windows import Windows, fill_holes, run_ids
from hill_sim.trial import Options
from hill_sim.types import Array

_log = logging.getLogger(__name__)
PARSER_VERSION = 1
FOLDERS = ("PAMAP2_Dataset/Protocol", "pamap2/PAMAP2_Dataset/Protocol", "pamap2/Protocol", "pamap2", "Protocol")
EXCERPT_FOLDERS = ("pamap2_excerpt",)
URL = "https://archive.ics.uci.edu/static/public/231/pamap2+physical+activity+monitoring.zip"

ACTIVITIES = {
    0: "other", 1: "lying", 2: "sitting", 3: "standing", 4: "walking", 5: "running", 6: "cycling",
    7: "Nordic walking", 12: "ascending stairs", 13: "descending stairs", 16: "vacuum cleaning", 17: "ironing",
    24: "rope jumping",
}  # fmt: skip
SUBJECTS = tuple(range(1, 10))

CARD = Card(
    title="PAMAP2, activities from body-worn sensors",
    input="window of 27 motion channels x 200 samples (2 s)",
    source="https://archive.ics.uci.edu/dataset/231/pamap2+physical+activity+monitoring",
    licence="CC BY 4.0",
    citation="A. Reiss, D. Stricker, Introducing a New Benchmarked Dataset for Activity Monitoring, ISWC 2012; "
    "doi 10.24432/C5NW2H",
    groups="subject",
)

SMALL_CNN1D = Recipe(model="small_cnn1d", batch_size=64, lr=3e-3)
PAPER_CNN1D = Recipe(model="paper_cnn1d", batch_size=512, lr=1e-4, weight_decay=1e-5)
MLP = Recipe(model_options=Options(hidden=(128, 64)), batch_size=64, lr=1e-3)


def fetch(root: Path) -> list[Path]:
    """Download the 0.7 GB archive, check it, and unpack it below `root`."""
    # UCI gives no checksum; the archive's own CRCs are checked as it is unpacked.
    archive = download(URL, root / "pamap2.zip", None)
    return [path for path in unpack_zip(archive, root) if path.parent.name == "Protocol"]


def _file(subject: int) -> Path:
    path = locate(FOLDERS, f"subject{100 + subject}.dat")
    if path is None:
        excerpt = (
            " (the excerpt there is another task: pamap2-excerpt)"
            if locate(EXCERPT_FOLDERS, "subject101_excerpt.dat")
            else ""
        )
        raise missing("pamap2", f"subject{100 + subject}.dat{excerpt}", FOLDERS[:1], CARD)
    return path


@described(CARD, fetch, lambda: [_file(subject) for subject in range(1, 9)])
def load(
    train: Sequence[int] = (1, 2, 4, 5, 8),
    validation: Sequence[int] = (6,),
    test: Sequence[int] = (3, 7),
    window: int = 200,
    step: int = 50,
    other: bool = False,
) -> Task:
    """PAMAP2: 12 activities of people who are not in the training data, windows of 27 motion channels.

    Args:
        train, validation, test: the people (1..9) of each split; person 9 is in none by default, as in the study.
        window, step: length of a window and distance between two, in samples of 10 ms.
        other: keep the 13th class, the transient activities between the others.
    """
    parts = {"train": train, "validation": validation, "test": test}
    people = {split: options.members(split, who, SUBJECTS) for split, who in parts.items()}
    options.disjoint(**people)
    options.flag("other", other)
    wanted = sorted(subject for who in people.values() for subject in who)
    rows = recordings([_file(subject) for subject in wanted])
    runs = run_ids(rows["subject"], rows["activity"], breaks=rows["breaks"])
    windows = _windows(rows, runs, window, step, other)
    owners = rows["subject"][windows.starts]
    chosen = {split: Windows(windows.starts[np.isin(owners, who)], window) for split, who in people.items()}
    names = tuple(f"subject {100 + subject}" for subject in wanted)
    return _task("pamap2", rows, chosen, other, names, wanted, CARD, apart=True)


EXCERPT = dataclasses.replace(
    CARD,
    title="PAMAP2, an excerpt of 65 seconds",
    input="window of 27 motion channels x 50 samples (0.5 s)",
    note="65 seconds of data, 5 of each activity from one person: shows that things run, supports no conclusion",
)


def _excerpt_files() -> list[Path]:
    found = [locate(EXCERPT_FOLDERS, f"subject{100 + s}_excerpt.dat") for s in SUBJECTS]
    paths = [path for path in found if path is not None]
    if not paths:
        raise missing("pamap2-excerpt", "subject10X_excerpt.dat", EXCERPT_FOLDERS, EXCERPT, fetchable=False)
    return paths


@described(EXCERPT, find=_excerpt_files)
def load_excerpt(window: int = 50, step: int = 25) -> Task:
    """PAMAP2, an excerpt of 65 seconds in the published format: too small to conclude anything from.

    Every activity was done by one person, so people cannot be held out: of each run of 5 s the first 60 % train, the
    next 20 % validate, the last 20 % test.

    Args:
        window, step: in samples of 10 ms; a window must fit into a second.
    """
    _log.warning("pamap2-excerpt: %s", EXCERPT.note)
    rows = recordings(_excerpt_files())
    runs = run_ids(rows["subject"], rows["activity"], breaks=rows["breaks"])
    part = np.searchsorted([3, 4], _fifths(runs), side="right")  # 0 train, 1 validation, 2 test
    windows = _windows(rows, runs * 3 + part, window, step, other=True)
    which = part[windows.starts]
    chosen = {
        split: Windows(windows.starts[which == i], window) for i, split in enumerate(("train", "validation", "test"))
    }
    wanted = sorted({int(s) for s in np.unique(rows["subject"])})
    names = tuple(f"subject {100 + subject}" for subject in wanted)
    return _task("pamap2-excerpt", rows, chosen, True, names, wanted, EXCERPT, apart=False)


def recordings(paths: Sequence[Path]) -> dict[str, Array]:
    """All rows of the files: `values` [R,27] float32 with holes filled, `activity`, `subject` [R], `breaks` [R] bool.

    `breaks` is true where the time since the row before is not one period. Parsed once, then from the cache.
    """

    def parse() -> dict[str, Array]:
        tables = [read_dat(path, ACTIVITIES) for path in paths]
        subject = np.concatenate(
            [np.full(len(t["activity"]), _subject_of(p), np.int8) for p, t in zip(paths, tables, strict=True)]
        )
        activity = np.concatenate([t["activity"] for t in tables])
        breaks = np.concatenate([_gaps(t["time"]) for t in tables])
        values = np.concatenate([t.pop("values") for t in tables])
        fill_holes(values, run_ids(subject, activity, breaks=breaks))
        return {"values": values, "activity": activity, "subject": subject, "breaks": breaks}

    return cached("pamap2", PARSER_VERSION, {"files": digest_of(paths)}, parse)


def _subject_of(path: Path) -> int:
    return int(path.name[len("subject") :][:3]) - 100


def _gaps(time: Array) -> Array:
    """[R] bool: true where more or less than one period passed; the first row of a file always begins a run."""
    return np.abs(np.diff(time, prepend=-np.inf) - PERIOD) > PERIOD / 2


def _fifths(runs: Array) -> Array:
    """[R] in 0..4: in which fifth of its run each row is."""
    first = np.searchsorted(runs, runs, side="left")
    length = np.searchsorted(runs, runs, side="right") - first
    return (np.arange(len(runs)) - first) * 5 // length


def _windows(rows: dict[str, Array], runs: Array, window: int, step: int, other: bool) -> Windows:
    options.integer("window", window, 2)
    options.integer("step", step, 1)
    usable: Array = np.logical_not(np.isnan(rows["values"]).any(axis=1))
    if not other:
        usable = usable & (rows["activity"] != 0)
    windows = Windows.inside(runs, usable, window, step)
    for subject in np.unique(rows["subject"]):
        if not (rows["subject"][windows.starts] == subject).any():
            where = f"subject{100 + int(subject)}"
            raise InvalidInput(
                f"{where}: no run of one activity is {window} samples long without a gap: no valid window"
            )
    return windows


def _task(
    name: str, rows: dict[str, Array], chosen: dict[str, Windows], other: bool, groups: tuple[str, ...],
    people: Sequence[int], card: Card, apart: bool,
) -> Task:  # fmt: skip
    """Standardise with the training windows' statistics, and put everything into tensors."""
    kinds = [a for a in ACTIVITIES if other or a != 0]
    mean, deviation = chosen["train"].statistics(rows["values"])

    def split(windows: Windows) -> Split:
        labels = np.searchsorted(kinds, rows["activity"][windows.starts])
        owners = np.searchsorted(list(people), rows["subject"][windows.starts])
        x = windows.cut(rows["values"], mean, deviation)
        return Split(x, torch.from_numpy(labels), torch.from_numpy(owners))

    return Task(
        name=name,
        **{part: split(windows) for part, windows in chosen.items()},
        class_names=tuple(ACTIVITIES[kind] for kind in kinds),
        recipe=SMALL_CNN1D,
        other_recipes=(PAPER_CNN1D, MLP),
        source_labels=tuple(str(kind) for kind in kinds),
        group_names=groups,
        groups_apart=apart,
        card=card,
    )
