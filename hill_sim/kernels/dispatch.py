"""Which backend serves a call: cuda for z on a GPU; cpp, else numba, else torch for z on the CPU."""

import os
from types import ModuleType
from typing import NamedTuple

from torch import Tensor

from hill_sim.errors import InvalidInput, Unavailable
from hill_sim.kernels import library, reference

BACKENDS = ("auto", "cuda", "cpp", "numba", "torch")


class Kernels(NamedTuple):
    """A backend: a module with the six functions of `reference`, and whether their arguments must be checked first."""

    module: ModuleType
    needs_checks: bool


TORCH = Kernels(reference, needs_checks=True)
_LOADED: dict[str, Kernels | None] = {"torch": TORCH}  # what `named` found, by backend
_WHY: dict[str, str] = {"torch": "always there"}
_CHOSEN: dict[tuple[str, str], str] = {}  # (backend asked for, device) -> backend


def choose(backend: str, z: Tensor) -> Kernels:
    """The kernels for z. An explicit request that cannot be met raises `Unavailable` and says why."""
    try:
        kernels = _LOADED[_CHOSEN[backend, z.device.type]]
    except (KeyError, AttributeError):  # a first call; or z is no tensor, which the checks will say
        kernels = _LOADED[resolve(backend, z.device.type if isinstance(z, Tensor) else "cpu")]
    assert kernels is not None  # what is chosen is there
    return kernels


def resolve(backend: str, device: str) -> str:
    """The name of the backend that serves a request; torch.compile takes it for a constant, so that it can trace past
    it."""
    chosen = _CHOSEN.get((backend, device))
    if chosen is None:
        chosen = _CHOSEN[backend, device] = _resolve(backend, device)
    return chosen


# All that `torch.compiler.assume_constant_result` does, which imports the whole compiler first: two seconds and 130 MB
# in every process that only trains.
resolve._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _resolve(backend: str, device: str) -> str:
    if backend == "auto":
        candidates = {"cpu": ("cpp", "numba", "torch"), "cuda": ("cuda", "torch")}.get(device, ("torch",))
        return next(name for name in candidates if named(name)[0] is not None)
    if backend not in BACKENDS:
        raise InvalidInput(f"backend: must be one of {', '.join(BACKENDS)}, got {backend!r}")
    wanted = {"torch": device, "cuda": "cuda"}.get(backend, "cpu")
    if device != wanted:
        raise Unavailable(f"backend: {backend!r} serves tensors on {wanted}, but z is on {device}")
    kernels, reason = named(backend)
    if kernels is None:
        raise Unavailable(f"backend: {backend!r} is not available here ({reason}); see `hill-sim doctor`")
    return backend


def named(backend: str) -> tuple[Kernels | None, str]:
    """A backend, loaded now if it was not, and why it is or is not there."""
    if backend not in _LOADED:
        _LOADED[backend], _WHY[backend] = _load(backend)
    return _LOADED[backend], _WHY[backend]


def forget() -> None:
    """Looks again at the next call which backends there are (for tests; `HILL_SIM_DISABLE` is read then)."""
    _LOADED.clear()
    _LOADED["torch"] = TORCH
    _CHOSEN.clear()


def _load(backend: str) -> tuple[Kernels | None, str]:
    if backend in os.environ.get("HILL_SIM_DISABLE", "").split(","):
        return None, "switched off by HILL_SIM_DISABLE"
    if backend == "numba":
        try:
            from hill_sim.kernels import numba_kernels
        except ImportError as error:
            return None, f"numba does not import: {error}"
        return Kernels(numba_kernels, needs_checks=True), "imported"
    loaded = library.load_cpu() if backend == "cpp" else library.load_cuda()
    if not loaded.ok:
        return None, loaded.reason
    from hill_sim.kernels import native  # needs the operators to be there

    return Kernels(native, needs_checks=False), loaded.reason
