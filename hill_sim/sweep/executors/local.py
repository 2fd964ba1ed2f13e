"""Spawned processes of this machine, one thread each. One that dies is replaced; its batch runs again (`retries`)."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

from hill_sim.sweep.executors.base import Batch, BatchEnded, Event, Feed, Quiet, TrialEnded, WorkerCrash, first
from hill_sim.sweep.executors.retries import Retries, in_words
from hill_sim.sweep.executors.worker import ONE_THREAD, import_paths

_STILLBORN = 3  # workers that die one after another before they have begun: something is wrong with all of them


class LocalWorkers:
    """Spawned processes on this machine.

    Args:
        number: of processes.
        options: of every call of `simulate`.
    """

    def __init__(self, number: int, options: dict[str, Any]) -> None:
        self._options, self.number = options, number
        self._workers = [_Worker() for _ in range(number)]  # now: they import while the driver plans

    def close(self) -> None:
        """Stop the processes at once; a batch in flight is lost."""
        for worker in self._workers:
            worker.kill()
        self._workers = []

    def run(self, feed: Feed, stop: Callable[[], bool]) -> Iterator[Event]:
        retries = Retries()
        dry = False  # feed had nothing when it was asked last
        stillborn = 0  # workers that died before they were ready, since one was

        def give_out() -> None:
            nonlocal dry
            for place, worker in enumerate(self._workers):
                if worker.batch is not None or stop():
                    continue
                batch = retries.next()
                if batch is None and not dry:
                    batch = feed()
                    dry = batch is None
                if batch is not None:
                    if not worker.alive:
                        worker.kill()
                        worker = self._workers[place] = _Worker()
                    worker.give(batch, self._options)

        while True:
            give_out()
            busy = {worker.connection: worker for worker in self._workers if worker.batch is not None}
            if not busy:
                return
            ready = wait(list(busy), timeout=0.5)
            if not ready:
                yield Quiet()
                dry = False
            for connection in ready:
                worker = busy[connection]  # type: ignore[index]
                batch = worker.batch
                assert batch is not None
                ended: BatchEnded | None = None
                try:
                    kind, *content = worker.connection.recv()
                except (EOFError, OSError):
                    how = in_words(worker.ended())
                    self._workers[self._workers.index(worker)] = _Worker()
                    if worker.ready:
                        ended = retries.died(batch, how)
                    else:
                        stillborn += 1
                        if stillborn >= _STILLBORN:
                            raise WorkerCrash(f"{stillborn} workers died as they started, the last one {how}") from None
                        retries.again(batch)
                else:
                    if kind == "ready":
                        worker.ready, stillborn = True, 0
                    elif kind == "trial":
                        yield TrialEnded(*content)
                    elif kind == "log":
                        logging.getLogger(content[0].name).handle(content[0])
                    elif kind == "batch":
                        worker.batch = None
                        retries.done()
                        ended = BatchEnded(*content)
                    elif kind == "raised":
                        worker.batch = None
                        ended = retries.raised(batch, *content)
                if ended is not None:
                    yield from first(give_out, [ended])
                    dry = False


class _Worker:
    """One process, and the batch that it is computing."""

    def __init__(self) -> None:
        self.connection: Connection
        self.connection, theirs = Pipe()
        self.batch: Batch | None = None
        self.ready = False  # its imports are done: what kills it from now on may be a trial
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", f"from hill_sim.sweep.executors.worker import main; main({theirs.fileno()})"],
            env={**os.environ, **ONE_THREAD, "PYTHONPATH": import_paths()},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C at the terminal reaches the driver alone
        )
        theirs.close()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def give(self, batch: Batch, options: dict[str, Any]) -> None:
        self.batch = batch
        with contextlib.suppress(OSError):  # it has died: the receiving side finds out, and knows what to do
            self.connection.send((list(batch.trials), {**options, **batch.options}))

    def kill(self) -> int:
        """End the process, a stopped one too; returns its exit status."""
        self.connection.close()
        self._process.kill()
        return self._process.wait()

    def ended(self) -> int:
        """The exit status of a process that has closed its end, and so is about to end by itself."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)
        return self.kill()
