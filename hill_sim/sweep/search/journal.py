"""The journal file behind a local study: Optuna's format, written in batches by the one driver that holds the folder.

Optuna's own backend locks with a file that a killed process leaves behind (for 30 seconds nobody gets past it), syncs
the disk at every operation, and cannot read a file whose last line was cut short once another line follows it. Here the
run folder's lock, which the system lets go of when the process dies, keeps other drivers out; the operations of a batch
are one write; and an unfinished last line is cut off before anything is read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend


class Journal(BaseJournalBackend):
    """`study.journal`, open for writing.

    Other programs may read it at any time, and append to it (optuna-dashboard stores notes); what they append while
    this driver runs is seen when the file is next opened.

    Raises:
        ValueError: a line in the middle is not JSON; the file has not been changed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        self._lines = whole.splitlines()
        for line in self._lines:
            json.loads(line)
        if len(whole) < len(content):
            os.truncate(path, len(whole))
        self._size = len(whole)
        self._waiting: list[bytes] = []
        self._held = False

    @contextmanager
    def batch(self) -> Iterator[None]:
        """What is appended within reaches the file at the end, in one write."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
            self._write()

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = [json.dumps(log, separators=(",", ":")).encode() for log in logs]
        self._lines += lines
        self._waiting += lines
        if not self._held:
            self._write()

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        for line in self._lines[log_number_from:]:
            yield json.loads(line)

    def _write(self) -> None:
        if not self._waiting:
            return
        whole = self.path.exists() and self.path.stat().st_size >= self._size
        lines = self._waiting if whole else self._lines  # all of it, if somebody deleted or cut the file meanwhile
        with self.path.open("ab" if whole else "wb", buffering=0) as stream:
            stream.write(b"".join(line + b"\n" for line in lines))
            os.fsync(stream.fileno())
            self._size = stream.tell()
        self._waiting = []
