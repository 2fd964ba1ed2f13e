"""Sobol's indices: the closed form of Ishigami's function, scipy's estimators, and what chance adds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hill_sim.errors import InvalidInput
from hill_sim.risk.sensitivity import saltelli, sobol_indices


def ishigami(points: np.ndarray) -> np.ndarray:
    x = np.pi * (2 * points - 1)
    return np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])


FIRST, TOTAL = [0.3139, 0.4424, 0.0], [0.5576, 0.4424, 0.2437]
"""Ishigami and Homma 1990, a = 7, b = 0.1."""


def test_the_design_is_saltellis() -> None:
    points = saltelli(8, 3, seed=5)
    a, b, *mixed = points.reshape(5, 8, 3)
    assert points.shape == (40, 3)
    assert (points >= 0).all()
    assert (points < 1).all()
    for i, page in enumerate(mixed):
        expected = a.copy()
        expected[:, i] = b[:, i]
        np.testing.assert_array_equal(page, expected)
    for matrix in (a, b):  # a Sobol sequence: each eighth of each axis holds one point
        assert (np.sort(np.floor(8 * matrix), axis=0) == np.arange(8)[:, None]).all()
    np.testing.assert_array_equal(points, saltelli(8, 3, seed=5))
    assert (points != saltelli(8, 3, seed=6)).any()


def test_ishigami() -> None:
    found = sobol_indices(ishigami(saltelli(2048, 3))[:, None], 3)
    np.testing.assert_allclose(found.first, FIRST, atol=0.03)
    np.testing.assert_allclose(found.total, TOTAL, atol=0.03)
    for index, truth in ((found.first_interval, FIRST), (found.total_interval, TOTAL)):
        assert (index[:, 0] - 0.01 <= truth).all()
        assert (truth <= index[:, 1] + 0.01).all()
    assert np.isnan(found.noise), "one seed says nothing about chance"


def test_the_estimators_are_scipys() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(64 * 5, 1)) + ishigami(saltelli(64, 3))[:, None] + 100.0
    a, b, *mixed = values[:, 0].reshape(5, 64)
    theirs = stats.sobol_indices(func={"f_A": a[None], "f_B": b[None], "f_AB": np.stack(mixed)[:, None]}, n=64)
    ours = sobol_indices(values, 3)
    np.testing.assert_allclose(ours.first, np.squeeze(theirs.first_order), atol=1e-12)
    np.testing.assert_allclose(ours.total, np.squeeze(theirs.total_order), atol=1e-12)


def test_intervals_are_near_scipys() -> None:
    values = ishigami(saltelli(256, 3))
    a, b, *mixed = values.reshape(5, 256)
    theirs = stats.sobol_indices(func={"f_A": a[None], "f_B": b[None], "f_AB": np.stack(mixed)[:, None]}, n=256)
    interval = theirs.bootstrap(n_resamples=500).total_order.confidence_interval
    ours = sobol_indices(values[:, None], 3).total_interval
    np.testing.assert_allclose(ours[:, 1] - ours[:, 0], np.squeeze(interval.high - interval.low), rtol=0.35)


def test_chance_is_told_apart() -> None:
    """Variance 1 from the parameter that matters; a seed shifts all points (variance 1) and each one (variance 2)."""
    rng = np.random.default_rng(1)
    points = saltelli(512, 2)
    signal = np.sqrt(12) * (points[:, 0] - 0.5)
    values = signal[:, None] + rng.normal(size=8) + np.sqrt(2) * rng.normal(size=(len(points), 8))
    found = sobol_indices(values, 2, resamples=300)
    shift = values.mean(axis=0).var(ddof=1)
    assert found.noise == pytest.approx((shift + 2) / (shift + 3), abs=0.02)
    assert found.residue == pytest.approx(0.25 / 1.25, abs=0.02)
    assert found.total[1] == pytest.approx(found.residue, abs=0.05), "an idle parameter gets the residue, and no more"
    assert found.first[0] == pytest.approx(0.8, abs=0.1)
    assert found.noise_interval[0] < found.noise < found.noise_interval[1]


def test_no_seed_is_no_noise() -> None:
    values = np.tile(ishigami(saltelli(64, 3))[:, None], 4)
    found = sobol_indices(values, 3, resamples=50)
    assert found.noise == 0
    assert found.residue == 0
    np.testing.assert_array_equal(found.first, sobol_indices(values[:, :1], 3, resamples=50).first)


def test_a_failed_trial_costs_its_row() -> None:
    values = np.tile(ishigami(saltelli(64, 3))[:, None], 2)
    values[64 + 7, 1] = np.nan  # row 7, in B
    found = sobol_indices(values, 3, resamples=50)
    assert (found.rows, found.rows_lost, found.seeds) == (63, 1, 2)
    kept = np.delete(np.arange(64 * 5), np.arange(5) * 64 + 7)
    np.testing.assert_allclose(found.first, sobol_indices(values[kept], 3, resamples=50).first)


def test_what_never_varies_has_no_indices_and_nothing_left_gives_nan() -> None:
    flat = sobol_indices(np.full((20, 2), 0.8), 3, resamples=20)
    assert (flat.first == 0).all()
    assert flat.noise == 0
    gone = sobol_indices(np.full((20, 2), np.nan), 3, resamples=20)
    assert np.isnan([*gone.first, *gone.total, gone.noise, *gone.total_interval.ravel()]).all()
    assert gone.rows_lost == 4


@pytest.mark.parametrize("n", [0, 1, 3, 100])
def test_sizes_without_balance_are_refused(n: int) -> None:
    with pytest.raises(InvalidInput, match="power of two"):
        saltelli(n, 2)


def test_rows_that_are_no_design_are_refused() -> None:
    with pytest.raises(InvalidInput, match="shape"):
        sobol_indices(np.zeros((7, 2)), 3)
