"""What an installed hill-sim contains: the linked folders as real files, the command, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from hill_sim.registry import MODELS, POLICIES, TASKS

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def run(command: Sequence[str | Path], where: Path, **environment: str) -> str:
    """Standard output of a command that must succeed, without this checkout on its path."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command], cwd=where, env=clean | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what git would commit: building must leave no trace in the checkout."""
    copy = tmp_path_factory.mktemp("source") / "hill-sim"
    listed = run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], ROOT)
    for name in filter(None, listed.split("\0")):
        origin, target = ROOT / name, copy / name
        if origin.exists() or origin.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(origin, target, follow_symlinks=False)
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", "dist", "."]
    run(command, source, HILL_SIM_BUILD="cpu")
    (path,) = (source / "dist").glob("hill_sim-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing in it but the wheel's content."""
    target = tmp_path_factory.mktemp("installed")
    run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, wheel], target)
    return target


def test_the_wheel_holds_the_linked_folders_as_real_files(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        quickstart = archive.read("hill_sim/experiments/quickstart.yaml").decode()
    homes = {
        target.partition(":")[0].replace(".", "/") + ".py"
        for table in (POLICIES, TASKS, MODELS)
        for target in table.values()
    }
    assert homes <= names
    assert "name: quickstart" in quickstart
    assert "hill_sim/kernels/_ops.so" in names
    assert {"hill_sim/py.typed", "hill_sim/report/report.html", "hill_sim/report/report.css"} <= names
    assert {f"hill_sim/experiments/{path.name}" for path in (ROOT / "experiments").glob("*.yaml")} <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"hill_sim"}, "nothing else is installed globally"


def test_the_source_distribution_is_complete(source: Path, wheel: Path, tmp_path: Path) -> None:
    build = "from setuptools import build_meta; print(build_meta.build_sdist('dist'))"
    name = run([sys.executable, "-c", build], source).splitlines()[-1]
    with tarfile.open(source / "dist" / name) as archive:
        members = archive.getmembers()
        archive.extractall(tmp_path, filter="data")
    assert not [member.name for member in members if member.issym() or member.islnk()]
    (unpacked,) = tmp_path.iterdir()
    assert (unpacked / "csrc").is_dir()
    again = tmp_path / "again"
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", again, "."]
    run(command, unpacked, HILL_SIM_BUILD="none")  # what is compiled does not depend on how the sources came here
    (path,) = again.glob("*.whl")
    with zipfile.ZipFile(path) as one, zipfile.ZipFile(wheel) as other:
        compiled = {name for name in other.namelist() if name.endswith((".so", "/_build.json"))}
        assert set(one.namelist()) - compiled == set(other.namelist()) - compiled
    sources = {path.relative_to(source) for path in (source / "csrc").rglob("*") if path.is_file()}
    assert sources == {path.relative_to(unpacked) for path in (unpacked / "csrc").rglob("*") if path.is_file()}


def test_it_runs_from_any_folder_without_the_checkout(installed: Path, tmp_path: Path) -> None:
    found = run(
        [sys.executable, "-P", "-c", "import hill_sim; print(hill_sim.__file__)"], tmp_path, PYTHONPATH=str(installed)
    )
    assert Path(found.strip()).is_relative_to(installed)
    command = [sys.executable, "-P", "-m", "hill_sim.cli"]
    assert run([*command, "--version"], tmp_path, PYTHONPATH=str(installed)).startswith("hill-sim 0.")
    assert "quickstart" in run([*command, "list", "experiments"], tmp_path, PYTHONPATH=str(installed))
    assert "2,020 trials" in run([*command, "sweep", "quickstart", "--plan"], tmp_path, PYTHONPATH=str(installed))
    outcome = run(
        [*command, "run", "--policy", "arrange", "--epochs", "3", "--interactions", "1", "--seeds", "1"],
        tmp_path,
        PYTHONPATH=str(installed),
    )
    assert "digits, arrange" in outcome
    assert list(tmp_path.iterdir()) == []


def test_the_wheel_installs_the_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (points,) = (name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt"))
        assert "hill-sim = hill_sim.cli:main" in archive.read(points).decode()
        (licence,) = (name for name in archive.namelist() if name.endswith("licenses/LICENSE"))
        assert "MIT License" in archive.read(licence).decode()
