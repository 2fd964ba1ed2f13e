"""A PostgreSQL server of our own on loopback, started and stopped at will."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest


class Server:
    """Debian's package or any other: its programs are looked for where that puts them, and on the PATH."""

    def __init__(self, folder: Path, programs: Path, prefix: list[str]) -> None:
        self._folder, self._programs, self._prefix = folder, programs, prefix
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._call("initdb", "-D", folder / "data", "-U", "hill", "-A", "trust", "--no-sync", "-E", "UTF8")

    @property
    def url(self) -> str:
        return f"postgresql://hill:secret@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -k {self._folder} -h 127.0.0.1 -F"
        self._call("pg_ctl", "-D", self._folder / "data", "-w", "-o", options, "-l", self._folder / "log", "start")

    def stop(self, mode: str = "immediate") -> None:
        """Modes: fast (clients are disconnected), immediate (a crash: no client hears of it, the log is replayed)."""
        self._call("pg_ctl", "-D", self._folder / "data", "-w", "-m", mode, "stop")

    def ask(self, query: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else []

    def _call(self, program: str, *arguments: object) -> None:
        command = [*self._prefix, str(self._programs / program), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, cwd="/")
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


@contextmanager
def postgresql() -> Iterator[Server]:
    """A running server; skips the test where there is none to run."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [Path(shutil.which("initdb") or "/none")]
    if not installed[-1].exists():
        pytest.skip("PostgreSQL is not installed (Debian: apt install postgresql)")
    prefix, owner = [], os.getuid()
    if os.getuid() == 0:  # a server refuses to run as root
        try:
            owner = pwd.getpwnam("postgres").pw_uid
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        prefix = ["runuser", "-u", "postgres", "--"]
    folder = Path(tempfile.mkdtemp(prefix="hill-sim-pg-"))
    os.chown(folder, owner, -1)
    server = Server(folder, installed[-1].parent, prefix)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
