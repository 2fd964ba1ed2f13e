"""An executor to whose workers those of all other drivers of the sweep are added."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from hill_sim.engine.results import TrialResult
from hill_sim.errors import HillError
from hill_sim.sweep.executors import Batch, BatchEnded, Event, Executor, Feed, TrialEnded
from hill_sim.sweep.shared.sweep import SharedSweep

log = logging.getLogger(__name__)

POLL = 1.0
"""Seconds between two looks at what the others have done."""
_MOST = 1024  # results of others that are held before the driver stores them


class SharedExecutor:
    """Runs on the driver's own executor those trials that no other driver is at, and yields the others' results too.

    Args:
        own: executor of this driver; closed by its owner.
    """

    def __init__(self, own: Executor, sweep: SharedSweep) -> None:
        self._own, self._sweep = own, sweep
        self._elsewhere: dict[str, Batch] = {}  # by key, trials that others are at, with the batch they came in
        self._again: deque[Batch] = deque()  # that others were at, and are no more
        self._arrived: list[TrialResult] = []
        self._looked = 0.0

    @property
    def number(self) -> int:
        """Of workers, of all drivers."""
        return self._sweep.workers

    def close(self) -> None:
        self._own.close()

    def run(self, feed: Feed, stop: Callable[[], bool]) -> Iterator[Event]:
        self._sweep.database.stopping = stop
        self._sweep.contribute()
        waiting = False
        while True:
            moved = False
            for event in self._own.run(lambda: self._next(feed), stop):
                moved = True
                if isinstance(event, BatchEnded):  # first for all: killed in between, this driver gets it from there
                    try:
                        self._sweep.add(event.results)
                    except HillError:
                        yield event  # kept here, and shared when this folder goes on
                        raise
                yield event
                self._look()
                yield from self._taken()
            if stop():
                return
            self._look()
            for event in self._taken():
                moved = True
                yield event
            if moved or self._again:
                waiting = False
                continue
            if not self._elsewhere:
                return
            if not waiting:
                log.info("waiting for %d trials that other drivers are at", len(self._elsewhere))
            waiting = True
            time.sleep(POLL)

    def _next(self, feed: Feed) -> Batch | None:
        """The next trials that are this driver's to run; None if there are none now."""
        while len(self._arrived) < _MOST:
            batch = self._again.popleft() if self._again else feed()
            if batch is None:
                break
            keys = [trial.key for trial in batch.trials]
            mine, finished = self._sweep.claim({key: _to_the_end(batch, key) for key in keys})
            self._arrived += finished
            ended = {result.trial.key for result in finished}
            self._elsewhere |= {key: batch for key in keys if key not in mine and key not in ended}
            if mine:
                return replace(batch, trials=[trial for trial in batch.trials if trial.key in mine])
        return None

    def _look(self) -> None:
        """Now and then, ask what has become of the trials that others are at."""
        now = time.monotonic()
        if not self._elsewhere or now - self._looked < POLL:
            return
        self._looked = now
        ended, free = self._sweep.news({key: _to_the_end(batch, key) for key, batch in self._elsewhere.items()})
        for result in ended:
            del self._elsewhere[result.trial.key]
        self._arrived += ended
        self._take_back(free)

    def _take_back(self, keys: Iterable[str]) -> None:
        batches: dict[int, tuple[Batch, set[str]]] = {}
        for key in keys:
            batch = self._elsewhere.pop(key)
            batches.setdefault(id(batch), (batch, set()))[1].add(key)
        for batch, some in batches.values():
            self._again.append(replace(batch, trials=[trial for trial in batch.trials if trial.key in some]))

    def _taken(self) -> Iterator[Event]:
        """Hand over what the others have finished."""
        if self._arrived:
            results, self._arrived = self._arrived, []
            yield from (TrialEnded(result.trial.key) for result in results)
            yield BatchEnded(results, {}, here=False)


def _to_the_end(batch: Batch, key: str) -> bool:
    return key not in batch.options.get("stop_below", {})
