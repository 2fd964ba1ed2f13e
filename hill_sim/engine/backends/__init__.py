"""Four ways to run P replicas of one model on P batches, behind one interface.

`chain` chains of linear layers with ReLU, in our C++ kernels, on the CPU;
`bmm`   the same chains, by hand with batched matrix products;
`vmap`  any module that `torch.func` can vectorise;
`loop`  any module, one replica after another. Always works, and the others are checked against it.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from hill_sim.engine.backends.base import Backend
from hill_sim.engine.backends.bmm import BmmBackend
from hill_sim.engine.backends.chain import ChainBackend
from hill_sim.engine.backends.modules import LoopBackend, VmapBackend

BACKENDS: dict[str, Callable[[nn.Module], Backend]] = {
    "chain": ChainBackend,
    "bmm": BmmBackend,
    "vmap": VmapBackend,
    "loop": LoopBackend,
}

__all__ = ["BACKENDS", "Backend", "BmmBackend", "ChainBackend", "LoopBackend", "VmapBackend"]
