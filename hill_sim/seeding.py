"""Random numbers as pure functions of who asks for them: no generator is ever shared, stored or copied.

A forked trial needs the same numbers as the trial it was forked from, whatever else ran in between. So every
consumer derives a fresh generator from (seed, role, keys), for instance the data order of epoch 7 from
`generator(seed, "order", 7)`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def generator(seed: int, role: str, *keys: int) -> np.random.Generator:
    """The NumPy generator of one role: `SeedSequence(seed, spawn_key=(crc32(role), *keys))`.

    Args:
        seed: the trial's seed, a non-negative integer.
        role: what the numbers are for, e.g. `"order"`; roles are independent streams.
        keys: non-negative integers that tell repeated uses apart, e.g. the epoch.
    """
    return np.random.Generator(
        np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(zlib.crc32(role.encode()), *keys)))
    )


_torch_state = RLock()


@contextmanager
def own_torch_state(*gpus: torch.device) -> Iterator[None]:
    """torch's global generators for this block alone: the caller's state comes back, other threads wait."""
    import torch  # late: most who draw numbers need none of it

    with _torch_state, torch.random.fork_rng(devices=list(gpus)):
        yield


@contextmanager
def torch_seed(seed: int, role: str, *keys: int) -> Iterator[None]:
    """Seed torch's global CPU generator inside the block only: module initialisers know no other way."""
    import torch

    with own_torch_state():
        # not torch.manual_seed: that also queues a seed for a GPU nobody uses, with a stack trace, at 0.7 ms a call
        torch.default_generator.manual_seed(int(generator(seed, role, *keys).integers(2**63)))
        yield
