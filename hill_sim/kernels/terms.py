"""What the kernels return, and the two ways of averaging the structure loss."""

from typing import Literal, NamedTuple

from torch import Tensor

Backend = Literal["auto", "cuda", "cpp", "numba", "torch"]
Form = Literal["paper", "mean"]
Weight = float | Tensor


class StructureTerms(NamedTuple):
    """The structure loss of P replicas, term by term, each tensor [P]; ``total`` is the sum of the other three."""

    center: Tensor
    spread: Tensor
    separation: Tensor
    total: Tensor


FORMS = {"paper": 0, "mean": 1}  # as the compiled kernels number them
