"""The set-up itself: pins that agree with the package, and a check that notices a half-made environment."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def pinned(name: str) -> dict[str, str]:
    lines = [line.partition(";")[0].strip() for line in (ROOT / "requirements" / name).read_text().splitlines()]
    return dict(line.split("==") for line in lines if "==" in line)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_dependency_is_pinned_at_a_version_that_the_package_allows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    pins = {canonical(name): version for name, version in pinned("base.txt").items()}
    for requirement in wanted:
        name, _, least = requirement.partition(">=")
        version = pins[canonical(name)]
        assert numbers(version) >= numbers(least or "0"), requirement
    assert pins["torch"] == "2.14.1"
    assert pins["torchvision"] == "0.29.1"


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def test_no_pin_stands_twice() -> None:
    assert not pinned("base.txt").keys() & pinned("dev.txt").keys()


@pytest.mark.slow
def test_the_tests_run_on_the_pinned_set() -> None:
    assert verify(ROOT / "requirements" / "dev.txt") == []


def verify(pins: Path, **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, ROOT / "requirements" / "verify.py", pins],
        capture_output=True, text=True, env=environment or None, check=False,
    )  # fmt: skip
    assert done.returncode == (1 if done.stdout else 0), done.stderr
    return done.stdout.split()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with one installed distribution, as pip leaves it."""
    folder = tmp_path / "site"
    info = folder / "demo_pin-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "demo_pin.py").write_text("x = 1\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: demo-pin\nVersion: 1.0\n")
    (info / "RECORD").write_text("demo_pin.py,sha256=x,6\ndemo_pin.pyc,,\ndemo_pin-1.0.dist-info/METADATA,,\n")
    return folder


def damage_none(site: Path) -> None:
    (site / "demo_pin.pyc").unlink(missing_ok=True)


def damage_file_gone(site: Path) -> None:
    (site / "demo_pin.py").unlink()


def damage_file_cut(site: Path) -> None:
    (site / "demo_pin.py").write_text("x")


def damage_no_record(site: Path) -> None:
    (site / "demo_pin-1.0.dist-info" / "RECORD").unlink()


def damage_other_version(site: Path) -> None:
    info = site / "demo_pin-1.0.dist-info" / "METADATA"
    info.write_text(info.read_text().replace("1.0", "2.0"))


def damage_all_gone(site: Path) -> None:
    shutil.rmtree(site / "demo_pin-1.0.dist-info")


@pytest.mark.parametrize(
    ("damage", "whole"),
    [
        (damage_none, True),
        (damage_file_gone, False),
        (damage_file_cut, False),
        (damage_no_record, False),
        (damage_other_version, False),
        (damage_all_gone, False),
    ],
)
def test_a_half_made_installation_is_noticed(damage, whole: bool, site: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    pins = tmp_path / "pins.txt"
    pins.write_text("demo-pin==1.0  # a comment\n")
    damage(site)
    assert verify(pins, PYTHONPATH=str(site)) == ([] if whole else ["demo-pin==1.0"])


def test_scripts_are_valid_bash() -> None:
    for script in (ROOT / "requirements" / "install.sh", ROOT / ".ci" / "run"):
        subprocess.run(["bash", "-n", script], check=True)
        assert script.stat().st_mode & 0o111, f"{script} is not executable"


@pytest.mark.parametrize("target", ["demo", "test", "fast", "lint", "bench"])
def test_each_target_sets_itself_up(target: str) -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True
    )
    steps: Mapping[int, str] = dict(enumerate(done.stdout.splitlines()))
    assert steps[0].startswith("requirements/install.sh "), done.stdout


def test_help_lists_the_targets() -> None:
    done = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {line.split()[1] for line in done.stdout.splitlines()} >= {"demo", "test", "fast", "bench", "help"}
