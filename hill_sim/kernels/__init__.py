"""The loss kernels: structure loss, sample-pair separation and center loss, batched over P replicas.

Each is a differentiable function and, as ``<name>_and_grad``, a raw one that returns value and gradient without the
autograd engine (what the training engine uses). All take z [P, B, D] float32 or float64, y [P, B] int64 in 0..C-1 and
the targets of each replica; see `hill_sim.kernels.functions` for the formulas.
"""

from hill_sim.kernels.functions import (
    center_loss,
    center_loss_and_grad,
    pair_separation,
    pair_separation_and_grad,
    structure_loss,
    structure_loss_and_grad,
)
from hill_sim.kernels.terms import StructureTerms

__all__ = [
    "StructureTerms",
    "center_loss",
    "center_loss_and_grad",
    "pair_separation",
    "pair_separation_and_grad",
    "structure_loss",
    "structure_loss_and_grad",
]
