"""Says every few seconds that this driver lives, and learns who else does."""

from __future__ import annotations

import contextlib
import os
import platform
import threading
import time
from typing import TYPE_CHECKING, Any

from hill_sim.errors import HillError
from hill_sim.sweep.shared.database import Address, Database

if TYPE_CHECKING:
    import psycopg

BEAT = 5.0
"""Seconds between two signs of life."""
LAPSE = 60.0
"""Seconds without one after which a driver counts as dead."""


class Heartbeat:
    """A thread with a connection of its own.

    Attributes:
        workers: of all drivers that take part now.
    """

    def __init__(self, address: Address, sweep: str, driver: str, workers: int) -> None:
        self._database, self._sweep, self._driver, self._own = Database(address, announce=False), sweep, driver, workers
        self.workers = workers
        self._steady_since = self._last = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="hill-sim heartbeat")

    @property
    def steady(self) -> bool:
        """Whether the database has answered for as long as it takes a driver to count as dead. After it was away, the
        others must first have had the time to say that they live."""
        now = time.monotonic()
        return now - self._last < LAPSE and now - self._steady_since >= LAPSE

    def start(self) -> None:
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._database.stopping = self._stop.is_set
        self._thread.join()
        self._database.close()

    def _run(self) -> None:
        while not self._stop.wait(BEAT):
            with contextlib.suppress(HillError):  # the driver itself finds out, and says so
                self._beat()

    def _beat(self) -> None:
        def work(cursor: psycopg.Cursor[Any]) -> int:
            cursor.execute(
                "INSERT INTO hill_sim_drivers VALUES (%s, %s, %s, %s, %s, clock_timestamp()) ON CONFLICT (sweep, id) DO"
                " UPDATE SET (process, host, workers, seen) ="
                " (EXCLUDED.process, EXCLUDED.host, EXCLUDED.workers, EXCLUDED.seen)",
                (self._sweep, self._driver, os.getpid(), platform.node(), self._own),
            )
            cursor.execute(
                "SELECT sum(workers) FROM hill_sim_drivers"
                " WHERE sweep = %s AND seen > clock_timestamp() - %s * interval '1 second'",
                (self._sweep, LAPSE),
            )
            (workers,) = cursor.fetchone() or (self._own,)
            return int(workers)

        self.workers = self._database.run(work)
        now = time.monotonic()
        if now - self._last > 3 * BEAT:  # it was away, or this process stood still
            self._steady_since = now
        self._last = now
