"""Which backend serves a call: cuda for z on a GPU; cpp, else numba, else torch for z on the CPU."""

from types import ModuleType
from typing import Any, NamedTuple

from torch import Tensor

from hill_sim.errors import InvalidInput
from hill_sim.kernels import reference

BACKENDS = ("auto", "cuda", "cpp", "numba", "torch")


class Kernels(NamedTuple):
    """A backend: a module with the six functions, and whether Python must check their arguments first."""

    module: ModuleType | Any
    needs_checks: bool


TORCH = Kernels(reference, needs_checks=True)


def choose(backend: str, z: Tensor) -> Kernels:
    if backend in ("auto", "torch"):
        return TORCH
    raise InvalidInput(f"backend: must be one of {', '.join(BACKENDS)}, got {backend!r}")
