"""Searches that are killed, and studies that are damaged: the same candidates, values and states, none twice."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from fault_support import FULL, kill_9, kill_again_and_again, start, stored, times_stored, uninterrupted, wait_for
from optuna.storages.journal._storage import JournalOperation
from sweep_support import TINY, assert_same_results

from hill_sim.config import dump_yaml, validated
from hill_sim.engine import simulate
from hill_sim.sweep import SweepSpec, load_candidates, run_sweep
from hill_sim.sweep.search.study import JOURNAL, read_study

pytestmark = [pytest.mark.faults, pytest.mark.slow]

CANDIDATES = 160 if FULL else 48
SEARCHED: dict[str, Any] = {
    "name": "searched",
    "seeds": 3,
    "fixed": {**TINY["fixed"], "policy": "compactness", "epochs": 5, "interactions": [1, 2, 3]},
    "search": {
        "sampler": "tpe",
        "candidates": CANDIDATES,
        "batch": 8,
        "space": {"alpha": {"low": 0.1, "high": 0.9}, "user.effort": {"low": 1, "high": 10}},
        "objectives": ["gain"],
        "prune": {"percentile": 50, "startup": 8},
    },
}


def searched() -> SweepSpec:
    return validated(SweepSpec, copy.deepcopy(SEARCHED), "searched.yaml")


def written(path: Path) -> Path:
    path.write_text(dump_yaml(SEARCHED))
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return uninterrupted(tmp_path_factory.mktemp("whole") / "searched", searched())


def assert_same_search(one: Path, other: Path) -> None:
    """Trials, candidates, and the study as Optuna itself reads it."""
    assert_same_results(one, other)
    pd.testing.assert_frame_equal(load_candidates(one), load_candidates(other), check_exact=True)
    assert times_stored(one) == times_stored(other)
    first, second = (recorded(read_study(folder)) for folder in (one, other))
    assert len(first) == CANDIDATES
    assert first == second
    backend = optuna.storages.journal.JournalFileBackend(str(one / JOURNAL))
    storage = optuna.storages.JournalStorage(backend)
    assert recorded(optuna.load_study(study_name="searched", storage=storage)) == second


def recorded(study: optuna.Study) -> list[tuple[Any, ...]]:
    return [
        (t.number, t.state, t.params, t.values, t.intermediate_values, t.user_attrs, t.system_attrs)
        for t in study.trials
    ]


def test_kill_9_of_a_search_again_and_again(tmp_path: Path, whole: Path) -> None:
    spec, folder = written(tmp_path / "searched.yaml"), tmp_path / "killed"
    kill_again_and_again(spec, folder, kills=20 if FULL else 3, last=3 * CANDIDATES // 2)
    run_sweep(searched(), folder, backend="bmm", workers=2)
    states = {trial.state.name for trial in read_study(folder).trials}
    assert states == {"COMPLETE", "PRUNED"}
    assert_same_search(folder, whole)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search whose driver was killed after a third of it."""
    place = tmp_path_factory.mktemp("killed")
    driver = start(written(place / "searched.yaml"), place / "run")
    wait_for(lambda: stored(place / "run") > CANDIDATES, driver)
    kill_9(driver)
    return place / "run"


def cut(share: float) -> Callable[[Path], None]:
    """Cut in the middle of the line at this share of the file."""

    def damage(journal: Path) -> None:
        content = journal.read_bytes()
        at = int(share * len(content))
        end = content.index(b"\n", at)
        os.truncate(journal, (content.rfind(b"\n", 0, at) + 1 + end) // 2)

    return damage


def edited(operation: int, edit: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path], None]:
    """Change what stands at the fifth line of one of Optuna's operations."""

    def damage(journal: Path) -> None:
        lines = journal.read_bytes().splitlines(keepends=True)
        at = [number for number, line in enumerate(lines) if json.loads(line)["op_code"] == operation][4]
        journal.write_bytes(b"".join([*lines[:at], *edit(lines[at : at + 2]), *lines[at + 2 :]]))

    return damage


CREATE, END = JournalOperation.CREATE_TRIAL, JournalOperation.SET_TRIAL_STATE_VALUES
DAMAGES: dict[str, Callable[[Path], None]] = {
    "cut in the first line": cut(0.0),
    "cut in the middle": cut(0.5),
    "cut in the last line": cut(0.999),
    "emptied": lambda journal: os.truncate(journal, 0),
    "deleted": Path.unlink,
    "garbage": edited(END, lambda lines: [b"\0\xff\0 no journal\n", *lines]),
    "a number": edited(END, lambda lines: [b"5\n", *lines]),
    "an unknown operation": edited(END, lambda lines: [b'{"op_code": 99, "worker_id": "w"}\n', *lines]),
    "a candidate lost": edited(CREATE, lambda lines: lines[1:]),
    "a candidate twice": edited(CREATE, lambda lines: lines[:1] + lines),
    "two candidates in another order": edited(CREATE, lambda lines: lines[::-1]),
    "an end lost": edited(END, lambda lines: lines[1:]),
    "an end twice": edited(END, lambda lines: lines[:1] + lines),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_journal_is_completed_or_written_again(
    damage: str, killed: Path, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(killed, folder)
    DAMAGES[damage](folder / JOURNAL)
    run_sweep(searched(), folder, backend="bmm", simulate=simulate)
    assert_same_search(folder, whole)
