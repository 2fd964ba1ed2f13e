"""What people really take for what: class confusion matrices, from CIFAR-10H's counts or a user's own.

CIFAR-10H (Peterson, Battleday, Griffiths, Russakovsky, ICCV 2019): for each of the 10,000 test images of CIFAR-10 how
many of some 50 people chose each class. The confusion of class c with class k is the mean over the images of class c
of the share of people who chose k:

    Q[c, k] = mean over images i with label c of counts[i, k] / sum_j counts[i, j]                 rows sum to 1

A user's own matrix may be a confusion matrix or any similarity of classes: non-negative, rows are divided by their sum.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from hill_sim.errors import InvalidInput, Unavailable
from hill_sim.tasks import cifar10
from hill_sim.tasks.card import Card
from hill_sim.tasks.fetch import download
from hill_sim.tasks.files import bytes_stream, damaged, data_root, locate, missing, read_text
from hill_sim.tasks.user_file import user_file
from hill_sim.types import Array

CIFAR10H = "cifar10h"
FOLDERS = ("cifar10", "cifar10h", ".")
URL = "https://raw.githubusercontent.com/jcpeterson/cifar-10h/master/data/cifar10h-counts.npy"
CONTENT_SHA256 = "e3a314fdecb1f8aeb680f50fde8682d83065d5191d8fc76f0bdc86333bd7fefe"
"""Of the counts as int64 in C order: the same however the file was written."""
CARD = Card(
    title="CIFAR-10H, what people take CIFAR-10's test images for",
    input="counts of 47 to 63 people, 10 classes",
    source="https://github.com/jcpeterson/cifar-10h",
    licence="CC BY-NC-SA 4.0",
    citation="J. C. Peterson, R. M. Battleday, T. L. Griffiths, O. Russakovsky, Human uncertainty makes classification "
    "more robust, ICCV 2019",
)


@dataclass(frozen=True, eq=False)
class Confusion:
    """How often people take class c for class k.

    Attributes:
        matrix: [C,C] float64, rows sum to 1, read-only.
        class_names: of its rows and columns; empty if the file names none: then they are the task's, in its order.
        source: what to call it in messages.
    """

    matrix: Array
    class_names: tuple[str, ...] = ()
    source: str = ""

    def of(self, class_names: Sequence[str]) -> Array:
        """The matrix [C,C] in the order of a task's classes.

        Raises:
            InvalidInput: it is about other classes, or another number of them.
        """
        if self.class_names:
            if set(self.class_names) != set(class_names):
                odd = sorted(set(class_names) ^ set(self.class_names))[0]
                about = f"is about {_listed(self.class_names)}; the task's classes are {_listed(class_names)}"
                raise InvalidInput(f"user.confusion: {self.source} {about} ({odd!r} is in one only)")
            order = [self.class_names.index(name) for name in class_names]
            return self.matrix[np.ix_(order, order)]
        if len(self.matrix) != len(class_names):
            given = f"{len(self.matrix)} x {len(self.matrix)}, the task has {len(class_names)} classes"
            raise InvalidInput(f"user.confusion: {self.source} is {given}")
        return self.matrix


def load_confusion(name: str) -> Confusion:
    """`cifar10h`, or the path of a .npy or .csv of one's own (from here or below the data root).

    A .npy is [C,C] in the order of the task's classes. A .csv may have a header of class names (and then the same
    names in its first column); without one it is [C,C] as well.

    Raises:
        Unavailable: CIFAR-10H or CIFAR-10 are not there. InvalidInput: a damaged file, or no such matrix.
    """
    return _cifar10h(str(data_root())) if name == CIFAR10H else _own(user_file(name, "user.confusion"))


def fetch(root: Path) -> list[Path]:
    """Download the counts (0.8 MB)."""
    path = download(URL, root / FOLDERS[0] / "cifar10h-counts.npy", None)
    counts = _npy(path)
    if hashlib.sha256(np.ascontiguousarray(counts, dtype=np.int64).data).hexdigest() != CONTENT_SHA256:
        path.unlink()
        raise Unavailable(f"{URL}: not the counts that were published in 2019; nothing kept")
    return [path]


def class_confusion(counts: Array, labels: Array) -> Array:
    """Q [C,C] of the formula above, from counts [N,C] and labels [N] in 0..C-1."""
    shares = counts / counts.sum(axis=1, keepdims=True)
    return np.stack([shares[labels == c].mean(axis=0) for c in range(counts.shape[1])])


@lru_cache(maxsize=2)
def _cifar10h(root: str) -> Confusion:
    path = locate(FOLDERS, "cifar10h-counts.npy")
    if path is None:
        raise missing("cifar10h", "cifar10h-counts.npy", FOLDERS[:1], CARD)
    counts = _npy(path)
    labels = cifar10.arrays()["test_y"]
    if counts.shape != (len(labels), 10) or counts.dtype.kind not in "iu" or (counts.sum(axis=1) < 1).any():
        given = f"shape {list(counts.shape)} and type {counts.dtype}"
        raise damaged(path, f"{given}; allowed: counts [{len(labels)}, 10] with at least one person an image")
    return _checked(class_confusion(counts, labels), cifar10.CLASSES, CIFAR10H)


def _own(path: Path) -> Confusion:
    kind = Path(path.name.removesuffix(".xz")).suffix
    if kind == ".npy":
        return _checked(_npy(path), (), str(path))
    if kind != ".csv":
        raise InvalidInput(f"user.confusion: {path}: kind {kind or 'none'!r}, allowed: .npy, .csv")
    rows = [row for row in csv.reader(io.StringIO(read_text(path))) if row]
    names: tuple[str, ...] = ()
    if rows and not _are_numbers(rows[0][1:]):
        names = tuple(name.strip() for name in rows[0][1:])
        beside = tuple(row[0].strip() for row in rows[1:])
        if beside != names:
            raise damaged(
                path, f"rows are {_listed(beside)}, columns {_listed(names)}; allowed: the same, in one order"
            )
        rows = [row[1:] for row in rows[1:]]
    for line, row in enumerate(rows):
        if len(row) != len(rows) or not _are_numbers(row):
            raise damaged(path, f"row {line + 1}: {len(row)} fields, allowed: {len(rows)} numbers (a square matrix)")
    return _checked(np.array(rows, dtype=np.float64), names, str(path))


def _npy(path: Path) -> Array:
    try:
        array: Array = np.load(bytes_stream(path), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise damaged(path, f"not a whole .npy of numbers ({(str(error).splitlines() or [''])[0]})") from None
    return array


def _checked(matrix: Array, names: tuple[str, ...], source: str) -> Confusion:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.dtype.kind not in "fiu" or not matrix.size:
        raise InvalidInput(f"user.confusion: {source}: {matrix.dtype} {list(matrix.shape)}, allowed: numbers [C, C]")
    matrix = matrix.astype(np.float64)
    bad = ~np.isfinite(matrix) | (matrix < 0)
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        value = matrix[row, column]
        raise InvalidInput(
            f"user.confusion: {source}: row {row + 1}, column {column + 1}: {value} is not a number >= 0"
        )
    total = matrix.sum(axis=1, keepdims=True)
    if (total == 0).any():
        raise InvalidInput(f"user.confusion: {source}: row {int(total.argmin()) + 1} is all 0")
    matrix = matrix / total
    matrix.flags.writeable = False
    return Confusion(matrix, names, source)


def _are_numbers(fields: Sequence[str]) -> bool:
    try:
        return bool([float(field) for field in fields])
    except ValueError:
        return False


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
