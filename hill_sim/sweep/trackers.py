"""A sweep's measures in TensorBoard, Weights & Biases or MLflow, batch by batch, for those who have them.

Each is one run: the mean gain and test accuracy of each policy's trials in the batch, over the number of trials
finished. A resumed sweep goes on in the same run. The tables in the run folder stay what counts; a tracker that fails
is dropped with a warning, and the sweep goes on.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from hill_sim.engine.results import TrialResult
from hill_sim.errors import Unavailable, unknown

log = logging.getLogger(__name__)

MEASURES = ("gain", "test_accuracy", "generalisation_gap")


class Callback(Protocol):
    """Told of each batch when it has been stored. What it raises is logged, and it is not called again."""

    def on_batch(self, results: Sequence[TrialResult], finished: int) -> None:
        """`results` are stored; `finished` trials of the sweep are by now, those of earlier calls too."""

    def close(self) -> None:
        """The driver ends."""


class Callbacks:
    """Several, of which none can end the sweep."""

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self._left = list(callbacks)

    def on_batch(self, results: Sequence[TrialResult], finished: int) -> None:
        for callback in list(self._left):
            try:
                callback.on_batch(results, finished)
            except Exception as error:
                self._left.remove(callback)
                log.warning("%s: %s; it is left out from here on", type(callback).__name__, error)

    def close(self) -> None:
        for callback in self._left:
            try:
                callback.close()
            except Exception as error:
                log.warning("%s: %s", type(callback).__name__, error)


def trackers(names: Sequence[str], folder: Path) -> list[Callback]:
    """The trackers of these names, for the sweep in `folder`; nothing is written before the first batch.

    Raises:
        InvalidInput: unknown name.
        Unavailable: its package is not installed; the message says how to get it.
    """
    for name in names:
        if name not in _TRACKERS:
            raise unknown("log", name, _TRACKERS)
    return [_TRACKERS[name](folder) for name in dict.fromkeys(names)]


def means(results: Sequence[TrialResult]) -> dict[str, float]:
    """`MEASURE/POLICY`: mean over the trials of this batch that ended well."""
    values: dict[str, list[float]] = {}
    for result in results:
        if result.outcome.status == "done":
            for measure in MEASURES:
                values.setdefault(f"{measure}/{result.trial.policy_name}", []).append(getattr(result.outcome, measure))
    return {name: sum(some) / len(some) for name, some in values.items()}


class TensorBoard:
    """Event files in `tensorboard/` of the run folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "tensorboard"
        self._writer: Any = None
        self._make: Any = _imported("torch.utils.tensorboard", "tensorboard").SummaryWriter

    def on_batch(self, results: Sequence[TrialResult], finished: int) -> None:
        self._writer = self._writer or self._make(str(self._folder))
        for name, value in means(results).items():
            self._writer.add_scalar(name, value, finished)
        self._writer.flush()

    def close(self) -> None:
        if self._writer:
            self._writer.close()


class WandB:
    """One run in the project `hill-sim`, named as the run folder."""

    def __init__(self, folder: Path) -> None:
        self._wandb, self._folder = _imported("wandb", "wandb"), folder
        self._run: Any = None

    def on_batch(self, results: Sequence[TrialResult], finished: int) -> None:
        if self._run is None:
            self._run = self._wandb.init(
                project="hill-sim", name=self._folder.name, id=_id(self._folder), resume="allow", dir=str(self._folder)
            )
        self._run.log(means(results), step=finished)

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()


class MLflow:
    """One run in the experiment `hill-sim`, named as the run folder; its id is kept there to go on with."""

    def __init__(self, folder: Path) -> None:
        self._mlflow, self._folder, self._open = _imported("mlflow", "mlflow"), folder, False

    def on_batch(self, results: Sequence[TrialResult], finished: int) -> None:
        if not self._open:
            known = self._folder / "mlflow-run"
            self._mlflow.set_experiment("hill-sim")
            run = self._mlflow.start_run(
                run_id=known.read_text().strip() if known.exists() else None, run_name=self._folder.name
            )
            known.write_text(run.info.run_id)
            self._open = True
        # MLflow's names know no '>', which joins the policies of a sequence
        self._mlflow.log_metrics({name.replace(">", "-"): v for name, v in means(results).items()}, step=finished)

    def close(self) -> None:
        if self._open:
            self._mlflow.end_run()


_TRACKERS: dict[str, Any] = {"tensorboard": TensorBoard, "wandb": WandB, "mlflow": MLflow}


def _imported(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise Unavailable(f"log: {package} is not installed; pip install 'hill-sim[{package}]'") from None


def _id(folder: Path) -> str:
    return hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
