"""Which executor a sweep asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hill_sim.engine.results import RunSet
from hill_sim.errors import InvalidInput, Unavailable, unknown
from hill_sim.sweep.executors.base import Executor, InProcess, count, has_gpu
from hill_sim.sweep.executors.local import LocalWorkers
from hill_sim.sweep.identity import strings
from hill_sim.sweep.spec import SweepSpec


def choose(
    name: str,
    workers: int | str,
    options: dict[str, Any],
    *,
    spec: SweepSpec,
    address: str | None = None,
    gpus_per_worker: float = 0.0,
    simulate: Callable[..., RunSet] | None = None,
) -> Executor:
    """The executor of this name; one that calls `simulate` in this process, if that is given.

    Args:
        name: "local" or "ray".
        options: of every call of `simulate`; the driver may still change them before it runs anything.
        spec: what the sweep names in it is sent to a cluster's workers.

    Raises:
        InvalidInput: unknown name, or options of another executor.
        Unavailable: Ray is not installed or does not answer.
    """
    if name not in ("local", "ray"):
        raise unknown("executor", name, ("local", "ray"))
    if name == "local" and (address is not None or gpus_per_worker):
        raise InvalidInput("ray_address, gpus_per_worker: belong to executor 'ray', this one is 'local'")
    if not 0 <= gpus_per_worker <= 1:
        raise InvalidInput(f"gpus_per_worker: {gpus_per_worker!r} is not in [0, 1]")
    if gpus_per_worker and options["device"] == "cpu":
        raise InvalidInput(f"gpus_per_worker: {gpus_per_worker:g} was asked for, and device is 'cpu'")
    if gpus_per_worker and not has_gpu():
        raise Unavailable(
            f"gpus_per_worker: {gpus_per_worker:g} was asked for, and torch finds no GPU here, where the sweep chooses "
            "its backend; without it the sweep trains on CPUs"
        )
    number = count(workers, options["device"])
    if simulate:
        return InProcess(simulate, options, number)
    if name == "local":
        return LocalWorkers(number, options)
    from hill_sim.sweep.executors.cluster import RayWorkers

    names = list(strings(spec.resolved()))
    return RayWorkers(workers, options, address=address, gpus_per_worker=gpus_per_worker, names=names)
