"""What a sweep says while it runs and after: progress, status, log, trackers, and how many workers it takes."""

from __future__ import annotations

import io
import json
import logging
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sweep_support import TRIALS, tiny

from hill_sim.cli import main
from hill_sim.engine.results import Outcome, TrialResult
from hill_sim.errors import InvalidInput, Unavailable
from hill_sim.sweep.executors import Batch, choose, count
from hill_sim.sweep.executors.base import cores
from hill_sim.sweep.expand import Planned
from hill_sim.sweep.folder import RESULTS, RunFolder, writer
from hill_sim.sweep.logbook import LOG, logbook
from hill_sim.sweep.progress import LINE_SECONDS, Progress, duration
from hill_sim.sweep.status import status
from hill_sim.sweep.store import ResultStore
from hill_sim.sweep.trackers import Callbacks, TensorBoard, means, trackers
from hill_sim.trial import Trial


def ended(seed: int, gain: float = 0.01, status: str = "done") -> TrialResult:
    trial = Trial(seed=seed)
    return TrialResult(trial, Outcome(trial.key, trial.twin().key, status=status, gain=gain, test_accuracy=0.5))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_line_says_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    batches = iter([Batch([Trial(seed=seed) for seed in range(4)], {}), None])
    with Progress(10, 2, enabled=True, failed=1, clock=clock) as bar:
        feed = bar.watch(lambda: next(batches))
        feed()
        assert bar.line() == "2 of 10 trials, 4 running, 1 failed"
        assert feed() is None
        clock.now += 60
        bar.trial(Trial(seed=0).key)
        results = [ended(0, 0.01), ended(1, 0.03), ended(2, float("nan"), "failed")]
        bar.batch(results, {"epochs_asked": 100, "epochs_run": 40})
        assert bar.line() == (
            "5 of 10 trials, 1 running, 2 failed, 1 min left, 3 trials/min, 60% of epochs saved, "
            "best gain +3.0 points (compactness)"
        )
        assert capsys.readouterr().err == f"hill-sim: {bar.line()}\n"
    note = json.loads(bar.note(2))
    assert note == {"ran": 3, "seconds": 60.0, "workers": 2, "best": {"gain": 0.03, "policy": "compactness"}}


def test_lines_come_now_and_then_and_never_when_silenced(capsys: pytest.CaptureFixture[str]) -> None:
    for enabled, expected in ((True, 2), (False, 0)):
        clock = Clock()
        with Progress(100, 0, enabled=enabled, clock=clock) as bar:
            for seed in range(20):
                clock.now += LINE_SECONDS / 8
                bar.batch([ended(seed)], {})
        assert len(capsys.readouterr().err.splitlines()) == expected


class Unread(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("stderr", [None, Unread()])
def test_lines_that_nobody_can_read_stop_nothing(stderr: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """None is what Python has instead of a stream that was closed when it started."""
    monkeypatch.setattr(sys, "stderr", stderr)
    clock = Clock()
    with Progress(100, 0, enabled=True, clock=clock) as bar:
        for seed in range(3):
            clock.now += LINE_SECONDS
            bar.batch([ended(seed)], {})
    assert bar.line().startswith("3 of 100 trials")


@pytest.mark.parametrize(
    ("seconds", "text"), [(40, "40 s"), (720, "12 min"), (11_100, "3 h 05 min"), (187_200, "2 d 4 h")]
)
def test_durations_as_people_read_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_log_takes_what_stderr_does_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("hill_sim.some")
    with logbook(tmp_path):
        logger.info("a batch")
        logger.warning("a worker died")
    logger.warning("afterwards")
    lines = (tmp_path / LOG).read_text().splitlines()
    assert [line.split(maxsplit=2)[2] for line in lines] == ["INFO    a batch", "WARNING a worker died"]


def test_a_log_that_cannot_be_written_is_silent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / LOG).mkdir()
    with logbook(tmp_path):
        logging.getLogger("hill_sim.some").info("a batch")
    assert capsys.readouterr().err == ""


def test_status_while_a_sweep_runs_and_after_it_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    with RunFolder.claim(folder, tiny()):
        assert status(folder).driver == writer(folder)
        with ResultStore(folder / RESULTS) as store:
            results = [ended(seed) for seed in range(3)] + [ended(3, status="failed")]
            places = {r.trial.key: (r.trial.seed, Planned(r.trial, "", "compactness")) for r in results}
            progress = {"ran": 4, "seconds": 60.0, "workers": 2, "best": {"gain": 0.02, "policy": "compactness"}}
            info = {"epochs_asked": 100, "epochs_run": 25, "seconds": 118.0}
            store.add(results, places, views=[], info=info, meta={"progress": json.dumps(progress)})
            found = status(folder)
        assert (found.trials, found.done, found.failed) == (TRIALS, 3, 1)
        assert (found.per_minute, found.seconds_left, found.epochs_saved) == (4.0, 90.0, 0.75)
        assert found.resume == ""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert main(["status", str(folder), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["driver"], said["resume"]) == (None, f"hill-sim sweep {folder}")
    assert main(["status", str(folder)]) == 0
    text = capsys.readouterr().out
    assert "3 done, 1 failed, 6 left, of 10" in text
    assert "best gain   +2.0 points, compactness" in text
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert main(["status", str(tmp_path)]) == 2


def test_a_driver_on_another_machine_counts_as_alive(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("17 on elsewhere")
    assert writer(tmp_path) == "17 on elsewhere"
    (tmp_path / ".lock").write_text("17")
    assert writer(tmp_path) is None


def test_means_leave_out_what_failed() -> None:
    assert means([ended(0, 0.1), ended(1, 0.3), ended(2, 9.0, "failed")])["gain/compactness"] == pytest.approx(0.2)


def test_tensorboard_gets_a_point_a_batch_and_goes_on(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for finished, gain in ((2, 0.1), (4, 0.2)):
        (tracker,) = trackers(["tensorboard"], tmp_path)
        tracker.on_batch([ended(0, gain)], finished)
        tracker.close()
    read = EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    points = [(event.step, event.value) for event in read.Scalars("gain/compactness")]
    assert points == [(2, pytest.approx(0.1)), (4, pytest.approx(0.2))]


class FakeRun:
    def __init__(self) -> None:
        self.logged: list[tuple[dict[str, float], int]] = []
        self.finished = False
        self.info = types.SimpleNamespace(run_id="run-1")

    def log(self, data: dict[str, float], step: int) -> None:
        self.logged.append((data, step))

    def finish(self) -> None:
        self.finished = True


def test_wandb_is_one_run_that_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, calls = FakeRun(), []

    def init(**settings: Any) -> FakeRun:
        calls.append(settings)
        return run

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    for finished in (1, 2):
        (tracker,) = trackers(["wandb"], tmp_path)
        assert len(calls) == finished - 1, "nothing before the first batch"
        tracker.on_batch([ended(0, 0.1)], finished)
        tracker.close()
    assert calls[0] == calls[1]
    assert (calls[0]["project"], calls[0]["name"], calls[0]["resume"]) == ("hill-sim", tmp_path.name, "allow")
    assert [step for _, step in run.logged] == [1, 2]
    assert run.finished


def test_mlflow_is_one_run_that_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []

    def start_run(run_id: str | None = None, run_name: str | None = None) -> FakeRun:
        calls.append(("start", run_id, run_name))
        return FakeRun()

    fake = types.SimpleNamespace(
        set_experiment=lambda name: calls.append(("experiment", name)),
        start_run=start_run,
        log_metrics=lambda metrics, step: calls.append(("log", metrics["gain/compactness"], step)),
        end_run=lambda: calls.append(("end",)),
    )
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    for finished in (1, 2):
        (tracker,) = trackers(["mlflow"], tmp_path)
        tracker.on_batch([ended(0, 0.1)], finished)
        tracker.close()
    starts = [call[1] for call in calls if call[0] == "start"]
    assert starts == [None, "run-1"]
    assert ("log", 0.1, 2) in calls
    assert calls[-1] == ("end",)


def test_a_tracker_that_is_not_there_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(Unavailable, match=r"log: wandb is not installed; pip install 'hill-sim\[wandb\]'"):
        trackers(["wandb"], tmp_path)
    with pytest.raises(InvalidInput, match="log: unknown 'tensorbord'; did you mean 'tensorboard'"):
        trackers(["tensorbord"], tmp_path)


def test_a_callback_that_raises_is_dropped_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def on_batch(self, results: Sequence[TrialResult], finished: int) -> None:
            raise ConnectionError("no network")

        def close(self) -> None:
            raise AssertionError("dropped")

    class Works(Broken):
        seen = 0

        def on_batch(self, results: Sequence[TrialResult], finished: int) -> None:
            self.seen = finished

        def close(self) -> None:
            self.seen = -1

    works = Works()
    both = Callbacks([Broken(), works])
    both.on_batch([], 3)
    both.on_batch([], 5)
    assert works.seen == 5
    both.close()
    assert works.seen == -1
    assert caplog.text.count("Broken: no network; it is left out from here on") == 1


def test_tensorboard_is_a_callback(tmp_path: Path) -> None:
    assert isinstance(trackers(["tensorboard", "tensorboard"], tmp_path)[0], TensorBoard)


def test_cores_respect_the_quota_of_a_container(tmp_path: Path) -> None:
    free = cores(tmp_path)
    assert free >= 1
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cores(tmp_path) == free
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert cores(tmp_path) == 1
    (tmp_path / "cpu.max").unlink()
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("100000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert cores(tmp_path) == 1
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    assert cores(tmp_path) == free


def test_a_gpu_has_one_worker_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hill_sim.sweep.executors.base.has_gpu", lambda: True)
    assert count("auto", "auto") == count("auto", "cuda") == count("auto", "cuda:1") == 1
    assert count("auto", "cpu") == cores()
    assert count(3, "auto") == 3


def test_a_share_of_a_gpu_that_nobody_can_use_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[choose.__module__], "has_gpu", lambda: False)
    with pytest.raises(Unavailable, match=r"gpus_per_worker: 0\.25 was asked for, and torch finds no GPU here"):
        choose("ray", 1, {"device": "auto"}, spec=tiny(), gpus_per_worker=0.25)
    with pytest.raises(InvalidInput, match=r"gpus_per_worker: 0\.25 was asked for, and device is 'cpu'"):
        choose("ray", 1, {"device": "cpu"}, spec=tiny(), gpus_per_worker=0.25)
