"""Random numbers are pure functions of (seed, role, keys): independent streams, nothing global, nothing shared."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hill_sim.engine.population import data_order, step_noise
from hill_sim.seeding import generator, torch_seed

_keys = st.lists(st.integers(0, 2**31), max_size=3).map(tuple)
_who = st.tuples(st.integers(0, 2**40), st.text(max_size=5), _keys)


@given(_who, _who)
def test_same_asker_same_numbers_and_only_then(one: tuple, other: tuple) -> None:
    a, b, c = (generator(seed, role, *keys).integers(2**62, size=4).tolist() for seed, role, keys in (one, one, other))
    assert a == b
    assert (a == c) == (one == other)


def test_the_numbers_are_for_ever() -> None:
    """Old results are found and replayed by them: if this fails, every stored trial means another training."""
    assert generator(0, "order", 1).integers(1000, size=4).tolist() == [869, 887, 757, 878]
    assert generator(7, "policy", 25, 0).random() == pytest.approx(0.9285509121132958)


def test_roles_and_seeds_are_uncorrelated() -> None:
    streams = [generator(s, r, k).normal(size=2000) for s, r, k in itertools.product((0, 1), ("a", "b"), (0, 1))]
    correlations = np.corrcoef(streams) - np.eye(len(streams))
    assert np.abs(correlations).max() < 0.1


def test_torch_is_seeded_inside_the_block_only() -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    with torch_seed(0, "init"):
        inside = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    with torch_seed(0, "init"):
        assert torch.equal(torch.rand(3), inside)
    with torch_seed(1, "init"):
        assert not torch.equal(torch.rand(3), inside)


def test_torch_is_left_alone_when_the_block_raises() -> None:
    torch.manual_seed(11)
    state = torch.random.get_rng_state()
    with pytest.raises(RuntimeError), torch_seed(0, "init"):
        torch.rand(3).view(2)
    assert torch.equal(torch.random.get_rng_state(), state)


@given(st.integers(0, 99), st.integers(1, 99), st.integers(1, 50))
def test_the_data_order_is_a_permutation_of_its_own(seed: int, epoch: int, n: int) -> None:
    order = data_order(seed, epoch, n)
    assert sorted(order.tolist()) == list(range(n))
    assert np.array_equal(order, data_order(seed, epoch, n))
    assert n < 20 or not np.array_equal(order, data_order(seed, epoch + 1, n))
    assert step_noise(seed, epoch, 0) != step_noise(seed, epoch, 1)
