"""Spawned processes of this machine, one thread each. One that dies is replaced, and its batch is run again."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

from hill_sim.sweep.executors.base import Batch, BatchEnded, Feed, TrialEnded, WorkerCrash

log = logging.getLogger(__name__)

_DEATHS = 3  # of workers over one batch, before the sweep stops and names it


class LocalWorkers:
    """Spawned processes on this machine. One that dies is replaced, and its batch is run again.

    Args:
        number: of processes.
        options: of every call of `simulate`.
    """

    def __init__(self, number: int, options: dict[str, Any]) -> None:
        self._options = options
        self._workers = [_Worker() for _ in range(number)]  # now: they import while the driver plans

    def close(self) -> None:
        """Stop the processes at once; a batch in flight is lost."""
        for worker in self._workers:
            worker.kill()
        self._workers = []

    def run(self, feed: Feed, stop: Callable[[], bool]) -> Iterator[TrialEnded | BatchEnded]:
        again: deque[Batch] = deque()  # of workers that died
        deaths: dict[int, int] = {}
        dry = False  # feed had nothing when it was asked last
        while True:
            for worker in self._workers:
                if worker.batch is None and not stop():
                    batch = again.popleft() if again else None if dry else feed()
                    dry = batch is None
                    if batch is not None:
                        worker.give(batch, self._options)
            busy = {worker.connection: worker for worker in self._workers if worker.batch is not None}
            if not busy:
                return
            for connection in wait(list(busy), timeout=0.5):
                worker = busy[connection]  # type: ignore[index]
                assert worker.batch is not None
                try:
                    kind, *content = worker.connection.recv()
                except (EOFError, OSError):
                    batch = worker.batch
                    deaths[id(batch)] = deaths.get(id(batch), 0) + 1
                    status = worker.kill()
                    self._workers[self._workers.index(worker)] = _Worker()
                    if deaths[id(batch)] >= _DEATHS:
                        first, last, size = batch.trials[0].key, batch.trials[-1].key, len(batch.trials)
                        raise WorkerCrash(
                            f"{_DEATHS} workers died (exit status {status}) over the same {size} trials, {first} to "
                            f"{last}; out of memory? try fewer --workers"
                        ) from None
                    log.warning("a worker died (exit status %s); its batch is run again", status)
                    again.append(batch)
                    continue
                if kind == "trial":
                    yield TrialEnded(*content)
                elif kind == "batch":
                    worker.batch = None
                    yield BatchEnded(*content)
                    dry = False
                elif kind == "log":
                    logging.getLogger(content[0].name).handle(content[0])
                elif kind == "error":
                    raise content[0]
                elif kind == "crash":
                    raise WorkerCrash(f"a worker failed; this is a bug in hill-sim:\n{content[0]}")


class _Worker:
    """One process, and the batch that it is computing."""

    def __init__(self) -> None:
        self.connection: Connection
        self.connection, theirs = Pipe()
        self.batch: Batch | None = None
        # PYTHONPATH: a user's own policies import there as they do here. One thread: more only fight over the cores.
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        single = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", f"from hill_sim.sweep.executors.worker import main; main({theirs.fileno()})"],
            env={**os.environ, **single, "PYTHONPATH": paths},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C at the terminal reaches the driver alone
        )
        theirs.close()

    def give(self, batch: Batch, options: dict[str, Any]) -> None:
        self.batch = batch
        with contextlib.suppress(OSError):  # it has died: the receiving side finds out, and knows what to do
            self.connection.send((list(batch.trials), {**options, **batch.options}))

    def kill(self) -> int:
        """End the process; returns its exit status."""
        self.connection.close()
        if self._process.poll() is None:
            self._process.terminate()
        return self._process.wait()
