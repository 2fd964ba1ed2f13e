"""What becomes of a batch over which a worker died or raised: it runs again in ever smaller parts.

A worker may die by chance (killed, its node gone), or of one trial. So the first death splits a batch of n into about
sqrt(n) parts, the second splits the part that it met into single trials, and a trial that costs a third worker its life
is given up: it ends as "failed" and says of what. All other trials end as if nothing had happened, for results do not
depend on how trials are packed. An exception in training splits likewise, and a single trial that raises is given up.
"""

from __future__ import annotations

import logging
import math
import signal
from collections import deque
from dataclasses import dataclass, field, replace

from hill_sim.engine.results import Outcome, TrialResult
from hill_sim.errors import HillError
from hill_sim.sweep.executors.base import Batch, BatchEnded, WorkerCrash
from hill_sim.trial import Trial

log = logging.getLogger(__name__)

DEATHS = 3
"""Of workers over one trial, before it is given up."""
HOPELESS = 20
"""Trials given up for deaths while none has ended well: then it is not the trials' fault."""


@dataclass
class Retries:
    """The parts that wait to run again. One for each call of an executor's `run`."""

    _waiting: deque[Batch] = field(default_factory=deque)
    _given_up: int = 0
    _any_done: bool = False

    def next(self) -> Batch | None:
        """A part to run before anything new, or None."""
        return self._waiting.popleft() if self._waiting else None

    def done(self) -> None:
        """A batch has ended well."""
        self._any_done = True

    def again(self, batch: Batch) -> None:
        """Run a batch again as it is: what happened is not its fault."""
        self._waiting.append(batch)

    def died(self, batch: Batch, how: str) -> BatchEnded | None:
        """A worker died over `batch`; returns the end of a trial that is given up.

        Raises:
            WorkerCrash: every worker dies, whatever it is given.
        """
        deaths = batch.deaths + 1
        if len(batch.trials) == 1 and deaths >= DEATHS:
            self._given_up += 1
            if self._given_up >= HOPELESS and not self._any_done:
                raise WorkerCrash(
                    f"{self._given_up} trials cost {DEATHS} workers each, the last one {how}, and none has ended well; "
                    "out of memory? try fewer --workers"
                )
            error = f"{DEATHS} workers died over this trial, the last one {how}"
            log.warning("trial %s is given up: %s", batch.trials[0].key, error)
            return BatchEnded([failure(batch.trials[0], error)], {})
        parts = self._split(replace(batch, deaths=deaths))
        into = f", in {parts} parts" if parts > 1 else ""
        log.warning("a worker died (%s); its %d trials are run again%s", how, len(batch.trials), into)
        return None

    def raised(self, batch: Batch, error: str, cause: HillError | None = None) -> BatchEnded | None:
        """Training raised an exception; returns the end of a trial that is given up.

        Args:
            error: the traceback.
            cause: the exception, if it is one that a user can mend: it is raised if no trial at all can be run.
        """
        if len(batch.trials) == 1:
            if cause is not None and not self._any_done:
                raise cause
            log.warning("trial %s is given up: %s", batch.trials[0].key, error.strip().splitlines()[-1])
            return BatchEnded([failure(batch.trials[0], error)], {})
        self._split(replace(batch, deaths=batch.deaths + 1))
        return None

    def _split(self, batch: Batch) -> int:
        """Queue the parts of a batch; returns how many there are."""
        n = len(batch.trials)
        size = math.isqrt(n - 1) + 1 if batch.deaths == 1 else 1
        parts = [batch.trials[start : start + size] for start in range(0, n, size)]
        self._waiting.extend(replace(batch, trials=part) for part in parts)
        return len(parts)


def failure(trial: Trial, error: str) -> TrialResult:
    """The result of a trial that left nothing behind."""
    return TrialResult(trial, Outcome(trial.key, trial.twin().key, status="failed", error=error))


def in_words(status: int) -> str:
    """A process's exit status as `subprocess` gives it."""
    if status >= 0:
        return f"exit status {status}"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
    return f"killed by {name}, out of memory?" if -status == signal.SIGKILL else f"killed by {name}"
