"""Who computes a sweep's batches: processes of this machine, or a Ray cluster."""

from hill_sim.sweep.executors.base import (
    Batch,
    BatchEnded,
    Event,
    Executor,
    Feed,
    InProcess,
    Quiet,
    TrialEnded,
    WorkerCrash,
    count,
)
from hill_sim.sweep.executors.choose import choose
from hill_sim.sweep.executors.local import LocalWorkers

__all__ = [
    "Batch",
    "BatchEnded",
    "Event",
    "Executor",
    "Feed",
    "InProcess",
    "LocalWorkers",
    "Quiet",
    "TrialEnded",
    "WorkerCrash",
    "choose",
    "count",
]
