"""What is left to run of a sweep whose trials are all known from the start."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from hill_sim.engine.results import TrialResult
from hill_sim.sweep.batches import LARGEST, batches
from hill_sim.sweep.executors import Batch, Executor
from hill_sim.sweep.expand import Planned
from hill_sim.sweep.pinned import Pinned
from hill_sim.trial import Trial

Places = Mapping[str, tuple[int, Planned]]


class Work(Protocol):
    """What a driver hands out, and is told of what came out.

    Attributes:
        places: by key, the place in the sweep and the names of each trial handed out so far.
        total: trials of the whole sweep.
    """

    total: int

    @property
    def places(self) -> Places: ...

    def feed(self) -> Batch | None:
        """The next batch; None if there is none before something in flight has ended."""

    def told(self, results: Sequence[TrialResult]) -> None:
        """Results that have been stored."""

    @property
    def finished(self) -> bool: ...


class Packer:
    """Packs trials into batches of one backend each; `prefixes` is the folder of what they may start from."""

    def __init__(self, pinned: Pinned, crew: Executor, prefixes: Path) -> None:
        self._pinned, self._crew, self._prefixes = pinned, crew, str(prefixes)

    @property
    def workers(self) -> int:
        return self._crew.number

    def __call__(
        self, trials: Sequence[Trial], largest: int = LARGEST, options: Mapping[str, Any] | None = None
    ) -> list[Batch]:
        by_backend: dict[str, list[Trial]] = {}
        for trial in trials:
            by_backend.setdefault(self._pinned.backend(trial), []).append(trial)
        return [
            Batch(tuple(packed), {"backend": backend, "prefixes": self._prefixes, **(options or {})})
            for backend, some in by_backend.items()
            for packed in batches(some, self.workers, largest)
        ]


class FixedWork:
    """The trials of a grid, a tree or a design that are not finished yet."""

    def __init__(self, places: Places, finished: Collection[str], pack: Packer) -> None:
        self.places, self.total = places, len(places)
        self._left = {key for key in places if key not in finished}
        self._waiting = deque(pack([item.trial for key, (_, item) in places.items() if key in self._left]))

    def feed(self) -> Batch | None:
        return self._waiting.popleft() if self._waiting else None

    def told(self, results: Sequence[TrialResult]) -> None:
        self._left -= {result.trial.key for result in results}

    @property
    def finished(self) -> bool:
        return not self._left
