"""The frozen linear map from latents h [H] to the plane: z = W h + b, W [2,H], b [2].

It is made during or after epoch 1 and never changes again. It is frozen, not detached: L_human reaches the backbone
through it. Kinds: `first-epoch` (arXiv 2505.06325: trained in epoch 1, here with an auxiliary linear classifier on
detached latents), `random` (as the released program does), `pca` and `lda` (of the training latents after epoch 1).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor

from hill_sim.seeding import generator
from hill_sim.types import Array


def random_projection(seed: int, width: int) -> tuple[Tensor, Tensor]:
    """W [2,H] and b [2], uniform in +-1/sqrt(H) as `torch.nn.Linear` initialises, float64."""
    bound = 1.0 / math.sqrt(width)
    values = generator(seed, "projection").uniform(-bound, bound, size=(2, width + 1))
    return torch.from_numpy(values[:, :width].copy()), torch.from_numpy(values[:, width].copy())


def auxiliary_classifier(seed: int, n_classes: int) -> tuple[Tensor, Tensor]:
    """Initial weights A [C,2] and a [C] of the classifier that trains the `first-epoch` projection, float64."""
    bound = 1.0 / math.sqrt(2.0)
    values = generator(seed, "projection auxiliary").uniform(-bound, bound, size=(n_classes, 3))
    return torch.from_numpy(values[:, :2].copy()), torch.from_numpy(values[:, 2].copy())


def fitted_projection(kind: str, latents: Array, labels: Array) -> tuple[Tensor, Tensor]:
    """`pca` or `lda` of training latents [N,H], as (W [2,H], b [2]) in float64.

    Signs are fixed by the largest entry of each axis, which is positive. Where the data has fewer than two directions
    (two classes in `lda`, constant latents) the missing axis is 0. Latents that are not finite give axes that are NaN.
    """
    h = np.asarray(latents, dtype=np.float64)
    weight = np.zeros((2, h.shape[1]))
    if not np.isfinite(h).all():
        return torch.full((2, h.shape[1]), torch.nan, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    if (h != h[0]).any():
        axes = _principal_axes(h) if kind == "pca" else _discriminant_axes(h, labels)
        weight[: len(axes)] = axes
    signs = np.sign(np.take_along_axis(weight, np.abs(weight).argmax(axis=1, keepdims=True), axis=1))
    weight *= np.where(signs == 0, 1.0, signs)
    return torch.from_numpy(weight), torch.from_numpy(-weight @ h.mean(axis=0))


def _principal_axes(h: Array) -> Array:
    """Up to two axes [k,H] along which latents [N,H] vary."""
    model = PCA(n_components=min(2, *h.shape), svd_solver="full").fit(h)
    return model.components_[model.singular_values_ > 1e-12 * model.singular_values_[0]]


def _discriminant_axes(h: Array, labels: Array) -> Array:
    """Up to two axes [k,H] that part the classes; none where every class is one point, or there is one class."""
    none = np.empty((0, h.shape[1]))
    if not 1 < len(np.unique(labels)) < len(h):
        return none
    # Dead ReLUs make the within-class scatter singular: hence a little shrinkage.
    model = LinearDiscriminantAnalysis(solver="eigen", shrinkage=1e-3)
    try:
        model.fit(h, labels)
    except np.linalg.LinAlgError:
        return none
    return model.scalings_[:, : min(2, len(model.classes_) - 1)].T
