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
import threading
import traceback
from multiprocessing.connection import Connection
from typing import Any

from hill_sim.errors import HillError


def main(descriptor: int) -> None:
    """Serve until the driver closes its end, or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's business: it lets this batch end
    connection = Connection(descriptor)
    tasks: queue.SimpleQueue[tuple[Any, dict[str, Any]]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, tasks), daemon=True).start()
    logging.captureWarnings(True)
    logging.getLogger().addHandler(_ToDriver(connection))

    import torch  # late, so that a driver that dies at once does not wait for it

    from hill_sim.engine import simulate

    torch.set_num_threads(1)
    connection.send(("ready",))
    while True:
        trials, options = tasks.get()
        try:
            runs = simulate(trials, on_result=lambda result: connection.send(("trial", result.outcome.key)), **options)
        except Exception as error:
            connection.send(("raised", traceback.format_exc(), error if isinstance(error, HillError) else None))
        else:
            connection.send(("batch", runs.results, runs.info))


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
