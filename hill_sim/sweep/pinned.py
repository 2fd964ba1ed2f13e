"""What a sweep's first call fixes for all later ones: device, backends and loss kernels.

What "auto" comes to is measured, and another backend rounds otherwise: a sweep resumed with others would mix results
that differ in the last bits.
"""

from __future__ import annotations

import json
import logging
import platform
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import hill_sim
from hill_sim.errors import InvalidInput, Unavailable, unknown
from hill_sim.sweep.executors.base import has_gpu
from hill_sim.sweep.store import ResultStore
from hill_sim.trial import Trial

log = logging.getLogger(__name__)


Agree: TypeAlias = Callable[[str, Callable[[], str]], str]
"""What all drivers of a sweep take for something: its name, and how to say it if nobody has said it yet."""


def alone(name: str, say: Callable[[], str]) -> str:
    """An `Agree` for a driver that shares its sweep with no other."""
    return say()


class Pinned:
    """What is pinned in a results file, which must be open for writing.

    Args:
        values: what an earlier call pinned (`confirmed`), or what is chosen now (`chosen`).
        backend: asked for, for kinds of trials that only come up later in a search.
    """

    def __init__(self, store: ResultStore, values: dict[str, Any], backend: str, agree: Agree = alone) -> None:
        self.values, self._store, self._backend, self._agree = values, store, backend, agree
        self._save()

    @property
    def engine(self) -> dict[str, Any]:
        """The options of every call of `simulate`."""
        return {"device": self.values["device"], "kernels": self.values["kernels"]}

    def backend(self, trial: Trial) -> str:
        backends, kind = self.values["backends"], kind_of(trial)
        if kind not in backends:
            backends[kind] = self._agree(
                f"backend {kind}", lambda: _backend(trial, self.values["device"], self._backend)
            )
            self._save()
        return str(backends[kind])

    def _save(self) -> None:
        self._store.set_meta({"pinned": json.dumps(self.values)})


def confirmed(stored: dict[str, Any], trials: Iterable[Trial], device: str, backend: str) -> dict[str, Any]:
    """What an earlier call pinned, if it can be had again; raises if something else is asked for by name."""
    began_with = {"device": {stored["device"]}, "backend": set(stored["backends"].values())}
    for name, asked in (("device", device), ("backend", backend)):
        if asked != "auto" and {asked} != began_with[name]:
            was = " or ".join(sorted(began_with[name]))
            raise InvalidInput(f"{name}: {asked!r} is not {was}, with which this sweep began")
    if stored["device"].startswith("cuda") and not has_gpu():
        raise Unavailable("device: this sweep began on a GPU, and torch finds none here")
    for task, fingerprint in _data(trials)["data"].items():
        if (was := stored.get("data", {}).get(task, fingerprint)) != fingerprint:
            now_and_then = f"other data (fingerprint {fingerprint}) than this sweep began with ({was})"
            raise InvalidInput(f"task {task}: {now_and_then}; bring those back, or choose another --out")
    for name, now in _versions().items():
        if stored[name] != now:
            log.warning("this sweep began under %s %s, here is %s: last bits may differ", name, stored[name], now)
    return stored


def agreed(
    values: dict[str, Any], agree: Agree, trials: Iterable[Trial], device: str, backend: str, *, begun: bool
) -> dict[str, Any]:
    """What all drivers of the sweep run with; `values` if this is the first.

    Args:
        begun: trials of this folder ran with `values`, so there is no choice.
    """
    theirs: dict[str, Any] = json.loads(agree("pinned", lambda: json.dumps(values)))
    if theirs == values:
        return values
    for name in ("device", "kernels", "backends", "data") if begun else ():
        for here, there in _both(values[name], theirs[name]):
            if here != there:
                raise InvalidInput(
                    f"storage: {name}: {there!r} there, and {here!r} in this folder; choose another --out or name"
                )
    return confirmed(theirs, trials, device, backend)


def _both(here: Any, there: Any) -> list[tuple[Any, Any]]:
    if not isinstance(here, dict):
        return [(here, there)]
    return [(here[name], there[name]) for name in here.keys() & there.keys()]


def chosen(trials: Iterable[Trial], device: str, backend: str) -> dict[str, Any]:
    """Device, backends and kernels of a new sweep: what is asked for by name, and what "auto" comes to here."""
    import torch

    from hill_sim.kernels.dispatch import resolve as kernels_for

    if device == "auto":
        device = "cuda" if has_gpu() else "cpu"
    backends: dict[str, str] = {}
    for trial in trials:
        kind = kind_of(trial)
        if kind not in backends:
            backends[kind] = _backend(trial, device, backend)
    kernels = kernels_for("auto", torch.device(device).type)
    return {"device": device, "backends": backends, "kernels": kernels, **_data(trials), **_versions()}


def _data(trials: Iterable[Trial]) -> dict[str, dict[str, str]]:
    """Fingerprints of the tasks' data, and what must be known before concluding anything from them."""
    from hill_sim.tasks import fingerprints_of, notes_of

    trials = list(trials)
    return {"data": fingerprints_of(trials), "notes": notes_of(trials)}


def check_device(device: str) -> None:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise unknown("device", device, ("auto", "cpu", "cuda"))
    if device.startswith("cuda") and not has_gpu():
        raise Unavailable(f"device: {device!r} was asked for, and torch finds no GPU")


def kind_of(trial: Trial) -> str:
    """Trials of one kind have tensors of the same shapes, so the same backend suits them."""
    fields = trial.to_dict()
    return json.dumps([fields[n] for n in ("task", "task_options", "model", "model_options", "batch_size")])


def _backend(trial: Trial, device: str, backend: str) -> str:
    import torch

    from hill_sim.engine.choose import make_backend
    from hill_sim.engine.planning import base_of

    return make_backend(backend, base_of(trial), torch.device(device)).name


def _versions() -> dict[str, str]:
    import torch

    return {
        "hill_sim": hill_sim.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
