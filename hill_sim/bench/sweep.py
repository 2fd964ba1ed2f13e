"""`hill-sim bench sweep`: what a sweep costs beside its trainings, and what more workers bring.

`scale` runs grids of growing size with an engine stub, so that expanding, planning, packing, storing, exporting and
resuming are all that is timed; each size in a process of its own, for its peak memory. `search` trains a Sobol search
for real and says which share of all processor time its driver took; then it runs one of ten thousand trials with the
stub, and carries the workers' time over from the real one. `executors` trains one grid for real with one process, with
two, and with two workers of Ray: ratios of the same run, which a short grid would make ratios of start-ups. Machines
are seldom equally fast for minutes: of a worker's time, what it did not train is told apart.

Seconds are of processor time, which others on the machine disturb less, unless the column says clock.
"""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hill_sim.bench.engine import environment
from hill_sim.config import validated
from hill_sim.engine.results import EPOCH_COLUMNS, Interaction, Outcome, RunSet, TrialResult
from hill_sim.errors import unknown
from hill_sim.registry import STRATEGIES
from hill_sim.sweep.folder import RESULTS
from hill_sim.sweep.run import run_sweep
from hill_sim.sweep.spec import SweepSpec
from hill_sim.sweep.store import ResultStore
from hill_sim.trial import Trial
from hill_sim.types import Edit, MoveCenter

SEEDS = 20


@dataclass(frozen=True)
class SweepBench:
    """Benchmark sweeps.

    Attributes:
        cases: of `scale`, `search` and `executors`.
        trials: sizes of the `scale` case.
        real: trials of the search that is trained for real.
        spread: trials of the grid of `executors`.
        out: a CSV file to write; its folder is made.
        repeats: of `executors`; the minimum counts.
    """

    cases: tuple[str, ...] = ("scale", "search", "executors")
    trials: tuple[int, ...] = (1_000, 10_000, 100_000)
    real: int = 1_000
    spread: int = 10_000
    out: Path | None = None
    repeats: int = 1


def main(args: SweepBench) -> pd.DataFrame:
    """Run the cases, print the table, write the CSV; returns the table."""
    rows: list[dict[str, Any]] = []
    for case in args.cases:
        if case not in SweepBench.cases:
            raise unknown("case", case, SweepBench.cases)
    for case in args.cases:
        if case == "scale":
            rows += [_alone(_stubbed, "scale", grid(size)) for size in args.trials]
        elif case == "search":
            rows += _search(args.real)
        else:
            rows += _executors(grid(args.spread), args.repeats)
        print(pd.DataFrame(rows).to_string(index=False, float_format=lambda v: f"{v:.3g}", na_rep=""), flush=True)
    table = pd.DataFrame(rows)
    for name, value in environment().items():
        table[name] = value
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(args.out, index=False)
        print(f"written: {args.out}")
    return table


def grid(trials: int) -> SweepSpec:
    """Digits: six strategies and 20 seeds over as many alphas as make `trials` trials, or a few more."""
    alphas = -(-trials // (len(STRATEGIES) * SEEDS))
    return validated(
        SweepSpec,
        {
            "name": f"grid-{trials}",
            "fixed": {"task_options": {"train_per_class": 20, "label_noise": 0.1}},
            "grid": {"alpha": [round(0.95 * step / alphas, 6) for step in range(1, alphas + 1)]},
            "policies": list(STRATEGIES),
            "seeds": SEEDS,
        },
        "bench",
    )


def sobol(trials: int) -> SweepSpec:
    """Digits: a Sobol search of `trials` trials, or a few less, with five seeds a candidate."""
    space = {
        "policy": list(STRATEGIES),
        "alpha": {"low": 0.05, "high": 0.95},
        "lam": {"low": 1e-3, "high": 1.0, "log": True},
        "user.motor_noise": {"low": 0.0, "high": 0.5},
    }
    return validated(
        SweepSpec,
        {
            "name": f"sobol-{trials}",
            "fixed": {"task_options": {"train_per_class": 20, "label_noise": 0.1}},
            "search": {"sampler": "qmc", "candidates": trials // 5, "space": space, "objectives": "gain"},
            "seeds": 5,
        },
        "bench",
    )


def stub(trials: Sequence[Trial], **options: Any) -> RunSet:
    """In place of `simulate`: results of the usual size, of no meaning, from nothing but the trial."""
    return RunSet(tuple(_result(trial) for trial in trials), {"epochs_asked": 45 * len(trials), "epochs_run": 0})


def _result(trial: Trial) -> TrialResult:
    epochs, interactions, predictions, confidences = _arrays()
    accuracy = int(trial.key[:4], 16) / 2**16
    outcome = Outcome(
        trial.key, trial.twin().key, test_accuracy=accuracy, gain=accuracy - 0.5, class_recall=(accuracy,) * 10
    )
    return TrialResult(trial, outcome, epochs, interactions, predictions, confidences)


@lru_cache
def _arrays() -> tuple[dict[str, list[float]], tuple[Interaction, ...], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    points, ids, centers = rng.normal(size=(100, 2)), np.arange(100), rng.normal(size=(10, 2))
    edit = Edit([MoveCenter(label, (0.5, 0.5)) for label in range(10)])
    interactions = tuple(
        Interaction(epoch, "stub", edit, 0.5, points, points, points, ids % 10, ids % 10, ids, centers,
                    np.ones(10), np.ones(10, dtype=bool), 1.0, 0.0)
        for epoch in (25, 30, 35, 40)
    )  # fmt: skip
    curves = {name: rng.random(45).tolist() for name in EPOCH_COLUMNS}
    return curves, interactions, rng.integers(0, 10, 360), rng.random(360).astype(np.float32)


def _stubbed(case: str, spec: SweepSpec) -> dict[str, Any]:
    """The driver alone: run a sweep, then open the finished one again."""
    libraries = _peak_mib()
    with tempfile.TemporaryDirectory() as folder:
        seconds, clock = [], []
        for _ in range(2):
            began, began_clock = time.process_time(), time.perf_counter()
            summary = run_sweep(spec, folder, workers=2, backend="bmm", device="cpu", progress=False, simulate=stub)
            seconds.append(time.process_time() - began)
            clock.append(time.perf_counter() - began_clock)
    return {
        "case": case,
        "trials": summary.trials,
        "driver_seconds": seconds[0],
        "driver_ms_per_trial": 1e3 * seconds[0] / summary.trials,
        "resume_seconds": seconds[1],
        "resume_clock_seconds": clock[1],
        "libraries_mib": libraries,
        "peak_memory_mib": _peak_mib(),
        "private_memory_mib": _peak_mib() - _shared_mib(),
    }


def _search(real: int) -> list[dict[str, Any]]:
    """A search trained for real, and a large one whose workers' time is carried over from it."""
    trained = _alone(_trained, sobol(real))
    large = _alone(_stubbed, "search, stub", sobol(10_000))
    large["worker_seconds"] = trained["worker_seconds"] * large["trials"] / trained["trials"]
    for row in (trained, large):
        row["driver_share"] = row["driver_seconds"] / (row["driver_seconds"] + row["worker_seconds"])
    return [trained, large]


def _trained(spec: SweepSpec) -> dict[str, Any]:
    own, workers = time.process_time(), _of_children()
    with tempfile.TemporaryDirectory() as folder:
        summary = run_sweep(spec, folder, workers=2, backend="bmm", device="cpu", progress=False)
    own, workers = time.process_time() - own, _of_children() - workers
    return {
        "case": "search",
        "trials": summary.trials,
        "driver_seconds": own,
        "driver_ms_per_trial": 1e3 * own / summary.trials,
        "worker_seconds": workers,
        "peak_memory_mib": _peak_mib(),
        "private_memory_mib": _peak_mib() - _shared_mib(),
    }


def _of_children() -> float:
    """Seconds of processor time that ended child processes took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _peak_mib() -> float:
    """Memory of this process, mapped library files included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _shared_mib() -> float:
    """Of that, mapped files: memory that the workers and everybody else with the same libraries share."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("RssFile:")[2].split()[0]) / 1024


def _executors(spec: SweepSpec, repeats: int) -> list[dict[str, Any]]:
    ways: list[dict[str, Any]] = [{"workers": 1}, {"workers": 2}, {"workers": 2, "executor": "ray"}]
    runs = [[_clocked(spec, **way) for way in ways] for _ in range(repeats)]
    best = [min(times, key=lambda row: row["clock_seconds"]) for times in zip(*runs, strict=True)]
    one, two, ray = (row["clock_seconds"] for row in best)
    best[1]["speed_ratio"], best[2]["speed_ratio"], best[2]["overhead"] = one / two, one / ray, ray / two - 1
    return best


def _clocked(spec: SweepSpec, workers: int, executor: str = "local") -> dict[str, Any]:
    began = time.perf_counter()
    watch = _FirstBatch()
    with tempfile.TemporaryDirectory() as folder:
        summary = run_sweep(spec, folder, workers=workers, executor=executor, backend="bmm", device="cpu",
                            progress=False, callbacks=[watch])  # fmt: skip
        seconds = time.perf_counter() - began
        with ResultStore(Path(folder) / RESULTS, readonly=True) as store:
            trained = store.totals()["seconds"]
    return {
        "case": "executors",
        "trials": summary.trials,
        "workers": workers,
        "executor": executor,
        "clock_seconds": seconds,
        "first_batch_seconds": watch.seen - began,
        "not_training_seconds": seconds - trained / workers,
    }


class _FirstBatch:
    """When the first batch was stored: the end of start-up, of planning, and of that batch."""

    seen = 0.0

    def on_batch(self, results: Any, finished: int) -> None:
        self.seen = self.seen or time.perf_counter()

    def close(self) -> None:
        pass


def _alone(measure: Any, *arguments: Any) -> Any:
    """In a fresh process: its memory is its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()
