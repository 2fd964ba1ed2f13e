"""How a sweep's trials are packed into batches: each batch is one call of `simulate` and one transaction."""

from __future__ import annotations

from collections.abc import Sequence

from hill_sim.trial import Trial

FULL = 64  # trials that fill a population; smaller groups travel together
LARGEST = 512  # trials whose results one transaction may hold back


def batches(trials: Sequence[Trial], workers: int, largest: int = LARGEST) -> list[list[Trial]]:
    """Groups of trials of one twin, which the planner can let share most; small groups together, those of more than
    `largest` trials split.

    The results do not depend on how trials are packed, so this is free to follow the number of workers.
    """
    groups: dict[Trial, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.twin(), []).append(trial)
    enough = min(FULL, -(-len(trials) // max(workers, 1)))  # no worker idles so that another's population is full
    packed: list[list[Trial]] = []
    for group in groups.values():
        if packed and len(packed[-1]) < enough and len(packed[-1]) + len(group) <= largest:
            packed[-1].extend(group)
            continue
        parts = -(-len(group) // largest)
        size = -(-len(group) // parts)
        packed.extend(group[start : start + size] for start in range(0, len(group), size))
    return packed
