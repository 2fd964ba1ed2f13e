"""Which backend trains a model: the fastest of those that agree with the plain loop."""

from __future__ import annotations

import logging
import time
from functools import lru_cache
from threading import get_ident

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from hill_sim.engine.arena import Arena, Recipe
from hill_sim.engine.backends import AUTOMATIC, BACKENDS, Backend, LoopBackend
from hill_sim.engine.backends.base import one_step
from hill_sim.engine.planning import Base
from hill_sim.errors import HillError, Unavailable, unknown
from hill_sim.models.base import build_model, latent_width
from hill_sim.tasks import Task, load_task
from hill_sim.trial import Trial

log = logging.getLogger("hill_sim.engine")

CHECK_REPLICAS, TIMED_REPLICAS, TIMED_STEPS = 3, 16, 5
TOLERANCE = 1e-9
"""Largest relative error allowed against `loop` on one step in float64; rounding alone stays below 1e-12."""


def make_backend(name: str, base: Base, device: torch.device) -> Backend:
    """A backend by name, or the choice of `auto`, for the models of one bucket.

    Raises:
        InvalidInput: unknown name.
        Unavailable: a named backend cannot run this model; the message says why.
    """
    if name != "auto" and name not in BACKENDS:
        raise unknown("backend", name, ["auto", *BACKENDS])
    task = load_task(base.task, base.task_options)
    return _make(name, base.bucket, str(device), get_ident(), task.input_shape, task.n_classes)


@lru_cache(maxsize=64)
def _make(name: str, bucket: Base, device: str, thread: int, shape: tuple[int, ...], classes: int) -> Backend:
    """One for each thread: a backend keeps a module, or the activations of the step under way. One for each shape: the
    data of a task may change while a process lives."""
    trial, task = bucket.initial_trial(), load_task(bucket.task, bucket.task_options)
    model = build_model(trial, task).to(device)
    if name != "auto":
        return _named(name, model, trial, task, device)
    if device == "cpu" and any(isinstance(module, _ConvNd) for module in model.modules()):
        # Grouped convolutions, which is what vmap makes of many models, are far slower there than one after another.
        log.info("backend loop for %s: convolutions on the CPU", bucket.model)
        return BACKENDS["loop"](model)
    candidates: dict[str, tuple[float, Backend]] = {}
    batch = task.train.x[: bucket.batch_size]
    width = latent_width(build_model(trial, task), task, bucket.model)
    for candidate in AUTOMATIC:
        try:
            backend = BACKENDS[candidate](model)
            worst = _disagreement(backend, model, batch, (task.n_classes, width), device)
        except (HillError, RuntimeError, NotImplementedError) as error:
            log.info("backend %s: not for %s: %s", candidate, bucket.model, str(error).splitlines()[0])
            continue
        if not worst <= TOLERANCE:
            log.warning("backend %s: a step differs from loop's by %.1e, left out", candidate, worst)
            continue
        step = _step_arguments(model, batch, (task.n_classes, width), TIMED_REPLICAS, torch.float32, device)
        if device == "cpu" and depends_on_place(backend, *step):
            log.info("backend %s: rounds by a replica's place in the population, left out", candidate)
            continue
        candidates[candidate] = (_seconds_per_step(backend, *step) / TIMED_REPLICAS, backend)
    if not candidates:
        raise Unavailable(f"backend auto: none of {', '.join(AUTOMATIC)} can train {bucket.model}")
    best = min(candidates, key=lambda c: candidates[c][0])
    times = ", ".join(f"{c} {seconds * 1e6:.0f}" for c, (seconds, _) in candidates.items())
    log.info("backend %s for %s: fastest per replica and step (microseconds: %s)", best, bucket.model, times)
    return candidates[best][1]


def _named(name: str, model: nn.Module, trial: Trial, task: Task, device: str) -> Backend:
    backend = BACKENDS[name](model)
    if device == "cpu":
        batch = task.train.x[:16]
        widths = (task.n_classes, latent_width(build_model(trial, task), task, trial.model or ""))
        try:
            moves = depends_on_place(
                backend, *_step_arguments(model, batch, widths, CHECK_REPLICAS, torch.float32, device)
            )
        except (RuntimeError, NotImplementedError) as error:
            raise Unavailable(f"backend {name}: not for {trial.model}: {str(error).splitlines()[0]}") from error
        if moves:
            log.warning("backend %s: rounds by a replica's place for this model: the last bits depend on pmax", name)
    return backend


def _seconds_per_step(backend: Backend, arena: Arena, x: Tensor, seeds: tuple[Tensor, Tensor]) -> float:
    """Minimum over a few, after one step to warm up."""
    times = []
    for _ in range(1 + TIMED_STEPS):
        start = time.perf_counter()
        one_step(backend, arena, x, seeds, range(len(x)))
        if x.is_cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def depends_on_place(backend: Backend, arena: Arena, x: Tensor, seeds: tuple[Tensor, Tensor]) -> bool:
    """True if some replica's gradients change, by so much as a bit, when it is trained alone.

    That happens where a library rounds by address and the backend does not control where its results lie: `vmap` with
    weights whose number of elements is not a multiple of 16.
    """
    noise = range(len(x))
    together = one_step(backend, Arena.gather([(arena, row) for row in noise]), x, seeds, noise).clone()
    for row in noise:
        one = slice(row, row + 1)
        alone = one_step(backend, Arena.gather([(arena, row)]), x[one], (seeds[0][one], seeds[1][one]), [row])
        if not torch.equal(alone[0], together[row]):
            return True
    return False


def _step_arguments(
    model: nn.Module, x: Tensor, widths: tuple[int, int], replicas: int, dtype: torch.dtype, device: str
) -> tuple[Arena, Tensor, tuple[Tensor, Tensor]]:
    """Replicas with slightly different weights, one batch for all, random gradients of logits and latents."""
    generator = torch.Generator().manual_seed(0)
    names = [(name, p.detach().cpu()) for name, p in model.named_parameters()]
    rows = [[(n, p + 0.1 * torch.randn(p.shape, generator=generator)) for n, p in names] for _ in range(replicas)]
    buffers = [list(model.named_buffers())] * replicas
    recipes = [Recipe("adam", 1e-3, 0.0)] * replicas
    arena = Arena.create(rows, buffers, recipes, dtype, torch.device(device))
    batch = x.to(device, dtype).expand(replicas, *x.shape)
    dlogits, dlatents = (torch.randn(replicas, len(x), k, generator=generator).to(device, dtype) for k in widths)
    return arena, batch, (dlogits, dlatents)


def _disagreement(backend: Backend, model: nn.Module, x: Tensor, widths: tuple[int, int], device: str) -> float:
    """Largest difference of the gradients from the loop's in float64, relative to the largest gradient."""
    double = model.double()
    try:
        arena, batch, seeds = _step_arguments(double, x, widths, CHECK_REPLICAS, torch.float64, device)
        rows = range(CHECK_REPLICAS)
        copy = Arena.gather([(arena, row) for row in rows])  # the step may change running statistics
        expected = one_step(LoopBackend(double), copy, batch, seeds, rows)
        actual = one_step(backend, arena, batch, seeds, rows)
        return float((actual - expected).abs().max() / expected.abs().max())
    finally:
        model.float()
