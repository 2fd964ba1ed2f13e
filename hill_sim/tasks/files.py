"""Where data lie, and how their files are opened: plain or `.xz`, with one line for whatever is missing or damaged.

The data root is `HILL_SIM_DATA` (`--data-root` sets it), by default `data/` in the cache folder. The cache folder is
`hill-sim/` in `XDG_CACHE_HOME`, by default `~/.cache`. The root is only ever read, except by `hill-sim data fetch`.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import IO

from hill_sim.errors import InvalidInput, Unavailable
from hill_sim.tasks.card import Card

ROOT_VARIABLE = "HILL_SIM_DATA"
_READ: ContextVar[set[Path] | None] = ContextVar("files read", default=None)


def cache_root() -> Path:
    """The folder for what can be made again: parsed data, and downloads if no data root is given."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "hill-sim"


def data_root() -> Path:
    """The folder below which tasks look for their files."""
    given = os.environ.get(ROOT_VARIABLE)
    return Path(given).expanduser() if given else cache_root() / "data"


def locate(folders: Iterable[str], name: str) -> Path | None:
    """The first of `folders` (below the data root) that holds the file `name`, plain or `.xz`; the plain one first."""
    for folder in folders:
        for path in (data_root() / folder / name, data_root() / folder / f"{name}.xz"):
            if path.is_file():
                return path
    return None


def missing(task: str, what: str, folders: Sequence[str], card: Card, fetchable: bool = True) -> Unavailable:
    """The error for data that are not there: what to fetch, from where, to which folder."""
    places = " or ".join(str(data_root() / folder) for folder in folders)
    command = f"hill-sim data fetch {task}, or " if fetchable else ""
    root = "" if ROOT_VARIABLE in os.environ else f"; another root: --data-root or {ROOT_VARIABLE}"
    return Unavailable(f"task {task}: no {what} in {places}; to get it: {command}from {card.source} into there{root}")


def damaged(path: Path, problem: str) -> InvalidInput:
    """The error for a file that is there, and is not what it should be."""
    return InvalidInput(f"{path}: {problem}")


@contextmanager
def noting_reads() -> Iterator[set[Path]]:
    """Yields a set to which every file is added that is opened by this module, or noted, in the meantime."""
    paths: set[Path] = set()
    token = _READ.set(paths)
    try:
        yield paths
    finally:
        _READ.reset(token)


def note_read(path: Path) -> None:
    """For `noting_reads`: what comes out depends on this file."""
    if (paths := _READ.get()) is not None:
        paths.add(path)


def stamps(paths: Iterable[Path]) -> dict[Path, tuple[int, int]]:
    """When each file was last written, in nanoseconds, and its size; (-1, -1) for one that is gone."""
    found = {}
    for path in paths:
        try:
            status = path.stat()
            found[path] = (status.st_mtime_ns, status.st_size)
        except OSError:
            found[path] = (-1, -1)
    return found


def open_binary(path: Path) -> IO[bytes]:
    """The bytes of a plain or `.xz` file as a stream. Damage in the compressed form shows when it is read."""
    note_read(path)
    try:
        return lzma.open(path) if path.suffix == ".xz" else path.open("rb")
    except OSError as error:
        raise damaged(path, f"cannot be opened: {error.strerror or error}") from None


def read_bytes(path: Path) -> bytes:
    """All bytes of a plain or `.xz` file.

    Raises:
        InvalidInput: it cannot be read, or the compressed form is truncated or damaged.
    """
    try:
        with open_binary(path) as stream:
            return stream.read()
    except EOFError:
        raise damaged(path, "truncated: the compressed data end too early; fetch it again") from None
    except lzma.LZMAError as error:
        raise damaged(path, f"not a whole .xz file ({error}); fetch it again") from None
    except OSError as error:
        raise damaged(path, f"cannot be read: {error.strerror or error}") from None


def read_text(path: Path) -> str:
    """All text of a plain or `.xz` file in UTF-8; an error names the line."""
    data = read_bytes(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise damaged(path, f"line {line}: byte {data[error.start]:#04x} is not UTF-8") from None


def bytes_stream(path: Path) -> io.BytesIO:
    """A seekable stream of the unpacked bytes."""
    return io.BytesIO(read_bytes(path))


def digest_of(paths: Iterable[Path]) -> str:
    """SHA-256 of names and contents (as they lie there, packed or not), in order of name: 64 hex digits."""
    total = hashlib.sha256()
    for path in sorted(paths, key=lambda p: p.name):
        note_read(path)
        try:
            with path.open("rb") as stream:
                total.update(path.name.encode() + b"\0" + hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            raise damaged(path, f"cannot be read: {error.strerror or error}") from None
    return total.hexdigest()
