"""Parsed data as .npy files, so that text, pickles and sound are read once.

A cached parse is a folder `parsed/NAME-KEY/` in the cache folder; its key is a hash of the source files' contents, the
parser's options and its version. It is written beside and renamed into place, so that it is there whole or not at all,
and its manifest lists every file's size, so that one that was cut short is made again. Deleting the folder is safe.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hill_sim.tasks.files import cache_root
from hill_sim.types import Array

_log = logging.getLogger(__name__)
_MANIFEST = "manifest.json"


def cached(
    name: str, version: int, key: Mapping[str, Any], make: Callable[[], Mapping[str, Array]]
) -> dict[str, Array]:
    """What `make()` returns, from the cache if it was made before. Arrays from the cache are read-only memory maps.

    Args:
        name: of the task, the beginning of the folder's name.
        version: of the parser; raise it whenever `make` would return something else for the same files.
        key: JSON values that `make`'s result depends on; content hashes stand for files.
        make: the arrays by name. They must not be of dtype object.
    """
    text = json.dumps([name, version, dict(key)], sort_keys=True)
    folder = cache_root() / "parsed" / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    found = _read(folder)
    if found is not None:
        return found
    made = dict(make())
    try:
        _write(folder, made)
    except OSError as error:  # a full or read-only disk costs time at the next start, not this result
        _log.info("%s is not cached: %s", name, error)
        return made
    return _read(folder) or made


def _read(folder: Path) -> dict[str, Array] | None:
    try:
        sizes = json.loads((folder / _MANIFEST).read_text())
        if any((folder / f"{name}.npy").stat().st_size != size for name, size in sizes.items()):
            return None
        return {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in sizes}
    except (OSError, ValueError):
        return None


def _write(folder: Path, arrays: Mapping[str, Array]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        sizes = {}
        for name, array in arrays.items():
            np.save(beside / f"{name}.npy", array, allow_pickle=False)
            sizes[name] = (beside / f"{name}.npy").stat().st_size
        (beside / _MANIFEST).write_text(json.dumps(sizes))
        if folder.exists() and _read(folder) is None:
            shutil.rmtree(folder)
        try:
            os.rename(beside, folder)
        except OSError:
            if _read(folder) is None:  # else another process was first, with the same content
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
