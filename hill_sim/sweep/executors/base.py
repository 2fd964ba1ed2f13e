"""What an executor is: it asks for batches when a worker is free, and yields events as they happen, in any order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from hill_sim.engine.results import RunSet, TrialResult
from hill_sim.errors import HillError, InvalidInput
from hill_sim.trial import Trial


@dataclass(frozen=True, eq=False)
class Batch:
    """Trials for one call of `simulate`, and the options that belong to them alone.

    Attributes:
        deaths: of workers over these trials so far (`retries`).
    """

    trials: Sequence[Trial]
    options: Mapping[str, Any]
    deaths: int = 0


@dataclass(frozen=True)
class TrialEnded:
    """A trial of a batch in flight has ended; its result comes with the batch."""

    key: str


@dataclass(frozen=True)
class BatchEnded:
    """Results of a batch, or of a part of one: a batch over which a worker died comes in parts.

    Attributes:
        here: False for results of another driver of the same sweep (`shared`).
    """

    results: Sequence[TrialResult]
    info: dict[str, Any]
    here: bool = True


@dataclass(frozen=True)
class Quiet:
    """For half a second nothing has happened."""


Event: TypeAlias = TrialEnded | BatchEnded | Quiet


Feed: TypeAlias = Callable[[], Batch | None]


class Executor(Protocol):
    def run(self, feed: Feed, stop: Callable[[], bool]) -> Iterator[Event]:
        """Compute batches until `feed` has none and none is in flight.

        Args:
            feed: the next batch, or None if there is none now. It is asked whenever a worker is free, and after a None
                again once the caller has taken a `BatchEnded` or a `Quiet`, since when new work may have come.
            stop: once true, batches in flight end and `feed` is asked no more.

        Raises:
            HillError: a batch that cannot be run.
        """

    def close(self) -> None:
        """Stop at once; batches in flight are lost."""

    @property
    def number(self) -> int:
        """Of workers."""


def first(give_out: Callable[[], None], ended: Iterable[Event]) -> Iterator[Event]:
    """Give a free worker its next batch, then yield what has ended: it need not wait until that is read and stored.

    Results are worth more than the next batch: they are yielded even if there can be none.
    """
    try:
        give_out()
    except HillError:
        yield from ended
        raise
    yield from ended


class WorkerCrash(HillError):
    """Workers that fail whatever they are given."""


def count(workers: int | str, device: str = "cpu") -> int:
    """How many workers `workers` means: "auto" is the number of cores this process may use; on a GPU it is 1.

    Raises:
        InvalidInput: neither "auto" nor an integer >= 1.
    """
    if workers == "auto":
        return 1 if device.startswith("cuda") or (device == "auto" and has_gpu()) else cores()
    if not isinstance(workers, int) or isinstance(workers, bool) or workers < 1:
        raise InvalidInput(f"workers: {workers!r} is not 'auto' or an integer >= 1")
    return workers


def cores(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """The whole cores that this process may use: by affinity, and by the quota of its container (cgroup v2 or v1)."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        if (groups / "cpu.max").exists():
            quota, period = (groups / "cpu.max").read_text().split()
        else:
            quota, period = ((groups / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        if int(quota) > 0:
            allowed = min(allowed, int(quota) // int(period))
    except (OSError, ValueError):  # no such file, or "max": no limit
        pass
    return max(allowed, 1)


def has_gpu() -> bool:
    if not any(Path("/dev", name).exists() for name in ("nvidiactl", "dxg", "kfd")):
        return False  # without asking torch: workers start before this process has imported it
    import torch

    return torch.cuda.is_available()


class InProcess:
    """Batches one after another through `simulate`, here: for tests, and for measuring everything but the engine."""

    def __init__(self, simulate: Callable[..., RunSet], options: dict[str, Any], number: int) -> None:
        self._simulate, self._options, self.number = simulate, options, number

    def run(self, feed: Feed, stop: Callable[[], bool]) -> Iterator[Event]:
        while not stop() and (batch := feed()) is not None:
            runs = self._simulate(list(batch.trials), **self._options, **batch.options)
            yield from (TrialEnded(result.outcome.key) for result in runs.results)
            yield BatchEnded(runs.results, runs.info)

    def close(self) -> None:
        """Nothing is left running."""
