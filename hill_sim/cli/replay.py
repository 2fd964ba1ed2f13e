"""`hill-sim replay`: one stored trial again, alone and unshared, compared bit for bit."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from hill_sim.cli.arguments import Replay
from hill_sim.engine.results import TrialResult
from hill_sim.errors import InvalidInput
from hill_sim.sweep.folder import RESULTS, read_spec
from hill_sim.sweep.store import ResultStore


def main(given: Replay) -> int:
    read_spec(given.folder)
    with ResultStore(given.folder / RESULTS, readonly=True) as store:
        matches = sorted(key for key in store.finished() if key.startswith(given.trial))
        if len(matches) != 1:
            several = f"{len(matches)} trials begin so ({', '.join(matches[:3])}, ...)" if matches else "no such trial"
            raise InvalidInput(f"trial: {given.trial!r}: {several} in {given.folder}; keys stand in results.parquet")
        ((_, label, stored),) = store.results(set(matches))
        pinned = json.loads(store.meta("pinned") or "{}")

    from hill_sim.engine import simulate
    from hill_sim.sweep.pinned import kind_of

    backend = pinned["backends"][kind_of(stored.trial)]
    made_with = {"device": pinned["device"], "backend": backend, "kernels": pinned["kernels"]}
    again = simulate([stored.trial], pmax=1, share=False, **made_with).results[0]
    differences = differing(stored, again)
    print(f"{label}, seed {stored.trial.seed}, {matches[0]}: ", end="")
    if not differences:
        print(f"the same to the bit (test accuracy {again.outcome.test_accuracy:.4f})")
        return 0
    print("differs")
    for line in differences:
        print(f"  {line}")
    return 1


def differing(stored: TrialResult, again: TrialResult) -> list[str]:
    """What is not the same to the bit, one line each; times taken and shown points (kept rounded) do not count."""
    lines = []
    before, after = stored.outcome.to_dict(), again.outcome.to_dict()
    for name in before:
        if name != "error" and not _same(before[name], after[name]):  # a traceback names the company it ran in
            lines.append(f"{name}: stored {before[name]}, now {after[name]}")
    for name, values in stored.epochs.items():
        if not _same(values, again.epochs.get(name)):
            now = again.epochs.get(name, [])
            epoch = next((i for i, (a, b) in enumerate(zip(values, now, strict=False), 1) if not _same(a, b)), None)
            lines.append(f"{name}: differs from epoch {epoch or len(now) + 1} on")
    for name in ("predictions", "confidences"):
        if not np.array_equal(getattr(stored, name), getattr(again, name)):
            lines.append(f"{name}: differ")
    if len(stored.interactions) != len(again.interactions):
        lines.append(f"interactions: stored {len(stored.interactions)}, now {len(again.interactions)}")
    for one, other in zip(stored.interactions, again.interactions, strict=False):
        for name in ("epoch", "policy", "edit", "validation_accuracy", "kappa"):
            if not _same(getattr(one, name), getattr(other, name)):
                lines.append(f"interaction at epoch {one.epoch}: {name} differs")
    return lines


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_same(a, b) for a, b in zip(one, other, strict=True))
    both_nan = isinstance(one, float) and isinstance(other, float) and one != one and other != other
    return bool(one == other) or both_nan
