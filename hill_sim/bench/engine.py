"""`hill-sim bench engine`: the engine against two plain loops, as ratios within one run.

Every figure is a ratio of seconds: what a baseline needs for the epochs that were asked for (its seconds per epoch,
the minimum of several rounds spread over the run, times that number), over what the engine took. One thread.
"""

from __future__ import annotations

import datetime
import itertools
import platform
import resource
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from hill_sim.bench.baselines import lean, usual
from hill_sim.engine import plan, simulate
from hill_sim.registry import STRATEGIES
from hill_sim.tasks import load_task, resolve
from hill_sim.trial import Options, Trial

EPOCHS_PER_ROUND = 10


@dataclass(frozen=True)
class EngineBench:
    """Benchmark the engine.

    Attributes:
        task: any registered task.
        cases: of `population`, `grid`, `tree` and `planning`.
        pmax: replicas in a population; 0 is the engine's choice.
        out: a CSV file to write; its folder is made.
        repeats: how often the population case runs; the minimum counts. Grid and tree run once, they are long.
    """

    task: str = "digits"
    cases: tuple[str, ...] = ("population", "grid", "tree", "planning")
    pmax: int = 0
    out: Path | None = None
    repeats: int = 3


def population_trials(task: str) -> list[Trial]:
    """64 seeds of plain training: packing alone, nothing is shared."""
    return [Trial(task=task, policy="ce_only", interactions=(), epochs=EPOCHS_PER_ROUND, seed=s) for s in range(64)]


def grid_trials(task: str) -> list[Trial]:
    """4 alpha x 3 lambda x 6 strategies x 3 seeds, 50 epochs."""
    cells = itertools.product((0.2, 0.4, 0.6, 0.8), (0.0, 0.1, 0.3), STRATEGIES, range(3))
    return [Trial(task=task, alpha=a, lam=lam, policy=policy, seed=seed, epochs=50) for a, lam, policy, seed in cells]


def tree_trials(task: str) -> list[Trial]:
    """Every sequence of the 6 strategies over 4 interactions: 1,296 trials of 45 epochs."""
    return [Trial(task=task, policy=policies) for policies in itertools.product(STRATEGIES, repeat=4)]


def planning_trials(task: str) -> list[Trial]:
    """10,000 trials that differ in alpha, strategy and seed."""
    cells = itertools.product(range(200), STRATEGIES, range(9))
    trials = [Trial(task=task, alpha=0.9 * a / 200, policy=policy, seed=seed) for a, policy, seed in cells]
    return trials[:10_000]


CASES: dict[str, Callable[[str], list[Trial]]] = {
    "population": population_trials,
    "grid": grid_trials,
    "tree": tree_trials,
    "planning": planning_trials,
}


def main(args: EngineBench) -> pd.DataFrame:
    """Run the cases, print the table, write the CSV; returns the table."""
    torch.set_num_threads(1)
    task = load_task(args.task, Options())
    trial = resolve(Trial(task=args.task, policy="ce_only", interactions=()))
    pmax: int | str = args.pmax or "auto"
    best = {"usual": float("inf"), "lean": float("inf")}

    def time_baselines(rounds: int = 3) -> None:
        for _ in range(rounds):
            for name, loop in (("usual", usual), ("lean", lean)):
                best[name] = min(best[name], _seconds(lambda loop=loop: loop(trial, task, EPOCHS_PER_ROUND)))  # type: ignore[misc]

    time_baselines()
    simulate(population_trials(args.task)[:2])  # choose the backend and import everything before the clock starts
    measured: list[dict[str, Any]] = []
    for case in args.cases:
        trials = CASES[case](args.task)
        if case == "planning":
            seconds = _seconds(lambda trials=trials: plan(trials))  # type: ignore[misc]
            planned = plan(trials)
            per_epoch = min((m["seconds"] / m["epochs_run"] for m in measured), default=float("nan"))
            share = seconds / (seconds + per_epoch * planned.epochs_to_run)
            measured.append({"case": case, "trials": len(trials), "seconds": seconds, "planning_share": share,
                             "epochs_asked": planned.epochs_asked, "epochs_run": planned.epochs_to_run})  # fmt: skip
            continue
        runs = min(
            (simulate(trials, pmax=pmax).info for _ in range(args.repeats if case == "population" else 1)),
            key=lambda info: info["seconds"],
        )
        time_baselines(rounds=1)
        measured.append({
            "case": case,
            "trials": len(trials),
            "seconds": runs["seconds"],
            "planning_share": runs["planning_seconds"] / runs["seconds"],
            "epochs_asked": sum(t.epochs for t in trials),
            "epochs_run": runs["epochs_run"],
            "backend": runs["backend"],
        })  # fmt: skip
    table = pd.DataFrame(measured)
    for name, seconds in best.items():
        table[f"{name}_ratio"] = seconds / EPOCHS_PER_ROUND * table["epochs_asked"] / table["seconds"]
        table.loc[table["case"] == "planning", f"{name}_ratio"] = float("nan")
        table[f"{name}_ms_per_epoch"] = seconds / EPOCHS_PER_ROUND * 1e3
    table["peak_memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for name, value in environment().items():
        table[name] = value
    _print(table)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(args.out, index=False)
        print(f"written: {args.out}")
    return table


def environment() -> dict[str, str]:
    """What a reader needs to place the numbers: processor, versions, commit, date."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].split(":", 1)[1].strip() if names else cpu
    command = ["git", "-C", str(Path(__file__).resolve().parent), "describe", "--always", "--dirty"]
    git = subprocess.run(command, capture_output=True, text=True, check=False)
    return {
        "cpu": cpu,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "commit": git.stdout.strip() or "unknown",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _print(table: pd.DataFrame) -> None:
    first = table.iloc[0]
    print(f"{first['cpu']}, {first['capability']}, torch {first['torch']}, one thread, commit {first['commit']}")
    print(f"baselines: usual {first['usual_ms_per_epoch']:.2f} ms, lean {first['lean_ms_per_epoch']:.2f} ms an epoch; "
          f"peak memory {first['peak_memory_mib']:,.0f} MiB in all")  # fmt: skip
    columns = ["case", "trials", "epochs_asked", "epochs_run", "seconds", "planning_share", "usual_ratio", "lean_ratio"]
    shown = table[columns].rename(columns={"usual_ratio": "x usual", "lean_ratio": "x lean"})
    print(shown.to_string(index=False, float_format=lambda v: f"{v:.3g}", na_rep=""))
