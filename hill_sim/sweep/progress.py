"""What a running sweep says: a bar and a line below it on a terminal, a line now and then elsewhere, a line a batch in
its log.

All times are of the monotonic clock, so setting the clock back changes nothing.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, TextIO

from tqdm import tqdm

from hill_sim.engine.results import TrialResult
from hill_sim.sweep.executors import Batch, Feed

log = logging.getLogger(__name__)

LINE_SECONDS = 30.0
"""Between two lines where stderr is no terminal."""


class Progress:
    """A context in which log lines pass above the bar.

    Args:
        total: trials of the sweep; done: finished before; failed: of those.
        enabled: False for silence on stderr.
        clock: in seconds, never set back.
    """

    def __init__(
        self,
        total: int,
        done: int,
        *,
        enabled: bool,
        failed: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total, self._before, self._failed, self._clock = total, done, failed, clock
        self._enabled = enabled and sys.stderr is not None  # None: closed when Python started
        self._visible = self._enabled and sys.stderr.isatty()
        self._running: set[str] = set()
        self._ended: set[str] = set()
        self._stored: set[str] = set()
        self._best: tuple[float, str] | None = None
        self._asked = self._run = 0
        self._began = self._last_line = clock()
        self._context = ExitStack()

    def __enter__(self) -> Progress:
        if self._visible:
            self._bar: tqdm[Any] = tqdm(
                total=self._total,
                initial=self._before,
                dynamic_ncols=True,
                bar_format="{percentage:3.0f}% |{bar}| {desc}",
                desc=self._counts(),
            )
            self._below: tqdm[Any] = tqdm(position=1, leave=True, bar_format="{desc}")
            self._context.callback(self._below.close)
            self._context.callback(self._bar.close)
            for handler in {*logging.getLogger().handlers, *logging.getLogger("hill_sim").handlers}:
                if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stderr:
                    self._context.callback(handler.setStream, handler.setStream(_Above(sys.stderr)))
        return self

    def __exit__(self, *error: Any) -> None:
        self._ended, self._running = self._stored, set()  # what was not stored will run again
        self._show()
        self._context.close()

    def watch(self, feed: Feed) -> Feed:
        """The same feed; what it gives out counts as running until it has ended."""

        def watched() -> Batch | None:
            batch = feed()
            if batch is not None:
                self._running.update(trial.key for trial in batch.trials)
                self._show()
            return batch

        return watched

    def trial(self, key: str) -> None:
        """A trial has ended; one that runs again because its worker died counts once."""
        if key not in self._ended:
            self._ended.add(key)
            self._running.discard(key)
            if self._visible:
                self._write()
                if self._bar.update(0):  # as often as an eye can follow
                    self._below.refresh()

    def batch(self, results: Sequence[TrialResult], info: dict[str, Any]) -> None:
        """A batch, or a part of one, has been stored."""
        for result in results:
            self.trial(result.trial.key)
            self._stored.add(result.trial.key)
            outcome = result.outcome
            self._failed += outcome.status == "failed"
            if outcome.gain == outcome.gain and not result.trial.is_twin:
                self._best = max(self._best or (outcome.gain, ""), (outcome.gain, result.trial.policy_name))
        self._asked += info.get("epochs_asked", 0)
        self._run += info.get("epochs_run", 0)
        self._show()
        log.info("%s", self.line())
        now = self._clock()
        if self._enabled and not self._visible and now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            try:
                print(f"hill-sim: {self.line()}", file=sys.stderr, flush=True)
            except OSError:  # nobody reads it any more: no reason to stop
                self._enabled = False

    def line(self) -> str:
        """All of it in words."""
        return ", ".join(part for part in (self._counts(), self._details()) if part)

    def note(self, workers: int) -> str:
        """What `hill-sim status` reads in the store, as JSON: trials of this call, its seconds, workers, the best."""
        best = {"gain": self._best[0], "policy": self._best[1]} if self._best else None
        seconds = self._clock() - self._began
        return json.dumps({"ran": len(self._ended), "seconds": seconds, "workers": workers, "best": best})

    def _show(self) -> None:
        if self._visible:
            self._write()
            self._bar.refresh()
            self._below.refresh()

    def _write(self) -> None:
        self._bar.n = self._before + len(self._ended)
        width = self._bar.ncols or 80
        self._bar.set_description_str(self._counts(), refresh=False)
        self._below.set_description_str(self._details()[: width - 1], refresh=False)

    def _per_second(self) -> float:
        return len(self._ended) / max(self._clock() - self._began, 1e-9)

    def _counts(self) -> str:
        done = self._before + len(self._ended)
        parts = [f"{done:,} of {self._total:,} trials"]
        if self._running:
            parts.append(f"{len(self._running)} running")
        if self._failed:
            parts.append(f"{self._failed} failed")
        if self._ended:
            left = self._total - done
            parts.append(f"{duration(left / self._per_second())} left" if left > 0 else "done")
        return ", ".join(parts)

    def _details(self) -> str:
        parts = []
        if self._ended:
            parts.append(f"{60 * self._per_second():,.0f} trials/min")
        if self._asked:
            parts.append(f"{1 - self._run / self._asked:.0%} of epochs saved")
        if self._best:
            parts.append(f"best gain {100 * self._best[0]:+.1f} points ({self._best[1]})")
        return ", ".join(parts)


class _Above:
    """A stream whose lines pass above the bar."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        tqdm.write(text, file=self._stream, end="")

    def flush(self) -> None:
        self._stream.flush()


def duration(seconds: float) -> str:
    """As people read it: 40 s, 12 min, 3 h 05 min, 2 d 4 h."""
    minutes = int(seconds // 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"
