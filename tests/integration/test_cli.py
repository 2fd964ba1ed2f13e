"""The command line: what it prints, its exit codes, and one line for whatever a user can mend."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sweep_support import BROKEN, TRIALS, tiny, write_yaml

import hill_sim
from hill_sim.cli import main
from hill_sim.doctor import Finding, examine
from hill_sim.engine import simulate
from hill_sim.engine.results import Outcome, TrialResult
from hill_sim.registry import POLICIES
from hill_sim.sweep import load_outcomes, run_sweep
from hill_sim.sweep.folder import RESULTS
from hill_sim.sweep.logbook import logbook
from hill_sim.sweep.progress import Progress
from hill_sim.sweep.store import ResultStore
from hill_sim.trial import Trial

QUICK = ["--epochs", "4", "--interactions", "2", "--seeds", "2", "--set", "task_options.train_per_class=20"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "tiny"
    run_sweep(tiny(question="Who helps?"), path, simulate=simulate)
    return path


@pytest.mark.slow
def test_help_list_and_version_start_without_torch() -> None:
    for argv in (["--help"], ["list"], ["--version"], ["run", "--help"], ["sweep", "--help"]):
        program = (
            "import sys\nfrom hill_sim.cli import main\n"
            f"try:\n    main({argv!r})\nexcept SystemExit:\n    pass\n"
            "assert not {'torch', 'pandas', 'scipy', 'matplotlib'} & set(sys.modules), sys.modules.keys()"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout


@pytest.mark.slow
def test_a_sweep_starts_without_the_compiler() -> None:
    program = (
        "import sys\nimport hill_sim.engine.simulation, hill_sim.sweep\nfrom hill_sim.kernels.dispatch import resolve\n"
        "resolve('auto', 'cpu')\nassert not {'torch._dynamo', 'sympy', 'triton', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_driver_starts_its_workers_before_it_has_imported_torch() -> None:
    """They import it meanwhile; and `hill-sim status`, asked now and then, never does."""
    program = "import sys\nimport hill_sim.sweep.run, hill_sim.sweep.status\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"hill-sim {hill_sim.__version__}\n"


def test_a_disk_that_fails_is_no_terminal_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both say EIO."""

    def fail(given: Any) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("hill_sim.cli.listing.main", fail)
    with pytest.raises(OSError, match="Input/output error"):
        main(["list"])


def test_list_shows_everything_that_can_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    chapters = json.loads(capsys.readouterr().out)
    named = chapters["strategies"] | chapters["controls"] | chapters["conflicts"]
    assert named.keys() == POLICIES.keys()
    assert all(len(about) > 10 for about in named.values()), named
    assert chapters["tasks"].keys() >= {"digits"}
    assert chapters["models"].keys() >= {"mlp"}
    assert chapters["experiments"]["quickstart"].startswith("Which simulated user helps")
    assert main(["list", "tasks"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "tasks"


def test_run_prints_each_seed_and_the_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--policy", "separation", *QUICK]) == 0
    out, err = capsys.readouterr()
    assert err == "", "quiet where stderr is no terminal"
    lines = out.splitlines()
    assert lines[0].startswith("digits, separation, objective hill, alpha 0.5")
    assert [line.split()[0] for line in lines[4:6]] == ["0", "1"]
    assert "interquartile mean over 2 seeds, 95 % interval" in out


def test_run_json_is_strict_and_agrees_with_simulate(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--json", "--alpha", "0.7", *QUICK]) == 0
    out = capsys.readouterr().out
    data = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    trials = [hill_sim.Trial.from_dict({**data["trial"], "seed": seed}) for seed in range(2)]
    assert trials[0].alpha == 0.7
    assert trials[0].task_options == {"train_per_class": 20}
    runs = hill_sim.simulate(trials, backend=data["info"]["backend"])
    assert [row["gain"] for row in data["outcomes"]] == runs.outcomes["gain"].tolist()
    assert data["summary"]["seeds"] == 2


def test_run_names_a_user_who_falls_over_and_exits_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    argv = ["run", "--policy", f"{tmp_path}/broken.py:Broken", "--epochs", "4", "--interactions", "1", "2"]
    assert main([*argv, "--seeds", "1"]) == 1
    assert "seed 0 failed: RuntimeError: my hand slipped" in capsys.readouterr().err


@pytest.mark.slow
def test_a_module_in_the_working_directory_is_found(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(BROKEN.replace("if view.history:", "if False:"))
    argv = ["run", "--policy", "mine:Broken", "--epochs", "3", "--interactions", "1", "--seeds", "1", "--json"]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "hill_sim.cli", *argv], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outcomes"][0]["gestures"] == 1


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["run", "--alpha", "1.5"], "alpha: 1.5 is not in [0, 1]"),
        (["run", "--lam", "-1"], "lam: -1.0 is not a finite number >= 0"),
        (["run", "--lam", "nan"], "lam: nan is not a finite number >= 0"),
        (["run", "--interactions", "30", "25"], "interactions: [30, 25] is not strictly ascending"),
        (["run", "--interactions", "45"], "interactions: 45 is not in 1..44 (epochs is 45)"),
        (["run", "--task", "digts"], "task: unknown 'digts'; did you mean 'digits'?"),
        (["run", "--policy", "compactnes"], "policy: unknown 'compactnes'; did you mean 'compactness'?"),
        (["run", "--policy", "none.py:User"], "trial 1 of 5: policy: no file "),
        (["run", "--objective", "hil"], "objective: unknown 'hil'; did you mean 'hill'?"),
        (["run", "--set", "task_option.x=1"], "--set task_option.x: unknown; did you mean 'task_options'?"),
        (["run", "--set", "task_options.x=1"], "trial 1 of 5: task_options of digits: unknown 'x'"),
        (["run", "--set", "alpha"], "--set: 'alpha' is not of the form a.b=value"),
        (["run", "--seeds", "0"], "seeds: 0 is not an integer >= 1"),
        (["run", "--device", "tpu"], "device: unknown 'tpu'"),
        (["run", "--backend", "bm"], "backend: unknown 'bm'; did you mean 'bmm'?"),
        (["sweep", "quickstrt"], "sweep: unknown 'quickstrt'; did you mean 'quickstart'?"),
        (["sweep", "none.yaml"], "none.yaml: cannot be read: No such file or directory"),
        (["sweep", "quickstart", "--budget", "smal"], "budget: unknown 'smal'; did you mean 'small'?"),
        (["sweep", "quickstart", "--set", "sedes=1"], "sedes: unknown; did you mean 'seeds'?"),
        (["sweep", "quickstart", "--set", "grid.alpha=[2]"], "alpha: 2 is not in [0, 1]"),
        (["sweep", "FOLDER", "--set", "seeds=1"], "a run folder goes on as it began; --set and --budget belong to"),
        (["report", "FOLDER/.."], "not a run folder (no sweep.yaml in it)"),
        (["replay", "FOLDER", "zzz"], "trial: 'zzz': no such trial in "),
        (["replay", "FOLDER", ""], f"trial: '': {TRIALS} trials begin so ("),
    ],
)
def test_bad_input_is_one_line_on_stderr_and_exit_code_2(
    folder: Path, argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert main([part.replace("FOLDER", str(folder)) for part in argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("hill-sim: ")
    assert message in err
    assert err.count("\n") == 1
    assert before == {path: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    "argv", [["run", "--alhpa", "0.5"], ["swep"], [], ["run", "--seeds", "many"], ["bench", "all"]]
)
def test_arguments_that_do_not_exist_are_exit_code_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_another_sweeps_folder_is_refused_and_untouched(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    other = write_yaml(tmp_path / "other.yaml", seeds=3)
    assert main(["sweep", str(other), "--out", str(folder)]) == 2
    assert "holds another sweep: seeds is [0, 1] there and [0, 1, 2] here" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in folder.iterdir()}


def test_a_yaml_with_a_misspelt_key_names_file_place_and_nearest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nfixed: {alhpa: 0.5}\n")
    assert main(["sweep", str(path)]) == 2
    assert f"hill-sim: {path}: fixed.alhpa: unknown; did you mean 'alpha'?" in capsys.readouterr().err
    path.write_text("name: mine\nname: yours\n")
    assert main(["sweep", str(path)]) == 2
    assert f"hill-sim: {path}: line 2, column 1: 'name' is given twice" in capsys.readouterr().err


def test_plan_says_what_would_run_and_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_yaml(tmp_path / "tiny.yaml")
    assert main(["sweep", str(path), "--plan", "--out", str(tmp_path / "new")]) == 0
    assert "10 trials" in capsys.readouterr().out
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_sweep_ends_with_the_leaderboard_and_the_reports_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_yaml(tmp_path / "tiny.yaml", budget={"small": {"seeds": 1}})
    assert main(["sweep", "tiny.yaml", "--workers", "1"]) == 0
    out, err = capsys.readouterr()
    assert err == "", "quiet where stderr is no terminal"
    assert "compactness" in out
    assert "10 of 10 trials finished, 10 run now" in out
    assert out.splitlines()[-1] == "report:  runs/tiny/report.html"
    assert (tmp_path / "runs/tiny/report.html").is_file()
    assert main(["sweep", "tiny.yaml", "--budget", "small", "--no-report", "--workers", "1", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["folder"], summary["ran"], summary["report"]) == ("runs/tiny-small", 5, None)
    assert {row["label"] for row in summary["gains"]} == {"compactness", "separation"}


@pytest.mark.slow
def test_sweep_names_what_failed_and_exits_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text(BROKEN)
    path = write_yaml(tmp_path / "mixed.yaml", policies=["hold", "broken.py:Broken"], seeds=1)
    assert main(["sweep", str(path), "--no-report", "--workers", "1"]) == 1
    out, err = capsys.readouterr()
    keys = load_outcomes(tmp_path / "runs/tiny").query("status == 'failed'")["key"]
    assert len(keys) == 2
    for key in keys:
        assert f"failed: broken.py:Broken {key}: RuntimeError: my hand slipped" in err
    assert "4 of 4 trials finished" in out


@pytest.mark.slow
def test_report_writes_it_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder / 'report.html'}\n"
    assert "Who helps?" in (folder / "report.html").read_text()


def test_replay_finds_the_same_to_the_bit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = load_outcomes(folder)
    key = table.loc[table["label"] == "separation", "key"].iloc[-1]
    assert main(["replay", str(folder), key[:12]]) == 0
    assert f"separation, seed 1, {key}: the same to the bit" in capsys.readouterr().out


def test_replay_says_what_differs(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        if path.is_file():
            (copy / path.name).write_bytes(path.read_bytes())
    key = load_outcomes(copy)["key"].iloc[0]
    with ResultStore(copy / RESULTS) as store:
        db = store._db
        outcome = json.loads(db.execute("SELECT outcome FROM trials WHERE key = ?", (key,)).fetchone()[0])
        outcome["churn"] += 0.25
        db.execute("UPDATE trials SET outcome = ? WHERE key = ?", (json.dumps(outcome), key))
    assert main(["replay", str(copy), key]) == 1
    out = capsys.readouterr().out
    assert out.splitlines()[0] == f"compactness, seed 0, {key}: differs"
    assert out.splitlines()[1].startswith(f"  churn: stored {outcome['churn']}, now ")
    assert len(out.splitlines()) == 2


def test_doctor_looks_at_everything_and_finds_nothing_wrong_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    findings = {row["name"]: row["value"] for row in json.loads(capsys.readouterr().out)}
    assert findings["hill-sim"].startswith(hill_sim.__version__)
    assert findings["digits"].startswith("1077 training")
    assert {"torch", "numpy", "device", "cores", "memory"} <= findings.keys()
    assert any(name.startswith("kernels") for name in findings)


def test_doctor_turns_what_breaks_into_a_finding(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hill_sim.doctor._available_memory", lambda: 10**9)
    monkeypatch.setattr("hill_sim.tasks.load_task", lambda *_: 1 / 0)
    findings = {finding.name: finding for finding in examine()}
    assert findings["memory"] == Finding(
        "memory", "1.0 GB available", "a worker needs about 0.7 GB: use fewer --workers"
    )
    assert findings["task"].problem == "ZeroDivisionError: division by zero"
    assert main(["doctor"]) == 1
    assert "-> ZeroDivisionError" in capsys.readouterr().out


def test_bench_engine_takes_its_own_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["bench", "engine", "--help"])
    assert caught.value.code == 0
    assert "--cases" in capsys.readouterr().out


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_shows_trials_shares_and_failures_and_lets_log_lines_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    handler = logging.StreamHandler(screen)
    handler.setLevel(logging.WARNING)
    logging.getLogger("hill_sim").addHandler(handler)
    try:
        with logbook(tmp_path), Progress(10, 4, enabled=True) as bar:
            for key in ("a", "b", "a"):  # a batch that ran again
                bar.trial(key)
            trial = Trial()
            failed = TrialResult(trial, Outcome(trial.key, trial.twin().key, status="failed"))
            bar.batch([failed], {"epochs_asked": 100, "epochs_run": 40})
            logging.getLogger("hill_sim.sweep").warning("something happened")
            bar.batch([], {"epochs_asked": 100, "epochs_run": 40})
    finally:
        logging.getLogger("hill_sim").removeHandler(handler)
    shown = screen.getvalue()
    assert "7 of 10 trials, 1 failed" in shown
    assert "trials/min, 60% of epochs saved" in shown
    assert shown.count("something happened\n") == 1
    assert "of epochs saved," not in shown, "the log's line a batch stays in the log"
    assert shown.rindex("5 of 10 trials") > shown.rindex("7 of 10 trials"), "what was not stored is not done"


@pytest.mark.parametrize("enabled", [True, False])
def test_no_bar_where_nobody_looks(
    enabled: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not enabled:
        monkeypatch.setattr(sys, "stderr", Terminal())
    screen = sys.stderr
    with Progress(10, 0, enabled=enabled) as bar:
        bar.trial("a")
        bar.batch([], {"epochs_asked": 10, "epochs_run": 5})
    assert (screen.getvalue() if isinstance(screen, Terminal) else capsys.readouterr().err) == ""
