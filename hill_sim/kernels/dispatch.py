"""Which backend serves a call: cuda for z on a GPU; cpp, else numba, else torch for z on the CPU."""

import os
from functools import cache
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


def choose(backend: str, z: Tensor) -> Kernels:
    """The kernels for z. An explicit request that cannot be met raises `Unavailable` and says why."""
    device = z.device.type if isinstance(z, Tensor) else "cpu"  # what is not a tensor is refused by the checks
    if backend == "auto":
        return automatic(device)
    if backend == "torch":
        return TORCH
    if backend not in BACKENDS:
        raise InvalidInput(f"backend: must be one of {', '.join(BACKENDS)}, got {backend!r}")
    wanted = "cuda" if backend == "cuda" else "cpu"
    if device != wanted:
        raise Unavailable(f"backend: {backend!r} serves tensors on {wanted}, but z is on {device}")
    kernels, reason = named(backend)
    if kernels is None:
        raise Unavailable(f"backend: {backend!r} is not available here ({reason}); see `hill-sim doctor`")
    return kernels


@cache
def automatic(device: str) -> Kernels:
    """The fastest backend for a device."""
    for backend in {"cpu": ("cpp", "numba"), "cuda": ("cuda",)}.get(device, ()):
        kernels, _ = named(backend)
        if kernels is not None:
            return kernels
    return TORCH


@cache
def named(backend: str) -> tuple[Kernels | None, str]:
    """A backend and why it is or is not there."""
    if backend in os.environ.get("HILL_SIM_DISABLE", "").split(","):
        return None, "switched off by HILL_SIM_DISABLE"
    if backend == "torch":
        return TORCH, "always there"
    if backend == "numba":
        return _numba()
    loaded = library.load_cpu() if backend == "cpp" else library.load_cuda()
    if not loaded.ok:
        return None, loaded.reason
    from hill_sim.kernels import native  # needs the operators to be there

    return Kernels(native, needs_checks=False), loaded.reason


def _numba() -> tuple[Kernels | None, str]:
    try:
        from hill_sim.kernels import numba_kernels
    except ImportError as error:
        return None, f"numba does not import: {error}"
    return Kernels(numba_kernels, needs_checks=True), "imported"
