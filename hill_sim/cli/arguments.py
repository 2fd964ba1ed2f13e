"""The arguments of each command, as frozen dataclasses; their docstrings are the help texts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

Overrides = Annotated[tuple[str, ...], tyro.conf.UseAppendAction]
Count = int | Literal["auto"]


@dataclass(frozen=True)
class Run:
    """Run one user over some seeds, and print what that did against the twin: the same training without edits.

    Attributes:
        task: registered (hill-sim list tasks), module:attr or path.py:attr.
        policy: the simulated user: registered (hill-sim list policies), module:attr or path.py:attr.
        alpha: how loud the user is against the data, in [0,1).
        lam: weight of the scale term, >= 0.
        seeds: how many, from 0.
        objective: hill, paper or hill-samples.
        interactions: epochs after which the user edits.
        epochs: length of the training.
        model: registered (hill-sim list models), module:attr or path.py:attr; the task's own if not given.
        set: any other field of a trial, e.g. --set task_options.label_noise=0.1 --set user.motor_noise=0.3.
        device: auto, cpu, cuda or cuda:N.
        backend: of the population: auto, chain, bmm, vmap, loop, or loop-bf16 (mixed precision, on a GPU).
        verify: run this many of the trials again, alone, and compare bit for bit.
        data_root: the folder below which tasks look for their data; HILL_SIM_DATA if not given.
        json: print JSON instead of a table.
    """

    task: str = "digits"
    policy: str = "compactness"
    alpha: float = 0.5
    lam: float = 0.1
    seeds: int = 5
    objective: str = "hill"
    interactions: tuple[int, ...] = (25, 30, 35, 40)
    epochs: int = 45
    model: str | None = None
    set: Overrides = ()
    device: str = "auto"
    backend: str = "auto"
    verify: int = 0
    data_root: Path | None = None
    json: bool = False


@dataclass(frozen=True)
class Sweep:
    """Run a sweep from YAML into a run folder; the same command again goes on where it stopped.

    Attributes:
        spec: a YAML file, the name of a bundled experiment (hill-sim list experiments), or a run folder to go on with.
        out: the run folder; runs/NAME if not given.
        budget: one of the sweep's own budgets, e.g. small.
        set: a value to put in place of the file's, e.g. --set seeds=3 --set grid.alpha=[0.5].
        workers: processes, one thread each; auto is the cores this process may use.
        device: auto, cpu, cuda or cuda:N.
        backend: of the population: auto, chain, bmm, vmap, loop, or loop-bf16 (mixed precision, on a GPU).
        plan: print what would run, and stop.
        report: write report.html at the end.
        retry_failed: run trials again that failed before.
        extend: go on in a folder that holds a part of this sweep: fewer seeds, values, users or candidates.
        executor: local, or ray (pip install 'hill-sim[ray]').
        ray_address: of a running Ray cluster, e.g. auto or ray-head:6379; Ray is started here if not given.
        gpus_per_worker: share of a GPU that each Ray worker holds, e.g. 0.25.
        storage: postgresql://USER:PASSWORD@HOST/DATABASE, through which several drivers share the sweep.
        log: trackers that follow the sweep: tensorboard, wandb, mlflow, or several with commas.
        data_root: the folder below which tasks look for their data; HILL_SIM_DATA if not given.
        json: print JSON instead of a table.
    """

    spec: tyro.conf.Positional[str]
    out: Path | None = None
    budget: str | None = None
    set: Overrides = ()
    workers: Count = "auto"
    device: str = "auto"
    backend: str = "auto"
    plan: bool = False
    report: bool = True
    retry_failed: bool = False
    extend: bool = False
    executor: Literal["local", "ray"] = "local"
    ray_address: str | None = None
    gpus_per_worker: float = 0.0
    storage: str | None = None
    log: str = ""
    data_root: Path | None = None
    json: bool = False


@dataclass(frozen=True)
class Status:
    """Show how a sweep stands, while it runs or after; reads only.

    Attributes:
        folder: of a sweep.
        json: print JSON instead of lines.
    """

    folder: tyro.conf.Positional[Path]
    json: bool = False


@dataclass(frozen=True)
class Report:
    """Write the report of a run folder again, and print its path.

    Attributes:
        folder: of a sweep, finished or not.
    """

    folder: tyro.conf.Positional[Path]


@dataclass(frozen=True)
class Replay:
    """Run one stored trial again, alone, and compare bit for bit with what is stored. Exit code 1 if it differs.

    Attributes:
        folder: of a sweep.
        trial: the trial's key, or as much of its beginning as is unique.
        data_root: the folder below which tasks look for their data; HILL_SIM_DATA if not given.
    """

    folder: tyro.conf.Positional[Path]
    trial: tyro.conf.Positional[str]
    data_root: Path | None = None


@dataclass(frozen=True)
class Bench:
    """Measure speed on this machine: hill-sim bench kernels --help, hill-sim bench engine --help, ...

    Attributes:
        what: the loss kernels, the engine, or what a sweep costs beside its trainings.
    """

    what: tyro.conf.Positional[Literal["kernels", "engine", "sweep"]]


@dataclass(frozen=True)
class List:
    """Show what can be named in a trial or a sweep.

    Attributes:
        what: only these.
        json: print JSON instead of a table.
    """

    what: tyro.conf.Positional[Literal["all", "tasks", "policies", "models", "experiments"]] = "all"
    json: bool = False


@dataclass(frozen=True)
class Data:
    """Show the tasks and their data (list), load one and say what is in it (check), or download it (fetch).

    Attributes:
        what: list, check or fetch.
        task: for check, a task by any name that a trial takes; for fetch, a registered one, or cifar10h.
        set: an option of the task, e.g. --set train_per_class=20 --set path=mine.csv.
        floor: for check, also what a linear model reaches on it: a network should do better.
        data_root: the folder below which tasks look for their data; HILL_SIM_DATA if not given.
        json: print JSON instead of a table.
    """

    what: tyro.conf.Positional[Literal["list", "check", "fetch"]] = "list"
    task: tyro.conf.Positional[str] = ""
    set: Overrides = ()
    floor: bool = False
    data_root: Path | None = None
    json: bool = False


@dataclass(frozen=True)
class Doctor:
    """Show versions, device, threads, kernels and memory, and what is wrong with them. Exit code 1 if anything is.

    Attributes:
        json: print JSON instead of a table.
    """

    json: bool = False


Command = (
    Annotated[Run, tyro.conf.subcommand("run")]
    | Annotated[Sweep, tyro.conf.subcommand("sweep")]
    | Annotated[Status, tyro.conf.subcommand("status")]
    | Annotated[Report, tyro.conf.subcommand("report")]
    | Annotated[Replay, tyro.conf.subcommand("replay")]
    | Annotated[Bench, tyro.conf.subcommand("bench")]
    | Annotated[List, tyro.conf.subcommand("list")]
    | Annotated[Data, tyro.conf.subcommand("data")]
    | Annotated[Doctor, tyro.conf.subcommand("doctor")]
)
