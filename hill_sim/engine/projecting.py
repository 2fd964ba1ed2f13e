"""Training the `first-epoch` projections of a population, beside the models and without touching them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hill_sim.engine.arena import Arena, Recipe
from hill_sim.projection import auxiliary_classifier, random_projection


class ProjectionTrainer:
    """W, b (the projection) and A, a (an auxiliary linear classifier on the plane) of P replicas.

    It descends the cross-entropy of A (W h + b) + a on detached latents h, with Adam at the replica's own
    learning rate. After epoch 1 the projection is frozen and the auxiliary classifier discarded.
    """

    def __init__(self, seeds: Sequence[int], width: int, n_classes: int, rates: Sequence[float], like: Tensor) -> None:
        rows = []
        for seed in seeds:
            weight, bias = random_projection(seed, width)
            classifier, offset = auxiliary_classifier(seed, n_classes)
            rows.append([("weight", weight), ("bias", bias), ("classifier", classifier), ("offset", offset)])
        recipes = [Recipe("adam", rate, 0.0) for rate in rates]
        self._arena = Arena.create(rows, [[]] * len(rows), recipes, like.dtype, like.device)

    def gradients(self, rows: slice, latents: Tensor, y: Tensor) -> None:
        """Gradients of some replicas on latents [R,B,H] and labels y [R,B]."""
        part = self._arena.part(rows)
        p, g = part.param_views, part.grad_views
        z = torch.baddbmm(p["bias"].unsqueeze(1), latents, p["weight"].mT)
        logits = torch.baddbmm(p["offset"].unsqueeze(1), z, p["classifier"].mT)
        delta = logits.softmax(-1)
        index = y.unsqueeze(-1)
        delta.scatter_add_(-1, index, delta.new_full(index.shape, -1.0)).div_(y.shape[1])
        torch.bmm(delta.mT, z, out=g["classifier"])
        torch.sum(delta, 1, out=g["offset"])
        dz = torch.bmm(delta, p["classifier"])
        torch.bmm(dz.mT, latents, out=g["weight"])
        torch.sum(dz, 1, out=g["bias"])

    def step(self) -> None:
        """One Adam step of all replicas, after all their gradients."""
        self._arena.step()

    def projection(self, row: int) -> tuple[Tensor, Tensor]:
        """W [2,H] and b [2] of one replica."""
        return self._arena.param_views["weight"][row].clone(), self._arena.param_views["bias"][row].clone()
