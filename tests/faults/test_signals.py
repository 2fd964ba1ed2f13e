"""What terminals, schedulers and the kernel do to a sweep: signals to the driver, its group, and its workers."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fault_support import LONGER, TRIALS, children, longer, start, stored, uninterrupted, wait_for, wait_for_death
from sweep_support import assert_same_results, write_yaml

from hill_sim.engine import simulate
from hill_sim.sweep import run_sweep

pytestmark = [pytest.mark.faults, pytest.mark.slow]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return uninterrupted(tmp_path_factory.mktemp("whole") / "tiny", longer())


def on_a_terminal(spec: Path, folder: Path, hangup: str = "default") -> tuple[subprocess.Popen[bytes], int]:
    """The sweep as the foreground process of a terminal, and the terminal's other end.

    Args:
        hangup: what its SIGHUP does, `default` or `ignore`.
    """
    ours, theirs = pty.openpty()
    command = ["env", f"--{hangup}-signal=HUP", "setsid", "--ctty"]
    command += [sys.executable, "-m", "hill_sim.cli", "sweep", str(spec), "--out", str(folder)]
    command += ["--no-report", "--backend", "bmm", "--workers", "1"]
    driver = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    return driver, ours


def test_ctrl_c_at_a_terminal_and_a_terminal_that_is_closed(tmp_path: Path, whole: Path) -> None:
    """Ctrl-C reaches the whole foreground group, and the batch in flight ends all the same. A terminal that is closed
    ends the sweep at once, its worker too."""
    spec, folder = write_yaml(tmp_path / "longer.yaml", **LONGER), tmp_path / "run"
    driver, terminal = on_a_terminal(spec, folder)
    wait_for(lambda: stored(folder) > 0, driver)
    os.write(terminal, b"\x03")
    shown = read_all(terminal)
    assert driver.wait(timeout=120) == 130
    assert f"to go on: hill-sim sweep {folder}" in shown
    assert "died" not in shown
    kept = stored(folder)
    assert kept < TRIALS
    driver, terminal = on_a_terminal(spec, folder)
    wait_for(lambda: stored(folder) > kept, driver)
    workers = children(driver.pid)
    os.close(terminal)
    assert driver.wait(timeout=60) == -signal.SIGHUP
    wait_for_death(workers)
    run_sweep(longer(), folder, backend="bmm", simulate=simulate)
    assert_same_results(folder, whole)


def test_a_sweep_that_ignores_hangups_goes_on_when_its_terminal_is_closed(tmp_path: Path, whole: Path) -> None:
    spec, folder = write_yaml(tmp_path / "longer.yaml", **LONGER), tmp_path / "run"
    driver, terminal = on_a_terminal(spec, folder, "ignore")
    wait_for(lambda: stored(folder) > 0, driver)
    os.close(terminal)
    assert driver.wait(timeout=120) == 0
    assert_same_results(folder, whole)


def test_a_sweep_without_stdout_and_stderr_goes_on(tmp_path: Path, whole: Path) -> None:
    spec, folder = write_yaml(tmp_path / "longer.yaml", **LONGER), tmp_path / "run"
    command = [sys.executable, "-m", "hill_sim.cli", "sweep", spec, "--out", folder, "--no-report", "--backend", "bmm"]
    done = subprocess.run(["sh", "-c", '"$@" >&- 2>&-', "sh", *command], check=False)
    assert done.returncode == 0
    assert_same_results(folder, whole)


def read_all(terminal: int) -> str:
    """What a terminal shows until nobody writes to it any more."""
    shown = b""
    while True:
        try:
            shown += (some := os.read(terminal, 65536))
        except OSError:  # how Linux says so
            some = b""
        if not some:
            os.close(terminal)
            return shown.decode()


def test_sigterm_to_every_process_of_a_job_ends_the_batch_in_flight(tmp_path: Path, whole: Path) -> None:
    """As batch systems, service managers and containers send it."""
    folder = tmp_path / "run"
    driver = start(write_yaml(tmp_path / "longer.yaml", **LONGER), folder)
    wait_for(lambda: stored(folder) > 0, driver)
    before, workers = stored(folder), children(driver.pid)
    for process in [*workers, driver.pid]:
        os.kill(process, signal.SIGTERM)
    _, err = driver.communicate(timeout=120)
    assert driver.returncode == 130, err
    assert f"to go on: hill-sim sweep {folder}" in err
    assert "died" not in err
    wait_for_death(workers)
    assert before < stored(folder) <= TRIALS
    run_sweep(longer(), folder, backend="bmm", simulate=simulate)
    assert_same_results(folder, whole)


def test_a_stopped_worker_neither_hangs_ctrl_c_twice_nor_disturbs_the_next_driver(tmp_path: Path, whole: Path) -> None:
    spec, folder = write_yaml(tmp_path / "longer.yaml", **LONGER), tmp_path / "run"
    first = start(spec, folder)
    wait_for(lambda: stored(folder) > 0, first)
    workers = children(first.pid)
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    first.send_signal(signal.SIGINT)
    assert first.stderr is not None
    while "Ctrl-C again stops at once" not in (line := first.stderr.readline()):
        assert line, "it never said so"
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=60)
    assert first.returncode == 130
    wait_for_death(workers)

    second = start(spec, folder)
    kept = stored(folder)
    wait_for(lambda: len(children(second.pid)) == 2 and stored(folder) > kept, second)
    workers = children(second.pid)
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)  # they cannot even see that their driver is gone
    second.kill()
    second.wait()  # its pipes stay open, in the workers' hands
    run_sweep(longer(), folder, backend="bmm", workers=1)
    for worker in workers:
        os.kill(worker, signal.SIGCONT)
    second.communicate()
    wait_for_death(workers)
    assert_same_results(folder, whole)
