"""The frozen maps to the plane: what they maximise, that signs are fixed, and that no latents break them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hill_sim.projection import auxiliary_classifier, fitted_projection, random_projection


def blobs(classes: int, n: int = 30, width: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), n)
    return rng.normal(size=(classes, width))[labels] * 4 + rng.normal(size=(classes * n, width)) + 7.0, labels


def test_random_is_torchs_initialisation_as_a_function_of_the_seed() -> None:
    weight, bias = random_projection(3, 16)
    again = random_projection(3, 16)
    assert weight.shape == (2, 16)
    assert bias.shape == (2,)
    assert torch.equal(weight, again[0])
    assert torch.equal(bias, again[1])
    assert not torch.equal(weight, random_projection(4, 16)[0])
    everything = torch.cat([torch.cat([w.flatten(), b]) for w, b in (random_projection(s, 16) for s in range(300))])
    assert float(everything.abs().max()) <= 1 / math.sqrt(16)
    assert float(everything.abs().max()) > 0.999 / math.sqrt(16)
    assert abs(float(everything.mean())) < 0.005
    assert auxiliary_classifier(3, 5)[0].shape == (5, 2)
    assert not torch.equal(auxiliary_classifier(3, 16)[0].mT, weight)


def test_pca_keeps_as_much_variance_as_any_plane_can() -> None:
    h, labels = blobs(5)
    weight, bias = (t.numpy() for t in fitted_projection("pca", h, labels))
    z = h @ weight.T + bias
    values = np.linalg.eigvalsh(np.cov(h.T))[::-1]
    assert np.allclose(z.mean(axis=0), 0.0, atol=1e-10)
    assert np.allclose(np.cov(z.T), np.diag(values[:2]), atol=1e-9)
    assert np.allclose(weight @ weight.T, np.eye(2), atol=1e-12)


def test_lda_parts_the_classes_better_than_pca() -> None:
    rng = np.random.default_rng(1)
    h, labels = blobs(4)
    h[:, 0] += 100 * rng.normal(size=len(h))  # a loud direction that says nothing

    def parted(kind: str) -> float:
        weight, bias = (t.numpy() for t in fitted_projection(kind, h, labels))
        z = h @ weight.T + bias
        assert np.allclose(z.mean(axis=0), 0.0, atol=1e-9)
        within = np.mean([z[labels == c].var(axis=0).sum() for c in range(4)])
        return float(z.var(axis=0).sum() / within)

    assert parted("lda") > 3 * parted("pca")


@pytest.mark.parametrize("kind", ["pca", "lda"])
def test_signs_are_fixed(kind: str) -> None:
    h, labels = blobs(4)
    weight, _ = fitted_projection(kind, h, labels)
    assert all(float(axis[axis.abs().argmax()]) > 0 for axis in weight)
    mirrored, _ = fitted_projection(kind, -h, labels)
    torch.testing.assert_close(mirrored, weight, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("kind", ["pca", "lda"])
def test_a_direction_that_is_not_there_is_zero(kind: str) -> None:
    h, labels = blobs(4)
    one_point = fitted_projection(kind, np.full_like(h, 3.0), labels)
    assert not one_point[0].any()
    assert not one_point[1].any()


def test_pca_of_a_line_has_one_axis() -> None:
    weight, _ = fitted_projection("pca", np.outer(np.arange(9.0), np.arange(1.0, 7.0)), np.arange(9) % 2)
    assert weight[0].any()
    assert not weight[1].any()


def test_lda_of_two_classes_has_one_axis_and_of_one_class_none() -> None:
    h, labels = blobs(2)
    weight, bias = fitted_projection("lda", h, labels)
    assert weight[0].any()
    assert not weight[1].any()
    assert float(bias[1]) == 0.0
    assert not fitted_projection("lda", h, np.zeros_like(labels))[0].any()


def test_lda_of_classes_that_are_points_has_no_axis() -> None:
    """Nothing within the classes to compare with: no axis, no crash."""
    labels = np.repeat(np.arange(3), 4)
    assert not fitted_projection("lda", np.eye(3)[labels], labels)[0].any()


@pytest.mark.parametrize("kind", ["pca", "lda"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_training_that_diverged_gives_nan_and_no_exception(kind: str, bad: float) -> None:
    h, labels = blobs(3)
    h[4, 2] = bad
    assert fitted_projection(kind, h, labels)[0].isnan().all()


@pytest.mark.parametrize("kind", ["pca", "lda"])
@pytest.mark.parametrize("shape", [(1, 3), (2, 3), (5, 1)])
def test_very_few_latents(kind: str, shape: tuple[int, int]) -> None:
    h = np.random.default_rng(0).normal(size=shape)
    weight, _ = fitted_projection(kind, h, np.arange(shape[0]) % 2)
    assert weight.shape == (2, shape[1])
    assert torch.isfinite(weight).all()
