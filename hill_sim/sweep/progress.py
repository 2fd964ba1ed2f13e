"""The bar of a running sweep: trials done, epochs shared, time left. Nothing where stderr is no terminal."""

from __future__ import annotations

import logging
import sys
from contextlib import ExitStack
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm


class Progress:
    """A context in which log lines pass above the bar.

    Args:
        total: trials of the sweep; done: finished before.
        enabled: False for silence even on a terminal.
    """

    def __init__(self, total: int, done: int, *, enabled: bool) -> None:
        self._total, self._done = total, done
        self._visible = enabled and sys.stderr.isatty()
        self._seen: set[str] = set()
        self._failed = 0
        self._asked = self._run = 0
        self._context = ExitStack()

    def __enter__(self) -> Progress:
        self._bar: tqdm[Any] = tqdm(
            total=self._total, initial=self._done, unit="trial", disable=not self._visible, dynamic_ncols=True
        )
        self._context.callback(self._bar.close)
        if self._visible:
            self._context.enter_context(logging_redirect_tqdm([logging.getLogger(), logging.getLogger("hill_sim")]))
        return self

    def __exit__(self, *error: Any) -> None:
        self._context.close()

    def trial(self, key: str) -> None:
        """A trial has ended; one that runs again because its worker died counts once."""
        if key not in self._seen:
            self._seen.add(key)
            self._bar.update()

    def batch(self, failed: int, epochs_asked: int, epochs_run: int) -> None:
        self._failed += failed
        self._asked += epochs_asked
        self._run += epochs_run
        shared = f"{1 - self._run / self._asked:.0%} of epochs shared" if self._asked else ""
        self._bar.set_postfix_str(", ".join(filter(None, (shared, f"{self._failed} failed" if self._failed else ""))))
