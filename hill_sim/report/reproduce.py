"""How to make a run again: command, seeds, versions, commit, machine, cost."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import hill_sim
from hill_sim.report.study import Study
from hill_sim.report.words import count_of, duration
from hill_sim.sweep.commit import commit

PACKAGES = ("torch", "numpy", "scikit-learn", "pandas")


def facts(study: Study, command: str) -> list[tuple[str, str]]:
    """Name and value of everything that the reader needs to run it again."""
    info = study.runs.info
    pinned: dict[str, Any] = info.get("pinned") or {}
    rows = [
        ("Command", command or "hill_sim.simulate(trials)"),
        ("Seeds", _seeds(study.seeds)),
        ("Trials", f"{len(study.runs.results):,} ({len(study.failed):,} failed)"),
        ("Epochs", _epochs(info)),
        ("Computing time", duration(info["seconds"]) + " over all workers" if info.get("seconds") else ""),
        ("Backend", _backend(info, pinned)),
        ("Made with", ", ".join(f"{name} {number}" for name, number in _versions(info, pinned).items())),
        ("Run at commit", info.get("commit", "")),
        ("Report made at commit", commit()),
        ("Report made on", _machine()),
    ]
    return [(name, value) for name, value in rows if value]


def _seeds(seeds: list[int]) -> str:
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds[:40])) + (" ..." if len(seeds) > 40 else "")


def _epochs(info: dict[str, Any]) -> str:
    asked, run = info.get("epochs_asked"), info.get("epochs_run")
    if not asked or run is None:
        return ""
    return f"{asked:,} asked, {run:,} run ({1 - run / asked:.0%} shared between trials)"


def _backend(info: dict[str, Any], pinned: dict[str, Any]) -> str:
    backends = sorted(set((pinned.get("backends") or {}).values())) or [info.get("backend", "")]
    device = pinned.get("device") or info.get("device", "")
    return " on ".join(part for part in ("+".join(backends), str(device)) if part)


def _versions(info: dict[str, Any], pinned: dict[str, Any]) -> dict[str, str]:
    """Of the run where it wrote them down, else those installed now."""
    found = {"hill-sim": pinned.get("hill_sim", hill_sim.__version__)}
    found["Python"] = pinned.get("python", platform.python_version())
    for name in PACKAGES:
        try:
            found[name] = pinned.get(name) or info.get(name) or version(name)
        except PackageNotFoundError:
            continue
    return found


def _machine() -> str:
    model = ""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        model = platform.processor()
    cores = count_of(os.cpu_count() or 1, "core")
    return ", ".join(part for part in (platform.system(), platform.machine(), model, cores) if part)
