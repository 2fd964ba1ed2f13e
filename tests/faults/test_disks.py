"""Files that are damaged, read-only or claimed, and disks that are full: refused or survived, in one line each."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_support import LONGER, TRIALS, longer, start, stored, uninterrupted, wait_for
from sweep_support import assert_same_results, write_yaml

from hill_sim.cli import main
from hill_sim.engine import simulate
from hill_sim.errors import HillError
from hill_sim.sweep import run_sweep
from hill_sim.sweep.folder import RESULTS, TABLE

pytestmark = [pytest.mark.faults, pytest.mark.slow]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return uninterrupted(tmp_path_factory.mktemp("whole") / "tiny", longer())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 1 MB: room for half of the sweep."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1000k", "tmpfs", str(disk)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_keeps_what_was_stored_and_the_same_command_goes_on(small_disk: Path, whole: Path) -> None:
    folder = small_disk / "run"
    with pytest.raises(HillError, match=r"cannot be written: .*full|cannot be written: No space left") as caught:
        run_sweep(longer(), folder, backend="bmm", simulate=simulate)
    assert str(caught.value).endswith("what was stored stays")
    assert "\n" not in str(caught.value)
    kept = stored(folder)
    assert 0 < kept < TRIALS
    with pytest.raises(HillError, match="cannot be written"):
        run_sweep(longer(), folder, backend="bmm", simulate=simulate)
    assert stored(folder) == kept
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert run_sweep(longer(), folder, backend="bmm", simulate=simulate).ran == TRIALS - kept
    assert_same_results(folder, whole)


def test_a_disk_that_is_full_when_the_table_is_written_keeps_the_results(small_disk: Path, whole: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    folder, ballast = small_disk / "run", small_disk / "ballast"

    class Fills:
        def on_batch(self, results: Any, finished: int) -> None:
            if finished == TRIALS:
                with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as stream:
                    while True:
                        stream.write(bytes(4096))

        def close(self) -> None:
            pass

    with pytest.raises(HillError, match=r"cannot be written: No space left"):
        run_sweep(longer(), folder, backend="bmm", simulate=simulate, callbacks=[Fills()])
    assert stored(folder) == TRIALS
    ballast.unlink()
    assert run_sweep(longer(), folder, backend="bmm", simulate=simulate).ran == 0
    assert (folder / TABLE).is_file()
    assert_same_results(folder, whole)


def test_a_truncated_store_is_refused_and_left_as_it_is(
    tmp_path: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "cut"
    subprocess.run(["cp", "-r", str(whole), str(folder)], check=True)
    os.truncate(folder / RESULTS, (folder / RESULTS).stat().st_size // 2)
    before = (folder / RESULTS).read_bytes()
    for command in (["sweep", str(folder), "--no-report"], ["status", str(folder)], ["report", str(folder)]):
        assert main(command) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{RESULTS}: not a readable results file" in line
    assert (folder / RESULTS).read_bytes() == before


def test_a_read_only_disk_is_refused_and_can_be_read(
    small_disk: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    subprocess.run(["cp", "-r", str(whole), str(small_disk / "run")], check=True)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert main(["sweep", str(small_disk / "run"), "--no-report"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot be written: Read-only file system" in line
    assert main(["status", str(small_disk / "run")]) == 0
    assert f"{TRIALS} done" in capsys.readouterr().out
    assert_same_results(small_disk / "run", whole)


def test_a_second_driver_is_refused_by_name_and_the_first_goes_on(
    tmp_path: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    first = start(write_yaml(tmp_path / "longer.yaml", **LONGER), folder)
    wait_for(lambda: stored(folder) > 0, first)
    assert main(["status", str(folder)]) == 0
    seen = capsys.readouterr().out
    code = main(["sweep", str(folder), "--no-report", "--workers", "1"])
    refusal = capsys.readouterr().err
    first.communicate(timeout=300)
    assert first.returncode == 0
    assert code == 2
    assert f"another hill-sim (process {first.pid} on " in refusal
    assert f"running (process {first.pid} on " in seen
    assert_same_results(folder, whole)
