"""`hill-sim data`: list, check, fetch; and `--data-root` on the way to the tasks."""

from __future__ import annotations

import json
from pathlib import Path

import miniature
import pytest

from hill_sim import registry
from hill_sim.cli.main import main
from hill_sim.tasks import cifar10


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    miniature.own(folder)
    for person in range(1, 7):
        miniature.dsads_csv(folder / "dsads" / f"p{person}.csv", person)
    return folder


@pytest.fixture(autouse=True)
def root(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HILL_SIM_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return files


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["data", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_list_names_every_task_and_what_is_here(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    code, out, _ = run(capsys, "list", "--data-root", str(root))
    assert code == 0
    here = {
        line.split()[0]: line.split()[1]
        for line in out.splitlines()[1:]
        if line.split() and line.split()[0] in registry.TASKS
    }
    assert list(here) == list(registry.TASKS)
    assert here["digits"] == "yes"
    assert here["dsads"] == "yes"
    assert here["cifar10"] == "fetch"
    assert here["pamap2-excerpt"] == "no"
    assert here["arrays"] == "own"
    assert str(root) in out
    listed = json.loads(run(capsys, "list", "--json")[1])
    assert {task["task"] for task in listed["tasks"]} == set(registry.TASKS)
    assert all(task["licence"] for task in listed["tasks"] if task["source"])


def test_check_says_what_is_in_it(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    code, out, err = run(capsys, "check", "arrays", "--set", "path=mine.parquet", "--set", "group=person",
                         "--data-root", str(root), "--floor")  # fmt: skip
    assert code == 0
    assert "arrays: labels mapped: 'ant' -> 0, 'bee' -> 1, 'cat' -> 2" in err
    lines = [line.split() for line in out.splitlines()]
    assert ["0", "ant", "24", "8", "8"] in lines
    assert ["all", "72", "24", "24"] in lines
    assert ["p9", *next(line for line in lines if line[:1] == ["p9"])[1:]] in lines
    assert "floor: a linear model reaches" in out
    found = json.loads(run(capsys, "check", "arrays", "--set", "path=mine.parquet", "--set", "features=[a]", "--json",
                           "--data-root", str(root))[1])  # fmt: skip
    assert found["label_mapping"] == {"ant": 0, "bee": 1, "cat": 2}
    assert found["splits"]["train"]["classes"] == [24, 24, 24]
    assert found["input_shape"] == [1]
    assert len(found["fingerprint"]) == 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "cifar10"], "task cifar10: no CIFAR-10 batches in"),
        (["check", "dsads", "--set", "segments=1", "--set", "windw=3"], "unknown 'windw'; did you mean 'window'?"),
        (["check", "dsads", "--set", "segments"], "--set: 'segments' is not of the form option=value"),
        (["check", "dsasd"], "task: unknown 'dsasd'; did you mean 'dsads'?"),
        (["check"], "data check: which task?"),
        (["fetch"], "data fetch: which task?"),
        (["fetch", "digit"], "data fetch: unknown 'digit'; did you mean 'digits'?"),
        (["fetch", "digits"], "data fetch: digits has nothing to download; see https://archive.ics.uci.edu"),
        (["fetch", "arrays"], "data fetch: arrays has nothing to download: its files are your own"),
        (["list", "dsads"], "data list: takes no task"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert err.startswith("hill-sim: ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.slow
def test_fetching_offline(capsys: pytest.CaptureFixture[str], root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10.CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    code, out, err = run(capsys, "fetch", "cifar10", "--data-root", str(root / "new"))
    assert code == 2
    assert "licence" in out
    for part in ("http://127.0.0.1:9/cifar-10-python.tar.gz", "no connection", str(root / "new"), "www.cs.toronto.edu"):
        assert part in err
    assert err.count("\n") == 1


@pytest.mark.slow
def test_run_finds_data_below_the_data_root(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    arguments = ["run", "--task", "dsads-summary", "--epochs", "2", "--interactions", "1", "--seeds", "1", "--json"]
    assert main([*arguments, "--set", "task_options.segments=1"]) == 2
    assert "no a01/p1/s01.txt nor p1.csv in" in capsys.readouterr().err
    assert main([*arguments, "--set", "task_options.segments=1", "--data-root", str(root)]) == 0
    [outcome] = json.loads(capsys.readouterr().out)["outcomes"]
    assert outcome["status"] == "done"
