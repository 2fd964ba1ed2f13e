"""What is built, what is loaded, and why not: the kernels' part of `hill-sim doctor` and of bug reports."""

from dataclasses import asdict, dataclass
from typing import Any

import torch

from hill_sim.kernels import arrays, dispatch, library


@dataclass(frozen=True)
class BackendStatus:
    """One backend: is it usable, and the reason in one line."""

    name: str
    usable: bool
    reason: str
    path: str | None = None


@dataclass(frozen=True)
class KernelStatus:
    """The kernels of this installation.

    Attributes:
        backends: in the order in which "auto" tries them.
        auto: what "auto" takes for tensors on the CPU, and on a GPU.
        numpy: whether the NumPy face is compiled (else it goes through torch).
        build: the compiler, flags and processor version of the compiled code; empty without any.
        record: what the build wrote about itself (`HILL_SIM_BUILD`, and why a part is missing).
    """

    backends: tuple[BackendStatus, ...]
    auto: dict[str, str]
    numpy: BackendStatus
    build: dict[str, Any]
    record: dict[str, Any]
    torch: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> list[str]:
        """The same for a person, a fact a line."""
        rows = [f"{'yes' if b.usable else 'no ':3}  {b.name:6} {b.reason}" for b in (*self.backends, self.numpy)]
        rows.append(f"auto  on the CPU {self.auto['cpu']}, on a GPU {self.auto['cuda']}")
        if self.build:
            b = self.build
            rows.append(f"built with gcc {b['compiler']}, {b['flags']}")
            rows.append(f"processor version in use: {b['processor_version_used']} of {b['processor_versions']}")
            rows.append(f"operators load on torch {b['torch_target']} and later; this is {self.torch}")
        return rows


def status() -> KernelStatus:
    """Tries every backend now."""
    backends = []
    for name in ("cuda", "cpp", "numba", "torch"):
        kernels, reason = dispatch.named(name)
        path = {"cuda": library.load_cuda, "cpp": library.load_cpu}[name]().path if name in ("cuda", "cpp") else None
        backends.append(BackendStatus(name, kernels is not None, reason, str(path) if path else None))
    numpy = BackendStatus("numpy", arrays.compiled is not None, arrays.missing or "loaded")
    return KernelStatus(
        backends=tuple(backends),
        auto={device: dispatch.resolve("auto", device) for device in ("cpu", "cuda")},
        numpy=numpy,
        build=dict(arrays.compiled.build_config()) if arrays.compiled is not None else {},
        record=library.build_record(),
        torch=torch.__version__,
    )
