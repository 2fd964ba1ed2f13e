"""What a running sweep says: a bar on a terminal, a line now and then elsewhere, a line a batch in its log.

All times are of the monotonic clock, so setting the clock back changes nothing.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

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
        self._total, self._before, self._failed, self._enabled, self._clock = total, done, failed, enabled, clock
        self._visible = enabled and sys.stderr.isatty()
        self._running: set[str] = set()
        self._ended: set[str] = set()
        self._best: tuple[float, str] | None = None
        self._asked = self._run = 0
        self._began = self._last_line = clock()
        self._context = ExitStack()

    def __enter__(self) -> Progress:
        self._bar: tqdm[Any] = tqdm(
            total=self._total,
            initial=self._before,
            disable=not self._visible,
            dynamic_ncols=True,
            bar_format="{percentage:3.0f}% |{bar:20}| {n_fmt} of {total_fmt} trials{postfix}",
        )
        self._context.callback(self._bar.close)
        if self._visible:
            self._context.enter_context(logging_redirect_tqdm([logging.getLogger(), logging.getLogger("hill_sim")]))
        return self

    def __exit__(self, *error: Any) -> None:
        self._context.close()

    def watch(self, feed: Feed) -> Feed:
        """The same feed; what it gives out counts as running until it has ended."""

        def watched() -> Batch | None:
            batch = feed()
            if batch is not None:
                self._running.update(trial.key for trial in batch.trials)
            return batch

        return watched

    def trial(self, key: str) -> None:
        """A trial has ended; one that runs again because its worker died counts once."""
        if key not in self._ended:
            self._ended.add(key)
            self._running.discard(key)
            self._bar.update()
            self._bar.set_postfix_str(self._details(), refresh=False)

    def batch(self, results: Sequence[TrialResult], info: dict[str, Any]) -> None:
        """A batch, or a part of one, has been stored."""
        for result in results:
            self.trial(result.trial.key)
            outcome = result.outcome
            self._failed += outcome.status == "failed"
            if outcome.gain == outcome.gain and not result.trial.is_twin:
                self._best = max(self._best or (outcome.gain, ""), (outcome.gain, result.trial.policy_name))
        self._asked += info.get("epochs_asked", 0)
        self._run += info.get("epochs_run", 0)
        self._bar.set_postfix_str(self._details())
        log.info("%s", self.line())
        now = self._clock()
        if self._enabled and not self._visible and now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            print(f"hill-sim: {self.line()}", file=sys.stderr, flush=True)

    def line(self) -> str:
        """All of it in words."""
        return f"{self._before + len(self._ended):,} of {self._total:,} trials{self._details(', ')}"

    def note(self, workers: int) -> str:
        """What `hill-sim status` reads in the store, as JSON: trials of this call, its seconds, workers, the best."""
        best = {"gain": self._best[0], "policy": self._best[1]} if self._best else None
        seconds = self._clock() - self._began
        return json.dumps({"ran": len(self._ended), "seconds": seconds, "workers": workers, "best": best})

    def _details(self, before: str = "") -> str:
        parts = [f"{len(self._running)} running"] if self._running else []
        if self._failed:
            parts.append(f"{self._failed} failed")
        if self._best:
            parts.append(f"best gain {100 * self._best[0]:+.1f} points ({self._best[1]})")
        if self._asked:
            parts.append(f"{1 - self._run / self._asked:.0%} of epochs saved")
        per_second = len(self._ended) / max(self._clock() - self._began, 1e-9)
        if self._ended:
            parts.append(f"{60 * per_second:,.0f} trials/min")
            left = self._total - self._before - len(self._ended)
            parts.append(f"{duration(left / per_second)} left" if left > 0 else "done")
        return before + ", ".join(parts) if parts else ""


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
