"""Ray for real: the same results to the bit, and workers, nodes and trials that die."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_support import (
    FULL,
    LONGER,
    TRIALS,
    children,
    longer,
    start,
    stored,
    uninterrupted,
    wait_for,
    wait_for_death,
)
from sweep_support import assert_same_results, tiny, write_yaml

from hill_sim.engine import simulate
from hill_sim.errors import Unavailable
from hill_sim.sweep import load_outcomes, run_sweep
from hill_sim.sweep.executors.cluster import stage

ray = pytest.importorskip("ray", reason="ray is not installed")

pytestmark = [
    pytest.mark.faults,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray's own sockets and processes
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
full = pytest.mark.skipif(not FULL, reason="part of make test-faults")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return uninterrupted(tmp_path_factory.mktemp("whole") / "tiny", longer())


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Two nodes of one CPU each, on this machine."""
    from ray.cluster_utils import Cluster

    before = set(descendants(os.getpid()))
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    made.second = [made.add_node(num_cpus=1), made.add_node(num_cpus=1)]
    made.wait_for_nodes()
    yield made
    processes = set(descendants(os.getpid())) - before
    ray.shutdown()
    made.shutdown()
    wait_for_death(sorted(processes))


def meanwhile(condition: Callable[[], bool], act: Callable[[], None]) -> threading.Thread:
    """Do something as soon as something is seen."""

    def watch() -> None:
        wait_for(condition, None)
        act()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def workers() -> list[int]:
    """The processes of Ray that are at a task of ours."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cmdline").read_bytes().startswith(b"ray::_task"):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


@full
def test_kill_9_of_a_ray_worker_changes_nothing(tmp_path: Path, whole: Path) -> None:
    def kill() -> None:
        wait_for(lambda: bool(workers()), None)
        os.kill(workers()[0], signal.SIGKILL)

    killer = meanwhile(lambda: stored(tmp_path / "ray") > 0, kill)
    summary = run_sweep(longer(), tmp_path / "ray", backend="bmm", executor="ray", workers=2)
    killer.join()
    assert (summary.ran, summary.failed) == (TRIALS, [])
    assert_same_results(tmp_path / "ray", whole)


@full
def test_a_trial_that_kills_ray_workers_is_named_and_the_rest_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "poison.py").write_text(
        "import os\nclass Deadly:\n    def edit(self, view, rng):\n        os._exit(3)\n"
    )
    monkeypatch.chdir(tmp_path)
    deadly = {"label": "deadly", "policy": "poison.py:Deadly"}
    spec = tiny(policies=["compactness", deadly], grid={"alpha": [0.5]}, seeds=1)
    summary = run_sweep(spec, tmp_path / "run", backend="bmm", executor="ray", workers=1)
    ((label, _, why),) = summary.failed
    assert label == "deadly"
    assert why.startswith("3 workers died over this trial")
    assert load_outcomes(tmp_path / "run")["status"].tolist() == ["done", "failed"]


@full
def test_a_node_of_a_cluster_that_dies_changes_nothing(
    tmp_path: Path, whole: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver's own file with a user travels to the nodes."""
    monkeypatch.chdir(tmp_path)
    lost = meanwhile(lambda: stored(tmp_path / "run") > 0, lambda: cluster.remove_node(cluster.second[0]))
    summary = run_sweep(longer(), tmp_path / "run", backend="bmm", executor="ray", ray_address=cluster.address)
    lost.join()
    assert (summary.ran, summary.failed) == (TRIALS, [])
    assert_same_results(tmp_path / "run", whole)


@full
def test_ctrl_c_and_kill_9_of_the_driver_leave_no_process_of_ray(tmp_path: Path, whole: Path) -> None:
    """Ctrl-C as a terminal sends it, to the whole group, ends the batch in flight."""
    spec, folder = write_yaml(tmp_path / "longer.yaml", **LONGER), tmp_path / "ray"
    first = start(spec, folder, "--executor", "ray")
    wait_for(lambda: stored(folder) > 0, first)
    processes = descendants(first.pid)
    assert len(processes) > 3
    os.killpg(first.pid, signal.SIGINT)
    first.wait(timeout=120)
    assert first.returncode == 130
    wait_for_death(processes)
    assert f"to go on: hill-sim sweep {folder}" in first.communicate()[1]
    kept = stored(folder)
    assert kept < TRIALS
    second = start(spec, folder, "--executor", "ray")
    wait_for(lambda: stored(folder) > kept, second)
    processes = descendants(second.pid)
    second.kill()
    second.wait()
    wait_for_death(processes, seconds=240)  # Ray's two idle agents look for their raylet about once a minute
    run_sweep(longer(), folder, backend="bmm", simulate=simulate)
    assert_same_results(folder, whole)


def descendants(pid: int) -> list[int]:
    found = children(pid)
    return [*found, *(lower for child in found for lower in descendants(child))]


def test_no_cluster_at_an_address_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"^ray_address: no Ray cluster at 127\.0\.0\.1:1: "):
        run_sweep(tiny(), tmp_path / "run", executor="ray", ray_address="127.0.0.1:1")
    assert not (tmp_path / "run").exists()


def test_what_travels_to_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """hill_sim with its kernels, and what the sweep names below the working folder; nothing else."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "users").mkdir()
    for name in ("users/mine.py", "single.py", "secret.py", "users/__init__.py"):
        (tmp_path / name).write_text("x = 1")
    staged = tmp_path.parent / "staged"
    stage(
        staged, ["users/mine.py:User", "single:User", "users.mine:User", "hill", "numpy:array", "torchvision:resnet18"]
    )
    names = {str(path.relative_to(staged)) for path in staged.rglob("*") if "hill_sim" not in path.parts}
    assert {"users/mine.py", "single.py", "users"} <= names
    assert not names & {"secret.py", "numpy"}
    assert (staged / "hill_sim" / "strategies" / "compactness.py").is_file()
    assert not list(staged.rglob("__pycache__"))
