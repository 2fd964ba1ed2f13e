"""Folders and files that are deleted, moved, replaced, damaged or closed under a running sweep."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fault_support import FORKS, LONGER, TRIALS, drive, longer, start, stored, uninterrupted, wait_for
from sweep_support import assert_same_results, write_yaml

from hill_sim.cli import main
from hill_sim.engine import simulate
from hill_sim.errors import HillError
from hill_sim.sweep import run_sweep
from hill_sim.sweep.folder import PREFIXES, RESULTS

pytestmark = [pytest.mark.faults, pytest.mark.slow]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return uninterrupted(tmp_path_factory.mktemp("whole") / "tiny", longer())


class After:
    """Does something once, when the first batch has been stored."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self._acts = [act]

    def on_batch(self, results: Any, finished: int) -> None:
        if self._acts:
            self._acts.pop()()

    def close(self) -> None:
        pass


def no_power(*_: Any, **__: Any) -> Any:
    raise SystemExit("the power went out")


def run(folder: Path, act: Callable[[], Any] = bool, **options: Any) -> Any:
    return run_sweep(
        longer(), folder, backend="bmm", simulate=simulate, progress=False, callbacks=[After(act)], **options
    )


def test_a_folder_deleted_under_a_sweep_ends_it_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(
        HillError, match=r"results.sqlite: was deleted, moved or replaced while the sweep ran"
    ) as caught:
        run(folder, lambda: shutil.rmtree(folder))
    assert "\n" not in str(caught.value)
    assert not folder.exists(), "and stays deleted"


def test_a_folder_deleted_under_workers_stays_deleted(tmp_path: Path) -> None:
    driver = start(write_yaml(tmp_path / "longer.yaml", **LONGER), tmp_path / "run", workers=1)
    wait_for(lambda: stored(tmp_path / "run") > 0, driver)
    shutil.rmtree(tmp_path / "run")
    _, err = driver.communicate(timeout=120)
    assert driver.returncode == 2
    assert err.splitlines()[-1].endswith(
        "results.sqlite: was deleted, moved or replaced while the sweep ran; it stops here"
    )
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_a_folder_that_was_moved_goes_on_where_it_is(tmp_path: Path, whole: Path) -> None:
    with pytest.raises(HillError, match="was deleted, moved or replaced"):
        run(tmp_path / "here", lambda: (tmp_path / "here").rename(tmp_path / "there"))
    kept = stored(tmp_path / "there")
    assert 0 < kept < TRIALS
    assert run(tmp_path / "there").ran == TRIALS - kept
    assert_same_results(tmp_path / "there", whole)


def test_results_replaced_under_a_sweep_stay_as_they_are(tmp_path: Path, whole: Path) -> None:
    folder = tmp_path / "run"
    shutil.copy(whole / RESULTS, tmp_path / "other")
    before = (whole / RESULTS).read_bytes()
    with pytest.raises(HillError, match="was deleted, moved or replaced"):
        run(folder, lambda: os.replace(tmp_path / "other", folder / RESULTS))
    assert (folder / RESULTS).read_bytes() == before


@pytest.mark.parametrize("damage", ["deleted", "damaged", "a file"])
def test_prefixes_may_be_lost_or_damaged_at_any_time(damage: str, tmp_path: Path, whole: Path) -> None:
    prefixes = tmp_path / "run" / PREFIXES

    def act() -> None:
        assert list(prefixes.iterdir())
        if damage == "damaged":
            for path in prefixes.iterdir():
                content = bytearray(path.read_bytes())
                content[len(content) // 3] ^= 0x10
                path.write_bytes(content)
        else:
            shutil.rmtree(prefixes)
        if damage == "a file":
            prefixes.write_text("in the way")
        no_power()

    with pytest.raises(SystemExit):
        run(tmp_path / "run", act)
    driver = FORKS.Process(target=drive, args=(tmp_path / "run", LONGER))  # which remembers no prefix
    driver.start()
    driver.join()
    assert driver.exitcode == 0
    assert_same_results(tmp_path / "run", whole)


def test_two_sweeps_may_share_their_prefixes(tmp_path: Path, whole: Path) -> None:
    (tmp_path / "shared").mkdir()
    drivers = {}
    for name in ("one", "two"):
        with pytest.raises(SystemExit):
            run_sweep(longer(), tmp_path / name, backend="bmm", simulate=no_power, progress=False)
        (tmp_path / name / PREFIXES).symlink_to(tmp_path / "shared")
        drivers[name] = FORKS.Process(target=drive, args=(tmp_path / name, LONGER))
    for driver in drivers.values():
        driver.start()
    for name, driver in drivers.items():
        driver.join()
        assert driver.exitcode == 0
        assert_same_results(tmp_path / name, whole)


@pytest.mark.parametrize("lost", [[f"{RESULTS}-wal"], [f"{RESULTS}-shm"], [f"{RESULTS}-wal", f"{RESULTS}-shm"]])
def test_the_log_of_the_store_lost_after_a_kill_costs_time_alone(lost: list[str], tmp_path: Path, whole: Path) -> None:
    driver = FORKS.Process(target=drive, args=(tmp_path / "run", LONGER))
    driver.start()
    wait_for(lambda: stored(tmp_path / "run") > 0, None)
    driver.kill()
    driver.join()
    for name in lost:
        (tmp_path / "run" / name).unlink()
    run(tmp_path / "run")
    assert_same_results(tmp_path / "run", whole)


@contextmanager
def permissions_that_count() -> Iterator[None]:
    """Root may read and write anything: give up those two capabilities for a while, in this thread. Another user would
    not do: the Python that runs this may lie in a folder that is closed to others."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
    held = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then the same of capabilities 32 to 63
    assert libc.capget(header, held) == 0, os.strerror(ctypes.get_errno())
    fewer = type(held)(*held)
    fewer[0] &= ~(1 << 1 | 1 << 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert libc.capset(header, fewer) == 0, os.strerror(ctypes.get_errno())
    try:
        yield
    finally:
        libc.capset(header, held)


def test_folders_that_may_not_be_written_or_entered_are_one_line(
    tmp_path: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, folder = tmp_path / "place", tmp_path / "place" / "run"
    shutil.copytree(whole, folder)
    folder.chmod(0o555)
    for path in folder.iterdir():
        path.chmod(0o444)
    with permissions_that_count():
        with pytest.raises(HillError, match=f"^{folder}: cannot be written: Permission denied$"):
            run(folder)
        assert main(["status", str(folder)]) == 0
        assert f"{TRIALS} done" in capsys.readouterr().out
        place.chmod(0)
        with pytest.raises(HillError, match=f"^{folder}: cannot be a run folder: Permission denied$"):
            run(folder)
    place.chmod(0o755)
    folder.chmod(0o755)
