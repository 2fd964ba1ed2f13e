"""The softmax cross-entropy of P replicas: value, accuracy and gradient in one pass."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hill_sim.kernels import library


def cross_entropy(logits: Tensor, y: Tensor, *, grad: bool = True) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy and accuracy of each replica's batch, and the gradient of the former.

    Args:
        logits: [P,B,C]; y: [P,B], or [1,B] for all.
        grad: False leaves the gradient empty.

    Returns:
        measures [2,P] float64 on the CPU, dlogits [P,B,C].
    """
    if logits.device.type == "cpu" and library.load_cpu().ok:
        measures, dlogits = torch.ops.hill_sim.softmax_cross_entropy(logits, y, grad)
        return measures, dlogits
    log_p = F.log_softmax(logits, dim=-1)
    index = y.expand(len(logits), -1).unsqueeze(-1)
    loss = -log_p.gather(-1, index).squeeze(-1).double().mean(1)
    correct = (logits.argmax(-1) == y).double().mean(1)
    measures = torch.stack([loss, correct]).cpu()
    if not grad:
        return measures, log_p.new_empty(0)
    dlogits = log_p.exp_()
    return measures, dlogits.scatter_add_(-1, index, dlogits.new_full(index.shape, -1.0)).div_(logits.shape[1])
