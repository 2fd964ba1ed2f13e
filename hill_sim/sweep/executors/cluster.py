"""A Ray cluster, or Ray on this machine: one task a batch, one CPU and one thread a task.

A task whose worker or node dies is tried once more by Ray itself, whole; one that dies again, and every part after it,
is handled as on one machine (`retries`). Code travels: on a cluster the workers run the driver's own hill_sim, with its
compiled kernels, and the modules and relative `path.py` files that the sweep names. Torch and the other packages must
be there in the driver's versions, and data below the same HILL_SIM_DATA.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import pickle
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import hill_sim
from hill_sim.errors import InvalidInput, Unavailable
from hill_sim.sweep.executors.base import Batch, BatchEnded, Event, Feed, Quiet, TrialEnded, WorkerCrash, count, first
from hill_sim.sweep.executors.retries import Retries
from hill_sim.sweep.executors.worker import ONE_THREAD, compute, import_paths
from hill_sim.trial import Trial


class RayWorkers:
    """Tasks of a Ray cluster.

    Args:
        workers: tasks at the same time; "auto" is one per CPU that the cluster has.
        options: of every call of `simulate`.
        address: of a running cluster, as `ray.init` takes it; None starts Ray on this machine, and ends it again.
        gpus_per_worker: share of a GPU that each task holds, e.g. 0.25.
        names: policies, models and tasks of the sweep; what they name in the driver's folder is sent along.

    Raises:
        Unavailable: Ray is not installed, or no cluster answers.
        InvalidInput: more of a GPU per worker than the cluster has.
    """

    def __init__(
        self,
        workers: int | str,
        options: dict[str, Any],
        *,
        address: str | None = None,
        gpus_per_worker: float = 0.0,
        names: Sequence[str] = (),
    ) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # leaves CUDA_VISIBLE_DEVICES as it is
        try:
            import ray
        except ImportError:
            raise Unavailable("executor: ray is not installed; pip install 'hill-sim[ray]'") from None
        self._ray, self._options = ray, options
        self._task: Any = None
        self._staged: tempfile.TemporaryDirectory[str] | None = None
        self._folder: str | None = None
        inherited: dict[str, str] = {}
        chosen: dict[str, Any]
        if address is None:
            # Not by a `runtime_env`: Ray would start a second set of workers beside the ones that it starts anyway.
            self._folder = os.getcwd()
            inherited = {**ONE_THREAD, "PYTHONPATH": import_paths()}
            chosen = {"num_cpus": count(workers), "include_dashboard": False}
        else:
            _check_reachable(address)
            self._staged = tempfile.TemporaryDirectory(prefix="hill-sim-")
            stage(Path(self._staged.name), names)
            variables = {name: os.environ[name] for name in ("HILL_SIM_DATA",) if name in os.environ}
            chosen = {"runtime_env": {"env_vars": {**ONE_THREAD, **variables}, "working_dir": self._staged.name}}
        try:
            with _environment(inherited):
                ray.init(address=address or "local", logging_level=logging.WARNING, log_to_driver=True, **chosen)
        except Exception as error:  # of any kind, a bare Exception too
            self.close()
            reason = str(error).strip().splitlines()[0]
            if address is not None and "RAY_AUTH_MODE" not in os.environ:  # a token goes to no address unasked
                reason += "; one that asks for a token needs RAY_AUTH_MODE=token here too"
            raise Unavailable(f"ray_address: no Ray cluster at {address or 'this machine'}: {reason}") from None
        has = ray.cluster_resources()
        slots = int(has.get("CPU", 0))
        if gpus_per_worker:
            slots = min(slots, int(has.get("GPU", 0) / gpus_per_worker))
        if slots < 1:
            self.close()
            raise InvalidInput(
                f"gpus_per_worker: {gpus_per_worker:g} with 1 CPU is more than this cluster has "
                f"({has.get('CPU', 0):g} CPUs, {has.get('GPU', 0):g} GPUs)"
            )
        self.number = slots if workers == "auto" else count(workers)
        needs: dict[str, Any] = {"num_cpus": 1, "num_gpus": gpus_per_worker}
        self._task = ray.remote(**needs, max_retries=1)(_task)
        warm = ray.remote(**needs, max_retries=0)(_imports)
        for _ in range(self.number):
            warm.remote()  # they import while the driver plans; what fails here fails again where it is seen

    def run(self, feed: Feed, stop: Callable[[], bool]) -> Iterator[Event]:
        ray, retries = self._ray, Retries()
        in_flight: dict[Any, Batch] = {}
        dry = False  # feed had nothing when it was asked last

        def give_out() -> None:
            nonlocal dry
            while len(in_flight) < self.number and not stop():
                batch = retries.next()
                if batch is None and not dry:
                    batch = feed()
                    dry = batch is None
                if batch is None:
                    break
                task = self._task.options(max_retries=0 if batch.deaths else 1)
                options = {**self._options, **batch.options}
                in_flight[task.remote(list(batch.trials), options, self._folder, _versions())] = batch

        while True:
            give_out()
            if not in_flight:
                return
            ready = ray.wait(list(in_flight), timeout=0.5)[0]
            if not ready:
                yield Quiet()
                dry = False
            for ref in ready:
                batch = in_flight.pop(ref)
                for event in first(give_out, self._ended(ref, batch, retries)):
                    yield event
                    dry = False

    def _ended(self, ref: Any, batch: Batch, retries: Retries) -> Iterator[Event]:
        """What a task of this batch came to, read when the first event is asked for."""
        failures = self._ray.exceptions
        try:
            kind, *content = pickle.loads(self._ray.get(ref))
        except (
            failures.WorkerCrashedError,
            failures.NodeDiedError,
            failures.OutOfMemoryError,
            failures.ObjectLostError,
            failures.LocalRayletDiedError,
        ) as error:
            ended = retries.died(batch, _in_words(error))
        except failures.RayError as error:
            raise WorkerCrash(f"ray: {type(error).__name__}: {str(error).strip()}") from None
        else:
            if kind == "batch":
                retries.done()
                ended = BatchEnded(*content)
            else:
                ended = retries.raised(batch, *content)
        if ended is not None:
            yield from (TrialEnded(result.outcome.key) for result in ended.results)
            yield ended

    def close(self) -> None:
        """Leave the cluster, whose workers end what they are at; a Ray of our own ends at once."""
        with contextlib.suppress(Exception):
            self._ray.shutdown()
        if self._staged is not None:
            self._staged.cleanup()
            self._staged = None


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for the processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _check_reachable(address: str) -> None:
    """Ray itself waits for minutes for a cluster that is not there."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not colon or not port.isdigit():
        return  # "auto"
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise Unavailable(f"ray_address: no Ray cluster at {address}: {error.strerror or error}") from None


def _task(trials: list[Trial], options: Mapping[str, Any], folder: str | None, versions: Mapping[str, str]) -> bytes:
    """The message of `compute`, pickled here: Ray would handle each of its thousands of small arrays as a buffer."""
    if folder is not None:
        os.chdir(folder)
    if (here := _versions()) != versions:
        wanted, found = (", ".join(f"{name} {number}" for name, number in v.items()) for v in (versions, here))
        mistake = Unavailable(f"executor: a Ray node has {found}; the driver has {wanted}")
        return pickle.dumps(("raised", str(mistake), mistake))
    return pickle.dumps(compute(trials, options), protocol=5)


def _imports() -> None:
    import hill_sim.engine.simulation  # noqa: F401


def _versions() -> dict[str, str]:
    import torch

    return {"torch": torch.__version__, "python": ".".join(map(str, sys.version_info[:2]))}


def _in_words(error: Exception) -> str:
    return {
        "NodeDiedError": "its node died",
        "OutOfMemoryError": "out of memory",
        "ObjectLostError": "its node died",
    }.get(type(error).__name__, "killed, out of memory?")


def stage(folder: Path, names: Sequence[str]) -> None:
    """Copy into `folder` what workers elsewhere need: hill_sim as it is here, and the sweep's own modules and files.

    Args:
        names: `module:attr` or `path.py:attr` among them are looked for below the working folder; others, and what is
            installed, are left to the nodes.
    """
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(Path(hill_sim.__file__).parent, folder / "hill_sim", ignore=ignored)
    here = Path.cwd().resolve()
    for name in names:
        module, _, attribute = name.rpartition(":")
        if not module or not attribute.isidentifier():
            continue
        if module.endswith(".py"):
            found = Path(module)
            if found.is_absolute() or not found.is_file():
                continue  # for nodes that share the file system
            root = found.resolve()
        elif re.fullmatch(r"[\w.]+", module):
            spec = importlib.util.find_spec(module.partition(".")[0])
            if spec is None or spec.origin is None:
                continue
            root = Path(spec.origin).resolve()
            root = root.parent if root.name == "__init__.py" else root
        else:
            continue
        if here not in root.parents or ".venv" in root.parts or (folder / root.relative_to(here)).exists():
            continue
        target = folder / root.relative_to(here)
        target.parent.mkdir(parents=True, exist_ok=True)
        if root.is_dir():
            shutil.copytree(root, target, ignore=ignored)
        else:
            shutil.copy(root, target)
