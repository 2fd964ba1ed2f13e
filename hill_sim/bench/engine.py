"""`hill-sim bench engine`: the engine against two plain loops, as ratios within one run.

Every figure is a ratio of seconds: what a baseline needs for the epochs that were asked for (its seconds per epoch,
the minimum of several rounds spread over the run, times that number), over what the engine took. One thread. On the CPU
the seconds are the process's own, so that others on the machine count less; on a GPU those of the clock.

Convnets take minutes where chains take seconds. Their ratios depend on the share of epochs, so less data will do:

    hill-sim bench engine --task dsads --set segments=2
    hill-sim bench engine --task cifar10 --set train_per_class=20 --set validation_per_class=10 --set test_per_class=20
"""

from __future__ import annotations

import datetime
import itertools
import platform
import resource
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import torch
import tyro

from hill_sim.bench.baselines import lean, usual
from hill_sim.config import set_value
from hill_sim.engine import plan, simulate
from hill_sim.errors import InvalidInput, unknown
from hill_sim.registry import STRATEGIES
from hill_sim.tasks import load_task, resolve
from hill_sim.trial import Options, Trial

EPOCHS_PER_ROUND = 10
CLOCK = time.perf_counter if torch.cuda.is_available() else time.process_time


@dataclass(frozen=True)
class EngineBench:
    """Benchmark the engine.

    Attributes:
        task: any task.
        set: an option of the task, e.g. --set train_per_class=20.
        strategies: of the six, the first so many; fewer make grid and tree shorter, and the tree share less.
        cases: of `population`, `grid`, `tree` and `planning`.
        pmax: replicas in a population; 0 is the engine's choice.
        out: a CSV file to write; its folder is made.
        repeats: how often the population case runs; the minimum counts. Grid and tree run once, they are long.
    """

    task: str = "digits"
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    strategies: int = len(STRATEGIES)
    cases: tuple[str, ...] = ("population", "grid", "tree", "planning")
    pmax: int = 0
    out: Path | None = None
    repeats: int = 3


def population_trials(base: Trial, strategies: Sequence[str]) -> list[Trial]:
    """64 seeds of plain training: packing alone, nothing is shared."""
    alone = base.replace(policy="ce_only", interactions=(), epochs=EPOCHS_PER_ROUND)
    return [alone.replace(seed=seed) for seed in range(64)]


def grid_trials(base: Trial, strategies: Sequence[str]) -> list[Trial]:
    """4 alpha x 3 lambda x 6 strategies x 3 seeds, 50 epochs."""
    cells = itertools.product((0.2, 0.4, 0.6, 0.8), (0.0, 0.1, 0.3), strategies, range(3))
    return [base.replace(alpha=a, lam=lam, policy=p, seed=seed, epochs=50) for a, lam, p, seed in cells]


def tree_trials(base: Trial, strategies: Sequence[str]) -> list[Trial]:
    """Every sequence of the 6 strategies over 4 interactions: 1,296 trials of 45 epochs."""
    return [base.replace(policy=policies) for policies in itertools.product(strategies, repeat=4)]


def planning_trials(base: Trial, strategies: Sequence[str]) -> list[Trial]:
    """10,000 trials that differ in alpha, strategy and seed."""
    cells = itertools.product(range(200), STRATEGIES, range(9))
    trials = [base.replace(alpha=0.9 * a / 200, policy=policy, seed=seed) for a, policy, seed in cells]
    return trials[:10_000]


CASES: dict[str, Callable[[Trial, Sequence[str]], list[Trial]]] = {
    "population": population_trials,
    "grid": grid_trials,
    "tree": tree_trials,
    "planning": planning_trials,
}


def main(args: EngineBench) -> pd.DataFrame:
    """Run the cases, print the table, write the CSV; returns the table."""
    if not 1 <= args.strategies <= len(STRATEGIES):
        raise InvalidInput(f"strategies: {args.strategies} is not in 1..{len(STRATEGIES)}")
    for case in args.cases:
        if case not in CASES:
            raise unknown("cases", case, CASES)
    torch.set_num_threads(1)
    base = Trial(task=args.task, task_options=reduce(set_value, args.set, {}))
    trial = resolve(base.replace(policy="ce_only", interactions=()))
    task = load_task(base.task, Options(base.task_options))
    strategies = list(STRATEGIES)[: args.strategies]
    pmax: int | str = args.pmax or "auto"
    best = {"usual": float("inf"), "lean": float("inf")}

    def time_baselines(rounds: int = 3) -> None:
        for _ in range(rounds):
            for name, loop in (("usual", usual), ("lean", lean)):
                best[name] = min(best[name], _seconds(lambda loop=loop: loop(trial, task, EPOCHS_PER_ROUND)))  # type: ignore[misc]

    time_baselines()
    # Choose the backend and import everything before the clock starts.
    simulate([t.replace(epochs=1) for t in population_trials(base, strategies)[:2]])
    measured: list[dict[str, Any]] = []
    for case in args.cases:
        trials = CASES[case](base, strategies)
        if case == "planning":
            seconds = _seconds(lambda trials=trials: plan(trials))  # type: ignore[misc]
            planned = plan(trials)
            per_epoch = min((m["seconds"] / m["epochs_run"] for m in measured), default=float("nan"))
            share = seconds / (seconds + per_epoch * planned.epochs_to_run)
            measured.append({"case": case, "trials": len(trials), "seconds": seconds, "planning_share": share,
                             "epochs_asked": planned.epochs_asked, "epochs_run": planned.epochs_to_run})  # fmt: skip
            continue
        rounds: list[tuple[float, dict[str, Any]]] = []
        for _ in range(args.repeats if case == "population" else 1):
            start = CLOCK()
            info = simulate(trials, pmax=pmax).info
            rounds.append((CLOCK() - start, info))
        seconds, runs = min(rounds, key=lambda measurement: measurement[0])
        time_baselines(rounds=1)
        measured.append({
            "case": case,
            "trials": len(trials),
            "seconds": seconds,
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
    table.insert(0, "task", " ".join([args.task, *args.set]))
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
    start = CLOCK()
    work()
    return CLOCK() - start


def _print(table: pd.DataFrame) -> None:
    first = table.iloc[0]
    where = ", ".join(f"{first[name]}" for name in ("cpu", "capability"))
    print(f"{first['task']}: {where}, torch {first['torch']}, one thread, commit {first['commit']}")
    print(f"baselines: usual {first['usual_ms_per_epoch']:.2f} ms, lean {first['lean_ms_per_epoch']:.2f} ms an epoch; "
          f"peak memory {first['peak_memory_mib']:,.0f} MiB in all")  # fmt: skip
    columns = ["case", "trials", "epochs_asked", "epochs_run", "seconds", "planning_share", "usual_ratio", "lean_ratio"]
    shown = table[columns].rename(columns={"usual_ratio": "x usual", "lean_ratio": "x lean"})
    print(shown.to_string(index=False, float_format=lambda v: f"{v:.3g}", na_rep=""))
