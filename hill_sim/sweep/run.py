"""The driver: expands a sweep, hands out what is not yet done, stores each batch as it ends.

Kill it whenever; the same command goes on where it stopped, and the final table is the same to the bit.
"""

from __future__ import annotations

import json
import logging
import platform
import re
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pandas as pd

import hill_sim
from hill_sim.engine.results import RunSet
from hill_sim.errors import HillError, InvalidInput, Unavailable, unknown
from hill_sim.sweep.batches import batches
from hill_sim.sweep.executors import Batch, Executor, InProcess, LocalWorkers, TrialEnded, count
from hill_sim.sweep.expand import Planned, expand
from hill_sim.sweep.folder import RESULTS, RunFolder, check, export
from hill_sim.sweep.progress import Progress
from hill_sim.sweep.spec import SweepSpec
from hill_sim.sweep.store import ResultStore
from hill_sim.trial import Trial

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SweepSummary:
    """How a call of `run_sweep` ended.

    Attributes:
        trials: of the whole sweep; `ran`: of those, finished in this call.
        outcomes: one row a finished trial, from this call and those before it (`load_outcomes`).
        epochs_asked, epochs_run: of this call's batches, twins included.
        interrupted: Ctrl-C ended it before all was done.
    """

    folder: Path
    trials: int
    ran: int
    outcomes: pd.DataFrame
    epochs_asked: int
    epochs_run: int
    seconds: float
    interrupted: bool

    @property
    def failed(self) -> list[tuple[str, str, str]]:
        """Label, key and last line of the traceback of each trial that failed."""
        rows = self.outcomes[self.outcomes["status"] == "failed"]
        last = [(error.strip().splitlines() or [""])[-1] for error in rows["error"]]
        return list(zip(rows["label"], rows["key"], last, strict=True))


def run_sweep(
    spec: SweepSpec,
    folder: Path | str,
    *,
    workers: int | str = "auto",
    device: str = "auto",
    backend: str = "auto",
    pmax: int | str = "auto",
    retry_failed: bool = False,
    progress: bool = True,
    simulate: Callable[..., RunSet] | None = None,
) -> SweepSummary:
    """Run what is missing of a sweep, into its run folder.

    Args:
        spec: from `read_sweep`.
        folder: made if it is not there; if it is, it must hold the same sweep.
        workers: processes, one thread each; "auto" is the cores this process may use (on a GPU: 1).
        device, backend, pmax: of `simulate`. What "auto" comes to, for the loss kernels too, is pinned by the first
            call: a sweep resumed with others would mix results that differ in the last bits.
        retry_failed: run trials again that failed before.
        progress: a bar on stderr, if that is a terminal.
        simulate: in place of the engine, called in this process.

    Raises:
        InvalidInput: trials that cannot be run, a folder that holds something else; nothing has been changed.
        Unavailable: another driver is at work in the folder.
        KeyboardInterrupt: Ctrl-C twice; what was stored stays.
    """
    path, began = Path(folder), time.monotonic()
    planned = expand(spec)
    check(path, spec)
    _check_device(device)
    number = count(workers, device)
    engine: dict[str, Any] = {"device": device, "pmax": pmax, "progress": False}
    executor: Executor = InProcess(simulate, engine) if simulate else LocalWorkers(number, engine)
    try:
        places = _resolved(planned, pmax)
        chosen = None if (path / RESULTS).exists() else _chosen(places, device, backend)
        with RunFolder.claim(path, spec), _named_database_errors(path), ResultStore(path / RESULTS) as store:
            stored = json.loads(store.meta("pinned") or "null")
            pinned = (
                _confirmed(stored, places, device, backend) if stored else chosen or _chosen(places, device, backend)
            )
            store.set_meta({"pinned": json.dumps(pinned)})
            engine.update(device=pinned["device"], kernels=pinned["kernels"])
            if retry_failed:
                store.forget(store.finished("failed"))
            finished = store.finished() & places.keys()
            todo = [item.trial for key, (_, item) in places.items() if key not in finished]
            bar = Progress(len(places), len(finished), enabled=progress)
            asked = run = ran = 0
            with _interruptible() as stop, bar:
                waiting = iter(_batches(todo, pinned["backends"], number))
                for event in executor.run(lambda: next(waiting, None), stop):
                    if isinstance(event, TrialEnded):
                        bar.trial(event.key)
                        continue
                    store.add(event.results, places, views=spec.seeds[:1], info=event.info)
                    ran += len(event.results)
                    asked += event.info.get("epochs_asked", 0)
                    run += event.info.get("epochs_run", 0)
                    failed = sum(result.outcome.status == "failed" for result in event.results)
                    bar.batch(failed, event.info.get("epochs_asked", 0), event.info.get("epochs_run", 0))
            outcomes = export(path)
        interrupted = len(finished) + ran < len(places)
        return SweepSummary(path, len(places), ran, outcomes, asked, run, time.monotonic() - began, interrupted)
    finally:
        executor.close()


def _resolved(planned: Sequence[Planned], pmax: int | str) -> dict[str, tuple[int, Planned]]:
    """Each trial with all defaults filled in, by its key, with its place in the sweep. Checks that all can be run."""
    from hill_sim.engine.planning import check_pmax, resolve_all  # late: torch, while the workers import it too

    check_pmax(pmax)
    trials = resolve_all([item.trial for item in planned])
    resolved: dict[Trial, Planned] = {}
    for item, trial in zip(planned, trials, strict=True):
        resolved.setdefault(trial, Planned(trial, item.case, item.label))
    return {trial.key: (position, item) for position, (trial, item) in enumerate(resolved.items())}


def _confirmed(
    stored: dict[str, Any], places: Mapping[str, tuple[int, Planned]], device: str, backend: str
) -> dict[str, Any]:
    """What an earlier call pinned, if it can be had again; raises if something else is asked for by name."""
    began_with = {"device": {stored["device"]}, "backend": set(stored["backends"].values())}
    for name, asked in (("device", device), ("backend", backend)):
        if asked != "auto" and {asked} != began_with[name]:
            was = " or ".join(sorted(began_with[name]))
            raise InvalidInput(f"{name}: {asked!r} is not {was}, with which this sweep began")
    if stored["device"].startswith("cuda") and not _has_gpu():
        raise Unavailable("device: this sweep began on a GPU, and torch finds none here")
    for task, fingerprint in _data(places)["data"].items():
        if (was := stored.get("data", {}).get(task, fingerprint)) != fingerprint:
            now_and_then = f"other data (fingerprint {fingerprint}) than this sweep began with ({was})"
            raise InvalidInput(f"task {task}: {now_and_then}; bring those back, or choose another --out")
    for name, now in _versions().items():
        if stored[name] != now:
            log.warning("this sweep began under %s %s, here is %s: last bits may differ", name, stored[name], now)
    return stored


def _chosen(places: Mapping[str, tuple[int, Planned]], device: str, backend: str) -> dict[str, Any]:
    """Device, backends and kernels of a new sweep: what is asked for by name, and what "auto" comes to here."""
    import torch

    from hill_sim.engine.choose import make_backend
    from hill_sim.engine.planning import base_of
    from hill_sim.kernels.dispatch import resolve as kernels_for

    if device == "auto":
        device = "cuda" if _has_gpu() else "cpu"
    backends = {}
    for _, item in places.values():
        kind = kind_of(item.trial)
        if kind not in backends:
            backends[kind] = make_backend(backend, base_of(item.trial), torch.device(device)).name
    kernels = kernels_for("auto", torch.device(device).type)
    return {"device": device, "backends": backends, "kernels": kernels, **_data(places), **_versions()}


def _data(places: Mapping[str, tuple[int, Planned]]) -> dict[str, dict[str, str]]:
    """Fingerprints of the tasks' data, and what must be known before concluding anything from them."""
    from hill_sim.tasks import fingerprints_of, notes_of

    trials = [item.trial for _, item in places.values()]
    return {"data": fingerprints_of(trials), "notes": notes_of(trials)}


def _versions() -> dict[str, str]:
    import torch

    return {
        "hill_sim": hill_sim.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def _check_device(device: str) -> None:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise unknown("device", device, ("auto", "cpu", "cuda"))
    if device.startswith("cuda") and not _has_gpu():
        raise Unavailable(f"device: {device!r} was asked for, and torch finds no GPU")


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def kind_of(trial: Trial) -> str:
    """Trials of one kind have tensors of the same shapes, so the same backend suits them."""
    fields = trial.to_dict()
    return json.dumps([fields[n] for n in ("task", "task_options", "model", "model_options", "batch_size")])


def _batches(trials: Sequence[Trial], backends: Mapping[str, str], workers: int) -> list[Batch]:
    """Batches of trials of one backend each."""
    by_backend: dict[str, list[Trial]] = {}
    for trial in trials:
        by_backend.setdefault(backends[kind_of(trial)], []).append(trial)
    return [
        Batch(tuple(packed), {"backend": backend})
        for backend, some in by_backend.items()
        for packed in batches(some, workers)
    ]


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Yields a function that says whether Ctrl-C was pressed. Pressed again it is a KeyboardInterrupt."""
    pressed = threading.Event()

    def handler(signum: int, frame: FrameType | None) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()
        log.warning("stopping when the batches in flight have ended; Ctrl-C again stops at once")

    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield pressed.is_set
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _named_database_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise HillError(f"{path / RESULTS}: cannot be written: {error}; what was stored stays") from None
