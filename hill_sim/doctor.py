"""What this installation is made of, and what is wrong with it: for bug reports, and for `hill-sim doctor`."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import hill_sim

_PACKAGES = ("torch", "torchvision", "numpy", "numba", "scipy", "scikit-learn", "pandas", "pyarrow", "seaborn",
             "pydantic", "tyro", "optuna")  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One thing looked at; `problem` says what is wrong and what would mend it, or is empty."""

    name: str
    value: str
    problem: str = ""


def examine() -> list[Finding]:
    """Look at everything; what cannot be looked at becomes a problem, never an exception."""
    checks: tuple[Callable[[], list[Finding]], ...] = (
        _versions,
        _threads,
        _device,
        _kernels,
        _memory,
        _folders,
        _task,
    )
    findings: list[Finding] = []
    for check in checks:
        try:
            findings += check()
        except Exception as error:
            findings.append(Finding(check.__name__.strip("_"), "?", f"{type(error).__name__}: {error}"))
    return findings


def _versions() -> list[Finding]:
    found = [
        Finding("hill-sim", f"{hill_sim.__version__} in {Path(hill_sim.__file__).parent}"),
        Finding("python", f"{platform.python_version()} ({sys.executable})"),
        Finding("system", f"{platform.system()} {platform.release()} {platform.machine()}"),
    ]
    for name in _PACKAGES:
        try:
            found.append(Finding(name, version(name)))
        except PackageNotFoundError:
            found.append(Finding(name, "absent", f"pip install {name}"))
    return found


def _threads() -> list[Finding]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [Finding("cores", f"{usable} usable of {os.cpu_count()}; workers use one thread each")]


def _device() -> list[Finding]:
    import torch

    if not torch.cuda.is_available():
        built = f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "torch is built without CUDA"
        return [Finding("device", f"cpu ({built}; no GPU found)")]
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return [Finding("device", f"cuda: {', '.join(names)} (CUDA {torch.version.cuda})")]


def _kernels() -> list[Finding]:
    import torch

    from hill_sim.kernels.status import status

    kernels = status()
    wanted = {"cpp": "install a C++ compiler and build again (make): slower kernels serve until then"}
    if torch.cuda.is_available():
        wanted["cuda"] = "install nvcc and build again (make): plain torch serves on the GPU until then"
    found = []
    for backend in (*kernels.backends, kernels.numpy):
        value = f"{'usable' if backend.usable else 'not usable'}: {backend.reason}"
        found.append(Finding(f"kernels {backend.name}", value, "" if backend.usable else wanted.get(backend.name, "")))
    return [*found, Finding("kernels auto", f"{kernels.auto['cpu']} on the CPU, {kernels.auto['cuda']} on a GPU")]


def _memory() -> list[Finding]:
    free = _available_memory()
    if free is None:
        return [Finding("memory", "unknown on this system")]
    problem = "a worker needs about 0.7 GB: use fewer --workers" if free < 2 * 10**9 else ""
    return [Finding("memory", f"{free / 1e9:.1f} GB available", problem)]


def _available_memory() -> int | None:
    """Bytes that can be used without swapping, on Linux."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _folders() -> list[Finding]:
    found = []
    for name, path in (("results", Path.cwd() / "runs"), ("temporary files", Path(tempfile.gettempdir()))):
        place = path if path.exists() else path.parent
        free = shutil.disk_usage(place).free
        problem = "" if os.access(place, os.W_OK) else f"{place} cannot be written: run elsewhere, or give --out"
        found.append(Finding(name, f"{path} ({free / 1e9:.1f} GB free)", problem))
    return found


def _task() -> list[Finding]:
    """Load the default task: the data that every first run needs."""
    from hill_sim.tasks import load_task
    from hill_sim.trial import Options

    task = load_task("digits", Options())
    return [
        Finding(
            "digits", f"{len(task.train)} training, {len(task.validation)} validation, {len(task.test)} test images"
        )
    ]
