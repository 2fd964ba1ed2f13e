"""The driver: expands a sweep, hands out what is not yet done, stores each batch as it ends.

Kill it whenever; the same command goes on where it stopped, and the final table is the same to the bit.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeAlias

import pandas as pd

from hill_sim.engine.results import RunSet
from hill_sim.errors import HillError, InvalidInput, Unavailable
from hill_sim.sweep.commit import commit
from hill_sim.sweep.executors import BatchEnded, Executor, TrialEnded, choose
from hill_sim.sweep.expand import Planned, expand
from hill_sim.sweep.folder import PREFIXES, RESULTS, RunFolder, check, export, load_outcomes, read_spec
from hill_sim.sweep.identity import agreed_code, confirm
from hill_sim.sweep.logbook import logbook
from hill_sim.sweep.pinned import Agree, Pinned, agreed, alone, check_device, chosen, confirmed
from hill_sim.sweep.progress import Progress
from hill_sim.sweep.search.study import JOURNAL, LocalStudy, Study
from hill_sim.sweep.search.work import Proposals, SearchWork
from hill_sim.sweep.spec import SweepSpec
from hill_sim.sweep.store import ResultStore
from hill_sim.sweep.trackers import Callback, Callbacks
from hill_sim.sweep.work import FixedWork, Packer, Work
from hill_sim.trial import Options, Trial

if TYPE_CHECKING:
    from hill_sim.sweep.shared import Database

log = logging.getLogger(__name__)

StudyOf: TypeAlias = Callable[[list[dict[str, Any]]], Study]
"""Opens the study, given the parameters of the candidates proposed so far."""
Opener: TypeAlias = Callable[[ResultStore, Packer, Agree, StudyOf], Work]


@dataclass(frozen=True)
class SweepSummary:
    """How a call of `run_sweep` ended.

    Attributes:
        trials: of the whole sweep; `finished`: of those, in this call and those before it; `ran`: in this call; a trial
            that a search stopped and then trained to its end counts twice.
        epochs_asked, epochs_run: of this call's batches, twins included.
        interrupted: Ctrl-C or SIGTERM ended it before all was done.
    """

    folder: Path
    trials: int
    finished: int
    ran: int
    epochs_asked: int
    epochs_run: int
    seconds: float
    interrupted: bool

    @cached_property
    def outcomes(self) -> pd.DataFrame:
        """One row a finished trial, read from the folder when it is first asked for (`load_outcomes`)."""
        return load_outcomes(self.folder)

    @cached_property
    def failed(self) -> list[tuple[str, str, str]]:
        """Label, key and last line of the traceback of each trial that failed."""
        with ResultStore(self.folder / RESULTS, readonly=True) as store:
            return [
                (label, key, (outcome.error.strip().splitlines() or [""])[-1])
                for label, key, outcome in store.failures()
            ]


def run_sweep(
    spec: SweepSpec,
    folder: Path | str,
    *,
    workers: int | str = "auto",
    device: str = "auto",
    backend: str = "auto",
    pmax: int | str = "auto",
    retry_failed: bool = False,
    extend: bool = False,
    progress: bool = True,
    executor: str = "local",
    ray_address: str | None = None,
    gpus_per_worker: float = 0.0,
    storage: str | None = None,
    callbacks: Sequence[Callback] = (),
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
        extend: the folder may hold a part of this sweep (fewer seeds, values, users, candidates), which then goes on as
            the whole.
        progress: a bar on stderr if that is a terminal, else a line now and then.
        executor: "local", or "ray" (then `workers` "auto" is one for each CPU of the cluster).
        ray_address: of a running cluster; None starts Ray on this machine.
        gpus_per_worker: for ray, the share of a GPU that each worker holds.
        storage: URL of a PostgreSQL database through which several drivers, each in a folder of its own, share the
            sweep: each trial is run by one of them, and all of their folders end with all results.
        callbacks: told of each batch when it has been stored (`hill_sim.sweep.trackers`).
        simulate: in place of the engine, called in this process.

    Raises:
        InvalidInput: trials that cannot be run, a folder that holds something else; nothing has been changed.
        Unavailable: another driver is at work in the folder; no database answers at `storage`.
        KeyboardInterrupt: Ctrl-C twice; what was stored stays.
    """
    path, began = Path(folder), time.monotonic()
    check(path, spec, extend=extend)
    check_device(device)
    if retry_failed and spec.search and spec.search.adaptive:
        raise InvalidInput("retry_failed: not in this search: later candidates were proposed knowing what failed")
    if retry_failed and storage:
        raise InvalidInput("retry_failed: not with storage: the other drivers hold the same failures")
    database = _database(storage)
    engine: dict[str, Any] = {"device": device, "pmax": pmax, "progress": False}
    crew = choose(
        executor, workers, engine, address=ray_address, gpus_per_worker=gpus_per_worker, spec=spec, simulate=simulate
    )
    number, told = crew.number, Callbacks(callbacks)
    try:
        work_of, trials = _opener(spec, pmax)
        values = None if (path / RESULTS).exists() else chosen(trials, device, backend)
        with (
            _named_disk_errors(path),
            RunFolder.claim(path, spec, extend=extend),
            logbook(path),
            ResultStore(path / RESULTS) as store,
        ):
            confirm(store, spec, mended=retry_failed)
            stored = json.loads(store.meta("pinned") or "null")
            values = confirmed(stored, trials, device, backend) if stored else values or chosen(trials, device, backend)
            if retry_failed:
                store.forget(store.finished("failed"))
                (path / JOURNAL).unlink(missing_ok=True)  # what a study says has ended stays so: it is written again
            with _shared(database, path, store, crew, extend) as (everybody, agree, study):
                agreed_code(store, agree)
                values = agreed(values, agree, trials, device, backend, begun=bool(stored))
                pinned = Pinned(store, values, backend, agree)
                engine.update(pinned.engine)
                work = work_of(store, Packer(pinned, everybody, (path / PREFIXES).resolve()), agree, study)
                place = str(database.address) if database else ""
                store.set_meta({"commit": commit(), "total": str(work.total), "storage": place})
                counts = store.counts()
                before = sum(counts.values())
                log.info("%s trials, %s done before; %s workers (%s)", work.total, before, number, executor)
                bar = Progress(work.total, before, failed=counts.get("failed", 0), enabled=progress)
                with _interruptible() as stop, bar:
                    ran, asked, run = _drive(everybody, work, store, bar, stop, told, before, spec.seeds[:1])
            finished = export(path)
            log.info("%s of %s trials finished", finished, work.total)
            if work.finished:
                shutil.rmtree(path / PREFIXES, ignore_errors=True)
        return SweepSummary(path, work.total, finished, ran, asked, run, time.monotonic() - began, not work.finished)
    finally:
        crew.close()
        told.close()
        if database is not None:
            database.close()


def _drive(
    crew: Executor,
    work: Work,
    store: ResultStore,
    bar: Progress,
    stop: Callable[[], bool],
    told: Callbacks,
    finished: int,
    views: Sequence[int],
) -> tuple[int, int, int]:
    """Have the work done and store what comes; returns how many trials ran here, their epochs asked and run."""
    ran = asked = run = 0
    for event in crew.run(bar.watch(work.feed), stop):
        if isinstance(event, TrialEnded):
            bar.trial(event.key)
        if not isinstance(event, BatchEnded):
            continue
        bar.batch(event.results, event.info)
        store.add(event.results, work.places, views=views, info=event.info, meta={"progress": bar.note(crew.number)})
        work.told(event.results)
        finished += len(event.results)
        ran += len(event.results) if event.here else 0
        asked += event.info.get("epochs_asked", 0)
        run += event.info.get("epochs_run", 0)
        told.on_batch(event.results, finished)
    return ran, asked, run


@contextmanager
def _shared(
    database: Database | None, path: Path, store: ResultStore, crew: Executor, extend: bool
) -> Iterator[tuple[Executor, Agree, StudyOf]]:
    """The executor, what is agreed with other drivers and how to open the study: of one driver, or of several."""
    spec = read_spec(path)  # whatever the sweep is called now, here it goes by the name that it began with
    if database is None:
        yield crew, alone, partial(LocalStudy.open, path, spec)
        return
    from hill_sim.sweep.shared import SharedExecutor, SharedSweep

    with SharedSweep.join(database, spec, store, crew.number, extend=extend) as shared:
        yield SharedExecutor(crew, shared), shared.agree, lambda proposed: shared.study()


def _opener(spec: SweepSpec, pmax: int | str) -> tuple[Opener, list[Trial]]:
    """How to open the sweep's work, and trials by which to choose what they need; checks that they can be run."""
    if spec.search:
        proposals = Proposals(spec)
        first = [item.trial for item in proposals.first()]

        def searching(store: ResultStore, pack: Packer, agree: Agree, study: StudyOf) -> Work:
            return SearchWork(proposals, store, study(proposals.params(store)), pack, agree)

        return searching, first
    places = _resolved(expand(spec), pmax)

    def fixed(store: ResultStore, pack: Packer, agree: Agree, study: StudyOf) -> Work:
        store.arrange(places)
        return FixedWork(places, store.finished(), pack)

    return fixed, [item.trial for _, item in places.values()]


def _resolved(planned: Sequence[Planned], pmax: int | str) -> dict[str, tuple[int, Planned]]:
    """Each trial with all defaults filled in, by its key, with its place in the sweep. Checks that all can be run."""
    from hill_sim.engine.planning import check_pmax, resolve_all  # late: torch, while the workers import it too

    check_pmax(pmax)
    _check_data([item.trial for item in planned])
    trials = resolve_all([item.trial for item in planned])
    resolved: dict[Trial, Planned] = {}
    for item, trial in zip(planned, trials, strict=True):
        resolved.setdefault(trial, Planned(trial, item.case, item.label))
    return {trial.key: (position, item) for position, (trial, item) in enumerate(resolved.items())}


def _database(storage: str | None) -> Database | None:
    """The database at this URL, which answers."""
    if storage is None:
        return None
    from hill_sim.sweep.shared import Address, Database  # late: SQLAlchemy, which few need

    database = Database(Address.parse(storage))
    database.run(lambda cursor: cursor.execute("SELECT 1"))
    return database


def _check_data(trials: Sequence[Trial]) -> None:
    """Raise Unavailable naming every task whose data are not here, not only the first."""
    from hill_sim.tasks import load_task

    missing: dict[str, Unavailable] = {}
    for task, options in dict.fromkeys((trial.task, Options(trial.task_options)) for trial in trials):
        try:
            load_task(task, options)
        except Unavailable as error:
            missing.setdefault(task, error)
    if len(missing) > 1:
        raise Unavailable(
            f"the data of {len(missing)} tasks are not here: {', '.join(missing)}; `hill-sim data list` shows what is, "
            "`hill-sim data fetch TASK` gets it; to run without them, leave their cases out: --set 'cases=[...]'"
        )


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Yields a function that says whether Ctrl-C was pressed, or SIGTERM came, as schedulers send it.

    The second of them is a KeyboardInterrupt."""
    pressed = threading.Event()

    def handler(signum: int, frame: FrameType | None) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()
        log.warning("stopping when the batches in flight have ended; Ctrl-C again stops at once")

    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield pressed.is_set
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield pressed.is_set
    finally:
        for number, of_old in before.items():
            signal.signal(number, of_old)


@contextmanager
def _named_disk_errors(path: Path) -> Iterator[None]:
    """A disk that is full, read-only or broken is one line, whatever met it first."""
    try:
        yield
    except sqlite3.Error as error:
        raise HillError(f"{path / RESULTS}: cannot be written: {error}; what was stored stays") from None
    except OSError as error:
        if not path.is_dir():
            raise HillError(f"{path}: was deleted or moved while the sweep ran; it stops here") from None
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM):
            raise
        raise HillError(f"{path}: cannot be written: {os.strerror(error.errno)}; what was stored stays") from None
