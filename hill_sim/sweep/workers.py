"""Who computes a sweep's batches: an executor takes batches and yields events as they happen, in any order.

`LocalWorkers` spawns one process per worker, each with one thread. `InProcess` calls a given `simulate` in this
process: for tests, and for measuring everything but the engine. A cluster's executor has the same methods.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, Protocol

from hill_sim.engine.results import RunSet, TrialResult
from hill_sim.errors import HillError, InvalidInput
from hill_sim.trial import Trial

log = logging.getLogger(__name__)

_DEATHS = 3  # of workers over one batch, before the sweep stops and names it


@dataclass(frozen=True, eq=False)
class Batch:
    """Trials for one call of `simulate`, and the options that belong to them alone."""

    trials: Sequence[Trial]
    options: Mapping[str, Any]


@dataclass(frozen=True)
class TrialEnded:
    """A trial of a batch in flight has ended; its result comes with the batch."""

    key: str


@dataclass(frozen=True)
class BatchEnded:
    results: Sequence[TrialResult]
    info: dict[str, Any]


class Executor(Protocol):
    def run(self, batches: Sequence[Batch], stop: Callable[[], bool]) -> Iterator[TrialEnded | BatchEnded]:
        """Compute the batches; once `stop()` is true, end those in flight and hand out no more.

        Raises:
            HillError: a batch that cannot be run.
        """

    def close(self) -> None:
        """Stop at once; batches in flight are lost."""


class WorkerCrash(HillError):
    """A worker that met a bug, or died again and again over one batch."""


def count(workers: int | str, device: str = "cpu") -> int:
    """How many workers `workers` means: "auto" is the number of cores this process may use; on a GPU it is 1.

    Raises:
        InvalidInput: neither "auto" nor an integer >= 1.
    """
    if workers == "auto" and device.startswith("cuda"):
        return 1
    if workers == "auto":
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not isinstance(workers, int) or isinstance(workers, bool) or workers < 1:
        raise InvalidInput(f"workers: {workers!r} is not 'auto' or an integer >= 1")
    return workers


class InProcess:
    """Batches one after another through `simulate`, here."""

    def __init__(self, simulate: Callable[..., RunSet], options: dict[str, Any]) -> None:
        self._simulate, self._options = simulate, options

    def run(self, batches: Sequence[Batch], stop: Callable[[], bool]) -> Iterator[TrialEnded | BatchEnded]:
        for batch in batches:
            if stop():
                return
            runs = self._simulate(list(batch.trials), **self._options, **batch.options)
            yield from (TrialEnded(result.outcome.key) for result in runs.results)
            yield BatchEnded(runs.results, runs.info)

    def close(self) -> None:
        """Nothing is left running."""


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

    def run(self, batches: Sequence[Batch], stop: Callable[[], bool]) -> Iterator[TrialEnded | BatchEnded]:
        waiting = deque(batches)
        deaths: dict[int, int] = {}
        while True:
            for worker in self._workers:
                if worker.batch is None and waiting and not stop():
                    worker.give(waiting.popleft(), self._options)
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
                    waiting.appendleft(batch)
                    continue
                if kind == "trial":
                    yield TrialEnded(*content)
                elif kind == "batch":
                    worker.batch = None
                    yield BatchEnded(*content)
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
            [sys.executable, "-P", "-c", f"from hill_sim.sweep.worker import main; main({theirs.fileno()})"],
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
