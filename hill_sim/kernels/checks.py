"""What the public functions accept, and the errors that name the argument, what was given and what is allowed."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from hill_sim.errors import InvalidInput
from hill_sim.kernels.terms import Weight

DTYPES = (torch.float32, torch.float64)


def check_samples(z: Tensor, y: Tensor) -> tuple[int, int, int]:
    """Checks z and y and returns (P, B, D)."""
    for name, value in (("z", z), ("y", y)):
        if not isinstance(value, Tensor):
            raise InvalidInput(f"{name}: a torch.Tensor is needed, got {type(value).__name__}")
        if value.layout != torch.strided:
            raise InvalidInput(f"{name}: a dense tensor is needed, got layout {value.layout}")
    if z.dtype not in DTYPES:
        raise InvalidInput(f"z: dtype must be float32 or float64, got {z.dtype}")
    if z.dim() not in (2, 3):
        raise InvalidInput(f"z: shape must be [P, B, D] or [B, D], got {list(z.shape)}")
    shape = (1, *z.shape) if z.dim() == 2 else tuple(z.shape)
    if shape[2] == 0:
        raise InvalidInput(f"z: needs at least one coordinate D, got shape {list(z.shape)}")
    if y.dtype != torch.int64:
        raise InvalidInput(f"y: dtype must be int64, got {y.dtype}")
    if tuple(y.shape) not in (shape[:2], shape[1:2]):
        raise InvalidInput(f"y: shape must be [P, B] = {list(shape[:2])} or [B] = {[shape[1]]}, got {list(y.shape)}")
    if y.device != z.device:
        raise InvalidInput(f"y: is on {y.device} but z is on {z.device}")
    return cast(tuple[int, int, int], shape)


def check_target(name: str, target: Tensor, z: Tensor, replicas: int, tail: tuple[int, ...], letters: str) -> None:
    """Checks one target tensor: [P, *tail] or, shared by the replicas, [*tail]."""
    if not isinstance(target, Tensor):
        raise InvalidInput(f"{name}: a torch.Tensor is needed, got {type(target).__name__}")
    if tuple(target.shape) not in ((replicas, *tail), tail):
        wanted = f"[P, {letters}] = {[replicas, *tail]} or [{letters}] = {list(tail)}"
        raise InvalidInput(f"{name}: shape must be {wanted}, got {list(target.shape)}")
    if target.dtype != z.dtype:
        raise InvalidInput(f"{name}: dtype must be that of z, {z.dtype}, got {target.dtype}")
    check_constant(name, target, z)


def check_constant(name: str, value: Tensor, z: Tensor) -> None:
    """Checks that a tensor sits beside z and asks for no gradient, which the kernels do not give."""
    if value.device != z.device:
        raise InvalidInput(f"{name}: is on {value.device} but z is on {z.device}")
    if value.requires_grad and torch.is_grad_enabled():
        raise InvalidInput(f"{name}: requires a gradient, but only z has one here; pass {name}.detach()")


def class_count(name: str, target: Tensor, dims: int) -> int:
    """C, read from the class dimension of a target that has `dims` dimensions with a leading P."""
    if not isinstance(target, Tensor) or target.dim() not in (dims - 1, dims):
        given = list(target.shape) if isinstance(target, Tensor) else type(target).__name__
        raise InvalidInput(f"{name}: needs {dims} dimensions (or {dims - 1}, shared by the replicas), got {given}")
    return target.shape[1 if target.dim() == dims else 0]


def check_labels(y: Tensor, classes: int) -> None:
    """Checks 0 <= y < C. Skipped on a GPU, where it would wait for the device (a kernel there gives NaN instead), and
    while torch.compile traces."""
    if y.numel() > 0 and classes == 0:
        raise InvalidInput("y: there are labels, but the targets have no classes")
    if y.numel() == 0 or y.device.type != "cpu" or torch.compiler.is_compiling():
        return
    low, high = (int(v) for v in y.aminmax())
    if low < 0 or high >= classes:
        raise InvalidInput(f"y: labels must be in 0..{classes - 1}, got {low if low < 0 else high}")


def check_structure(
    z: Tensor,
    y: Tensor,
    centers: Tensor,
    spreads: Tensor,
    touched: Tensor | None,
    weights: Sequence[Weight],
    form: str,
) -> None:
    replicas, _, coordinates = check_samples(z, y)
    classes = class_count("centers", centers, 3)
    check_target("centers", centers, z, replicas, (classes, coordinates), "C, D")
    check_target("spreads", spreads, z, replicas, (classes,), "C")
    if touched is not None:
        if not isinstance(touched, Tensor) or touched.dtype != torch.bool:
            given = touched.dtype if isinstance(touched, Tensor) else type(touched).__name__
            raise InvalidInput(f"touched: must be a bool tensor or None, got {given}")
        if tuple(touched.shape) not in ((replicas, classes), (classes,)):
            wanted = f"[P, C] = {[replicas, classes]} or [C] = {[classes]}"
            raise InvalidInput(f"touched: shape must be {wanted}, got {list(touched.shape)}")
        check_constant("touched", touched, z)
    if form not in ("paper", "mean"):
        raise InvalidInput(f"form: must be 'paper' or 'mean', got {form!r}")
    if len(weights) != 3:
        raise InvalidInput(f"weights: needs three (center, spread, separation), got {len(weights)}")
    for weight in weights:
        if isinstance(weight, Tensor):
            if tuple(weight.shape) not in ((replicas,), ()):
                raise InvalidInput(f"weights: a tensor must be [P] = {[replicas]}, got {list(weight.shape)}")
            if weight.dtype != z.dtype:
                raise InvalidInput(f"weights: dtype must be that of z, {z.dtype}, got {weight.dtype}")
            check_constant("weights", weight, z)
        elif not isinstance(weight, int | float):
            raise InvalidInput(f"weights: each must be a number or a tensor [P], got {type(weight).__name__}")
    check_labels(y, classes)


def check_pairs(z: Tensor, y: Tensor, margins: Tensor) -> None:
    replicas, _, _ = check_samples(z, y)
    classes = class_count("margins", margins, 3)
    check_target("margins", margins, z, replicas, (classes, classes), "C, C")
    check_labels(y, classes)


def check_center(z: Tensor, y: Tensor, centers: Tensor) -> None:
    replicas, _, coordinates = check_samples(z, y)
    classes = class_count("centers", centers, 3)
    check_target("centers", centers, z, replicas, (classes, coordinates), "C, D")
    check_labels(y, classes)
