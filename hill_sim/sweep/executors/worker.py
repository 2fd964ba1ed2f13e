"""A worker process: takes batches of trials from its driver, simulates them, sends results back. It writes nothing.

Started as `python -c "from hill_sim.sweep.executors.worker import main; main(FD)"` on one end of a socket. Messages are
tuples:

    to the worker     (trials, options)                  one batch for `simulate(trials, **options)`
    from the worker   ("ready",)                         imports are done
                      ("trial", key)                     a trial of the batch has ended: progress only
                      ("log", record)                    a log record
                      ("batch", results, info)           the batch is done
                      ("raised", traceback, error)       training raised; `error` is the exception if it is a HillError
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

from hill_sim.engine.results import TrialResult
from hill_sim.errors import HillError
from hill_sim.trial import Trial

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
"""For a worker's environment: more threads only fight over the cores."""


def main(descriptor: int) -> None:
    """Serve until the driver closes its end, or dies."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a scheduler sends it to all processes of a job
        signal.signal(number, signal.SIG_IGN)  # it is the driver's business, which lets this batch end
    connection = Connection(descriptor)
    tasks: queue.SimpleQueue[tuple[Any, dict[str, Any]]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, tasks), daemon=True).start()
    logging.captureWarnings(True)
    logging.getLogger().addHandler(_ToDriver(connection))

    import torch  # late, so that a driver that dies at once does not wait for it

    import hill_sim.engine.simulation  # noqa: F401

    torch.set_num_threads(1)
    connection.send(("ready",))
    while True:
        trials, options = tasks.get()
        connection.send(compute(trials, options, lambda result: connection.send(("trial", result.outcome.key))))


def compute(
    trials: list[Trial], options: Mapping[str, Any], on_result: Callable[[TrialResult], None] | None = None
) -> tuple[Any, ...]:
    """Simulate a batch; returns the message that ends it."""
    from hill_sim.engine import simulate

    try:
        runs = simulate(trials, on_result=on_result, **options)
    except Exception as error:
        return "raised", traceback.format_exc(), error if isinstance(error, HillError) else None
    return "batch", runs.results, runs.info


def import_paths() -> str:
    """A PYTHONPATH with which modules import as they do in this process, a user's own policies too."""
    return os.pathsep.join(path or os.getcwd() for path in sys.path)


def _listen(connection: Connection, tasks: queue.SimpleQueue[tuple[Any, dict[str, Any]]]) -> None:
    """Pass tasks on; end the process at once when the driver is gone, in the middle of a batch too."""
    while True:
        try:
            tasks.put(connection.recv())
        except (EOFError, OSError):
            os._exit(0)


class _ToDriver(logging.handlers.QueueHandler):
    """Sends log records to the driver, which prints them past its progress bar."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)  # type: ignore[arg-type]

    def enqueue(self, record: logging.LogRecord) -> None:
        self.queue.send(("log", record))  # type: ignore[attr-defined]
