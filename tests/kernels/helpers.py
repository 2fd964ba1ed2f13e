"""What the kernel tests share: where a backend's tensors live, how results are compared, all three losses by name."""

import torch
from torch import Tensor

from hill_sim import kernels
from hill_sim.bench.kernel_problems import Problem

LOSSES = ("structure_loss", "pair_separation", "center_loss")


def place(problem: Problem, backend: str) -> Problem:
    return problem.to(problem.z.dtype, "cuda") if backend == "cuda" else problem


def arguments(name: str, q: Problem) -> tuple[Tensor, ...]:
    targets = {"structure_loss": (q.centers, q.spreads), "pair_separation": (q.margins,), "center_loss": (q.centers,)}
    return (q.z, q.y, *targets[name])


def both(name: str, q: Problem, backend: str, **options) -> tuple[Tensor, Tensor]:
    """Value [P] (of the structure loss: all four terms, [4, P]) and gradient by the raw function."""
    value, grad = getattr(kernels, f"{name}_and_grad")(*arguments(name, q), backend=backend, **options)
    return (torch.stack(value) if isinstance(value, tuple) else value).cpu(), grad.cpu()


def loss(name: str, z: Tensor, q: Problem, backend: str, **options) -> Tensor:
    """Value [P] (of the structure loss: the total) by the differentiable function."""
    value = getattr(kernels, name)(z, *arguments(name, q)[1:], backend=backend, **options)
    return value.total if isinstance(value, tuple) else value


def error(got: Tensor, want: Tensor) -> float:
    """Relative L2 distance, as a vector; 0 where both are 0."""
    got, want = got.double(), want.double()
    size = want.norm().item()
    return (got - want).norm().item() / (size if size > 0 else 1.0)


def one(q: Problem, p: int | slice) -> Problem:
    """Some replicas of a problem."""
    part = slice(p, p + 1) if isinstance(p, int) else p
    return Problem(**{k: v[part].clone() for k, v in vars(q).items()})
