"""Several drivers on one sweep through PostgreSQL: each trial is run once, whoever dies, the server included."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import psycopg
import pytest
from fault_support import FULL, LONGER, TRIALS, longer, start, stored, uninterrupted, wait_for
from postgres_support import Server, postgresql
from search_support import Formula, same_table, searched
from sweep_support import assert_same_results, tiny, write_yaml

from hill_sim.cli import main
from hill_sim.config import dump_yaml, validated
from hill_sim.engine import simulate
from hill_sim.errors import HillError, InvalidInput, Unavailable
from hill_sim.sweep import SweepSpec, load_candidates, run_sweep
from hill_sim.sweep.folder import RESULTS
from hill_sim.sweep.search.study import read_study
from hill_sim.sweep.shared import heartbeat
from hill_sim.sweep.shared.sweep import SharedSweep
from hill_sim.sweep.store import ResultStore

pytestmark = [pytest.mark.faults, pytest.mark.slow]

SEARCH = {
    "name": "hunt",
    "seeds": 3,
    "fixed": {"task_options": {"train_per_class": 20}, "epochs": 6, "batch_size": 64, "policy": "compactness"},
    "search": {
        "sampler": "tpe",
        "candidates": 48,
        "batch": 12,
        "space": {"alpha": {"low": 0.1, "high": 0.9}, "interactions": [[2, 4], [1, 3, 5]]},
        "objectives": ["gain"],
        "prune": {"percentile": 50, "startup": 12, "warmup": 0},
    },
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgresql() as running:
        yield running


@pytest.fixture
def database(server: Server) -> Server:
    """The server, with nothing in it."""
    server.ask("DROP SCHEMA public CASCADE")
    server.ask("CREATE SCHEMA public")
    return server


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return uninterrupted(tmp_path_factory.mktemp("whole") / "tiny", longer())


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process a driver counts as dead after a second."""
    monkeypatch.setattr(heartbeat, "BEAT", 0.1)
    monkeypatch.setattr(heartbeat, "LAPSE", 1.0)


def shared(spec: SweepSpec, folder: Path, server: Server, engine: Any = simulate, **options: Any) -> Any:
    return run_sweep(spec, folder, backend="bmm", simulate=engine, storage=server.url, **options)


def ran_by(*drivers: Any) -> int:
    """Trials that drivers' command lines say that they ran themselves, in all."""
    outputs = [driver.communicate(timeout=300) for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0] * len(drivers), outputs
    return sum(json.loads(out)["ran"] for out, _ in outputs)


def count(server: Server, table: str) -> int:
    try:
        ((number,),) = server.ask(f"SELECT count(*) FROM hill_sim_{table}")
    except psycopg.Error:  # not made yet
        return 0
    return int(number)  # type: ignore[call-overload]


def recorded(server: Server, name: str) -> list[Any]:
    storage = optuna.storages.RDBStorage(server.url.replace("postgresql:", "postgresql+psycopg:"))
    trials = optuna.load_study(study_name=name, storage=storage).trials
    storage.engine.dispose()
    return [_plain(trial) for trial in trials]


def _plain(trial: optuna.trial.FrozenTrial) -> tuple[Any, ...]:
    return (
        trial.number, trial.state, trial.params, trial.values, trial.intermediate_values, trial.user_attrs,
        trial.system_attrs,
    )  # fmt: skip


def test_two_drivers_share_a_grid(tmp_path: Path, database: Server, whole: Path) -> None:
    yaml = write_yaml(tmp_path / "longer.yaml", **LONGER)
    folders = [tmp_path / "a", tmp_path / "b"]
    drivers = [start(yaml, folder, "--storage", database.url, "--json", workers=1) for folder in folders]
    assert ran_by(*drivers) == TRIALS
    for folder in folders:
        assert_same_results(folder, whole)


def test_two_drivers_share_a_search_and_one_study(tmp_path: Path, database: Server) -> None:
    (tmp_path / "hunt.yaml").write_text(dump_yaml(SEARCH))
    alone = start(tmp_path / "hunt.yaml", tmp_path / "alone", "--json", workers=1)
    expected = ran_by(alone)  # more than there are trials: some that were stopped are run again to the end
    folders = [tmp_path / "a", tmp_path / "b"]
    drivers = [
        start(tmp_path / "hunt.yaml", folder, "--storage", database.url, "--json", workers=1) for folder in folders
    ]
    assert ran_by(*drivers) == expected
    for folder in folders:
        assert_same_results(folder, tmp_path / "alone")
        assert load_candidates(folder).equals(load_candidates(tmp_path / "alone"))
    assert recorded(database, "hunt") == [_plain(trial) for trial in read_study(tmp_path / "alone").trials]


def test_the_one_that_lives_takes_over_from_the_one_that_was_killed(
    tmp_path: Path, database: Server, whole: Path, impatient: None
) -> None:
    yaml, rng = write_yaml(tmp_path / "longer.yaml", **LONGER), np.random.default_rng(0)
    killed = [tmp_path / f"killed{number}" for number in range(3 if FULL else 1)]
    for number, folder in enumerate(killed):
        driver = start(yaml, folder, "--storage", database.url, workers=2)
        wait_for(lambda: count(database, "results") > 64 * number, driver)  # noqa: B023
        with contextlib.suppress(subprocess.TimeoutExpired):
            driver.wait(timeout=rng.uniform(0, 0.3))
        driver.kill()
        driver.communicate()
    before = count(database, "results")
    assert count(database, "drivers") > 0, "none of them could say goodbye"
    assert shared(longer(), tmp_path / "survivor", database).ran == TRIALS - before
    assert_same_results(tmp_path / "survivor", whole)
    for folder in killed:
        assert shared(longer(), folder, database).ran == 0
        assert_same_results(folder, whole)


def test_a_driver_that_was_killed_goes_on_with_its_own_claims_at_once(
    tmp_path: Path, database: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SharedSweep, "_say_goodbye", lambda sweep: None)
    with pytest.raises(SystemExit):
        shared(searched(), tmp_path / "run", database, Formula(calls=3))
    assert count(database, "claims") > 0
    database.ask("UPDATE hill_sim_drivers SET process = 2 ^ 30")  # nobody's number
    monkeypatch.undo()
    shared(searched(), tmp_path / "run", database, Formula())
    run_sweep(searched(), tmp_path / "alone", backend="bmm", simulate=Formula())
    assert same_table(tmp_path / "run", tmp_path / "alone")


@pytest.mark.parametrize("mode", ["immediate", "fast"] if FULL else ["immediate"])
def test_the_server_may_stop_and_start_in_the_middle(
    tmp_path: Path, database: Server, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "hunt.yaml").write_text(dump_yaml(SEARCH))
    folders = [tmp_path / "a", tmp_path / "b"]
    drivers = [
        start(tmp_path / "hunt.yaml", folder, "--storage", database.url, "--json", workers=1) for folder in folders
    ]
    for target in (1, 40, 80):
        wait_for(lambda: min(map(stored, folders)) >= target, drivers[0])  # noqa: B023
        database.stop(mode)
        database.start()
    spec = validated(SweepSpec, SEARCH, "hunt.yaml")
    expected = run_sweep(spec, tmp_path / "alone", backend="bmm", simulate=simulate).ran
    assert ran_by(*drivers) == expected
    for folder in folders:
        assert_same_results(folder, tmp_path / "alone")
    assert recorded(database, "hunt") == [_plain(trial) for trial in read_study(tmp_path / "alone").trials]


def test_a_server_that_stays_away_is_one_line_and_what_was_stored_stays(
    tmp_path: Path, database: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("hill_sim.sweep.shared.database.PATIENCE", 1.0)
    engine = Formula()

    def pulled(*arguments: Any, **options: Any) -> Any:
        if len(engine.trained) == 40:
            database.stop()
        return engine(*arguments, **options)

    with caplog.at_level(logging.WARNING), pytest.raises(Unavailable) as caught:
        shared(searched(), tmp_path / "run", database, pulled)
    assert f"127.0.0.1:{database.port}/postgres does not answer" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value) + caplog.text
    kept = stored(tmp_path / "run")
    assert kept == len(set(engine.trained))
    database.start()
    assert shared(searched(), tmp_path / "run", database, Formula()).ran == 80 - kept
    assert count(database, "results") == 80
    assert count(database, "claims") == 0


def test_drivers_that_take_turns_run_each_trial_once(tmp_path: Path, database: Server) -> None:
    trained: Counter[str] = Counter()
    for number in range(6):
        engine = Formula(calls=1)
        folder = tmp_path / f"driver{number % 3}"
        with pytest.raises(SystemExit):
            shared(searched(), folder, database, engine)
        trained.update(engine.trained)
    last = Formula()
    shared(searched(), tmp_path / "last", database, last)
    trained.update(last.trained)
    run_sweep(searched(), tmp_path / "alone", backend="bmm", simulate=Formula())
    in_flight = {}  # `calls` runs out as a batch begins, so nothing was computed in vain
    assert {key: count for key, count in trained.items() if count > 1} == in_flight
    assert len(trained) == 80
    for number in range(3):
        shared(searched(), tmp_path / f"driver{number}", database, Formula(calls=0))
        assert same_table(tmp_path / f"driver{number}", tmp_path / "alone")
    assert recorded(database, "searched") == [_plain(trial) for trial in read_study(tmp_path / "alone").trials]


def test_a_folder_that_ran_alone_brings_its_results(tmp_path: Path, database: Server) -> None:
    with pytest.raises(SystemExit):
        run_sweep(searched(), tmp_path / "first", backend="bmm", simulate=Formula(calls=3))
    kept = stored(tmp_path / "first")
    assert kept
    assert shared(searched(), tmp_path / "first", database, Formula()).ran == 80 - kept
    assert shared(searched(), tmp_path / "second", database, Formula(calls=0)).ran == 0
    assert same_table(tmp_path / "first", tmp_path / "second")
    assert run_sweep(searched(), tmp_path / "second", simulate=Formula(calls=0)).ran == 0, "a folder stands alone"


def test_a_copied_folder_is_another_driver(tmp_path: Path, database: Server) -> None:
    with pytest.raises(SystemExit):
        shared(searched(), tmp_path / "one", database, Formula(calls=2))
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    names = []

    def meanwhile(*arguments: Any, **options: Any) -> Any:
        if not names:
            with pytest.raises(SystemExit):
                shared(searched(), tmp_path / "two", database, Formula(calls=0))
            for folder in ("one", "two"):
                with ResultStore(tmp_path / folder / RESULTS, readonly=True) as store:
                    names.append(store.meta("driver"))
        return Formula()(*arguments, **options)

    shared(searched(), tmp_path / "one", database, meanwhile)
    assert len(set(names)) == 2


def test_another_sweep_of_the_same_name_is_refused_and_a_larger_one_extends(tmp_path: Path, database: Server) -> None:
    shared(searched(), tmp_path / "small", database, Formula())
    with pytest.raises(InvalidInput, match=r"holds another sweep named searched: .*sampler.*choose another name"):
        shared(searched(sampler="qmc"), tmp_path / "other", database, Formula())
    larger = searched(candidates=57)
    with pytest.raises(InvalidInput, match=r"candidates.*--extend"):
        shared(larger, tmp_path / "larger", database, Formula())
    assert shared(larger, tmp_path / "larger", database, Formula(), extend=True).ran == 34
    assert shared(larger, tmp_path / "small", database, Formula(calls=0), extend=True).ran == 0
    run_sweep(larger, tmp_path / "alone", backend="bmm", simulate=Formula())
    assert same_table(tmp_path / "small", tmp_path / "alone")
    assert same_table(tmp_path / "larger", tmp_path / "alone")


def test_what_one_driver_pinned_binds_the_others(tmp_path: Path, database: Server) -> None:
    shared(tiny(), tmp_path / "first", database)
    with pytest.raises(InvalidInput, match="'loop' is not bmm, with which this sweep began"):
        run_sweep(tiny(), tmp_path / "second", backend="loop", storage=database.url, simulate=simulate)
    run_sweep(tiny(), tmp_path / "third", backend="loop", simulate=simulate)
    with pytest.raises(InvalidInput, match="storage: backends: 'bmm' there, and 'loop' in this folder"):
        run_sweep(tiny(), tmp_path / "third", storage=database.url, simulate=simulate)


def test_drivers_that_run_other_code_are_refused(tmp_path: Path, database: Server) -> None:
    policy = "from hill_sim.types import Edit\nclass Mine:\n    def edit(self, view, rng):\n        return Edit([])\n"
    (tmp_path / "mine.py").write_text(policy)
    spec = tiny(policies=[f"{tmp_path}/mine.py:Mine"], grid={"alpha": [0.5]}, seeds=1)
    shared(spec, tmp_path / "first", database)
    (tmp_path / "mine.py").write_text(policy + "# changed\n")
    with pytest.raises(InvalidInput, match=r"mine.py: the sweep's other drivers run another version of it"):
        shared(spec, tmp_path / "second", database)


def test_failures_are_not_run_again_one_sidedly(tmp_path: Path, database: Server) -> None:
    with pytest.raises(InvalidInput, match="retry_failed: not with storage"):
        shared(tiny(), tmp_path / "run", database, retry_failed=True)


def test_the_password_is_written_nowhere(tmp_path: Path, database: Server) -> None:
    shared(searched(), tmp_path / "run", database, Formula())
    for path in (tmp_path / "run").rglob("*"):
        assert path.is_dir() or b"secret" not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://u@h/db", "mysql:// is not postgresql://; write postgresql://USER:PASSWORD@HOST:PORT/DATABASE"),
        ("results.db", "storage: not a URL like postgresql://"),
        ("postgresql://hill:secret@localhost", "names no database"),
        ("postgresql://hill:secret@127.0.0.1:1/db", "postgresql://hill:***@127.0.0.1:1/db does not answer: "),
    ],
)
def test_a_storage_that_cannot_be_is_one_line(
    tmp_path: Path, url: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hill_sim.sweep.shared.database.FIRST", 0.5)
    yaml = write_yaml(tmp_path / "tiny.yaml")
    assert main(["sweep", str(yaml), "--out", str(tmp_path / "run"), "--storage", url]) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert message in line
    assert "secret" not in line
    assert not (tmp_path / "run").exists()


def test_without_the_driver_of_the_database_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(Unavailable, match=r"storage: psycopg is not installed; pip install 'hill-sim\[postgresql\]'"):
        run_sweep(tiny(), tmp_path / "run", storage="postgresql://hill@localhost/hill")
    assert not (tmp_path / "run").exists()


def test_a_database_in_which_nothing_may_be_made_is_one_line(tmp_path: Path, database: Server) -> None:
    database.ask("DROP ROLE IF EXISTS guest")
    database.ask("CREATE ROLE guest LOGIN")
    url = database.url.replace("hill:secret", "guest:secret")
    with pytest.raises(
        HillError, match=r"guest:\*\*\*@127.0.0.1:\d+/postgres refuses: (permission denied|no schema has been)"
    ):
        run_sweep(searched(), tmp_path / "run", backend="bmm", simulate=Formula(), storage=url)


def test_ctrl_c_leaves_nothing_claimed(tmp_path: Path, database: Server, capsys: pytest.CaptureFixture[str]) -> None:
    driver = start(write_yaml(tmp_path / "longer.yaml", **LONGER), tmp_path / "run", "--storage", database.url)
    wait_for(lambda: stored(tmp_path / "run") > 0, driver)
    driver.send_signal(signal.SIGINT)
    _, err = driver.communicate(timeout=120)
    assert driver.returncode == 130
    assert f"to go on: hill-sim sweep {tmp_path / 'run'} --storage postgresql://" in err
    assert "secret" not in err
    assert count(database, "claims") == 0
    assert count(database, "drivers") == 0
    assert main(["status", str(tmp_path / "run")]) == 0
    seen = capsys.readouterr().out
    assert f"shared at   postgresql://hill:***@127.0.0.1:{database.port}/postgres" in seen
    assert f"to go on    hill-sim sweep {tmp_path / 'run'} --storage postgresql://" in seen
