"""States that many trials start from, kept across calls of `simulate`: a cross-entropy prefix is trained once.

Within one call the planner shares prefixes. A sweep makes many calls, and an adaptive search comes back to the same
seeds in every generation: this cache keeps the state of a replica that has seen cross-entropy alone, at the epochs at
which something else may begin. It holds the bits of the state, so a trial that starts from it equals one that does not.

Two levels, each with a limit, least recently used out first: memory (per process) and a folder (shared by processes),
which takes a tenth of what its disk has free at most.
An entry's name is the hash of all that the state depends on. It is one .npz with a checksum after it, written beside
and renamed into place, so it is there whole or not at all; one that is damaged is trained again.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import shutil
import tempfile
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hill_sim.types import Array

_log = logging.getLogger(__name__)
_SUFFIX = ".npz"
_CHECKSUM = hashlib.sha256().digest_size

MEMORY_BYTES = 256 * 2**20
DISK_BYTES = 1024 * 2**20


@dataclass(frozen=True, eq=False)
class Prefix:
    """One replica after some epochs of cross-entropy alone.

    Attributes:
        params, first, second, buffers: its rows of the arena; steps: optimiser steps taken.
        epochs: [epochs, columns] its curve from epoch 1 on.
        projections: the frozen (weight [2,H], bias [2]) by kind.
    """

    params: Tensor
    first: Tensor
    second: Tensor
    buffers: Tensor
    steps: int
    epochs: Array
    projections: dict[str, tuple[Tensor, Tensor]]

    @property
    def size(self) -> int:
        """Bytes."""
        tensors = [self.params, self.first, self.second, self.buffers]
        tensors += [tensor for pair in self.projections.values() for tensor in pair]
        return self.epochs.nbytes + sum(tensor.nbytes for tensor in tensors)


def prefix_name(*parts: object) -> str:
    """The name of what depends on `parts`, which must have a `repr` that says all."""
    return hashlib.sha256(repr((torch.__version__, *parts)).encode()).hexdigest()[:32]


class PrefixCache:
    """Prefixes by name, in memory and, if there is a folder, on disk.

    Args:
        folder: made when first needed; None keeps them in memory alone.
        memory_bytes, disk_bytes: limits. An entry larger than a limit is not kept there.
    """

    def __init__(
        self, folder: Path | None = None, *, memory_bytes: int = MEMORY_BYTES, disk_bytes: int = DISK_BYTES
    ) -> None:
        self.folder, self._memory_bytes, self._disk_bytes = folder, memory_bytes, disk_bytes
        self._kept: OrderedDict[str, Prefix] = OrderedDict()
        self._held = 0
        self._room = 0  # bytes that may be written before the folder is looked through again

    def get(self, name: str) -> Prefix | None:
        """The prefix of that name, on the CPU, or None."""
        if name in self._kept:
            self._kept.move_to_end(name)
            return self._kept[name]
        if self.folder is None:
            return None
        path = self.folder / (name + _SUFFIX)
        try:
            prefix = _unpack(path.read_bytes())
            os.utime(path)  # used now: the last to be dropped
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _log.warning("%s cannot be read and is made again: %s", path, error)
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        self._remember(name, prefix)
        return prefix

    def put(self, name: str, prefix: Prefix) -> None:
        """Keep a prefix; one of that name that is there already stays."""
        if name in self._kept:
            return
        self._remember(name, prefix)
        if self.folder is None or prefix.size > self._disk_bytes or (self.folder / (name + _SUFFIX)).exists():
            return
        try:
            self._write(self.folder, name, _pack(prefix))
        except OSError as error:  # a full or read-only disk costs time later, not this result
            _log.info("prefix not kept in %s: %s", self.folder, error)

    def _remember(self, name: str, prefix: Prefix) -> None:
        if prefix.size > self._memory_bytes:
            return
        self._kept[name] = prefix
        self._held += prefix.size
        while self._held > self._memory_bytes:
            self._held -= self._kept.popitem(last=False)[1].size

    def _write(self, folder: Path, name: str, content: bytes) -> None:
        folder.mkdir(exist_ok=True)  # but not its parent: a run folder that was deleted stays deleted
        if not self._fits(folder, len(content)):
            return
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".", suffix=".part", delete=False) as stream:
            part = Path(stream.name)
            try:
                stream.write(content)
                stream.close()
                os.replace(part, folder / (name + _SUFFIX))
            except BaseException:
                part.unlink(missing_ok=True)
                raise

    def _fits(self, folder: Path, size: int) -> bool:
        """Make room for `size` bytes: at the limit, drop the least recently used quarter. False if they never fit.

        The limit is lower where the disk is nearly full: what is kept here must not take the place of results. The
        folder is looked through only now and then; other processes may write and drop there too, so each uses a quarter
        of what it found free before it looks again.
        """
        self._room -= size
        if self._room >= 0:
            return True
        found = []
        for path in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                stat = path.stat()
                found.append((stat.st_mtime_ns, stat.st_size, path))
        held = sum(bytes_there for _, bytes_there, _ in found)
        limit = min(self._disk_bytes, (held + shutil.disk_usage(folder).free) // 10)
        if held + size > limit * 15 // 16:
            for _, bytes_there, path in sorted(found):
                if held + size <= limit * 3 // 4:
                    break
                path.unlink(missing_ok=True)
                held -= bytes_there
        self._room = max(limit - held - size, 0) // 4
        return held + size <= limit


def _pack(prefix: Prefix) -> bytes:
    arrays = {name: getattr(prefix, name).numpy() for name in ("params", "first", "second", "buffers")}
    for kind, (weight, bias) in prefix.projections.items():
        arrays |= {f"weight {kind}": weight.numpy(), f"bias {kind}": bias.numpy()}
    stream = io.BytesIO()
    np.savez(stream, steps=np.int64(prefix.steps), epochs=prefix.epochs, **arrays)
    content = stream.getvalue()
    return content + hashlib.sha256(content).digest()


def _unpack(content: bytes) -> Prefix:
    """Raises ValueError for anything but what `_pack` made: a damaged .npz may look whole, and lack a projection."""
    content, checksum = content[:-_CHECKSUM], content[-_CHECKSUM:]
    if hashlib.sha256(content).digest() != checksum:
        raise ValueError("it is damaged")
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    kinds = [name.removeprefix("weight ") for name in arrays if name.startswith("weight ")]
    projections = {
        kind: (torch.from_numpy(arrays[f"weight {kind}"]), torch.from_numpy(arrays[f"bias {kind}"])) for kind in kinds
    }
    rows = {name: torch.from_numpy(arrays[name]) for name in ("params", "first", "second", "buffers")}
    return Prefix(**rows, steps=int(arrays["steps"]), epochs=arrays["epochs"], projections=projections)


@lru_cache(maxsize=8)
def cache_of(folder: str) -> PrefixCache:
    """This process's cache in a folder; in memory alone where the folder's parent is not to be seen, as on a machine
    that does not share the disk."""
    return PrefixCache(Path(folder) if Path(folder).parent.is_dir() else None)
