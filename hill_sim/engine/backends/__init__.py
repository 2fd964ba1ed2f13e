"""Five ways to run P replicas of one model on P batches, behind one interface.

`chain` chains of linear layers with ReLU, in our C++ kernels, on the CPU;
`bmm`   the same chains, by hand with batched matrix products;
`vmap`  any module that `torch.func` can vectorise;
`loop`  any module, one replica after another. Always works, and the others are checked against it;
`loop-bf16`  the same in mixed precision, on a GPU, if asked for by name.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from hill_sim.engine.backends.base import Backend
from hill_sim.engine.backends.bmm import BmmBackend
from hill_sim.engine.backends.chain import ChainBackend
from hill_sim.engine.backends.modules import LoopBackend, MixedLoopBackend, VmapBackend

BACKENDS: dict[str, Callable[[nn.Module], Backend]] = {
    "chain": ChainBackend,
    "bmm": BmmBackend,
    "vmap": VmapBackend,
    "loop": LoopBackend,
    "loop-bf16": MixedLoopBackend,
}
AUTOMATIC = ("chain", "bmm", "vmap", "loop")
"""What `auto` chooses from: they differ by rounding alone."""

__all__ = ["AUTOMATIC", "BACKENDS", "Backend", "BmmBackend", "ChainBackend", "LoopBackend", "VmapBackend"]
