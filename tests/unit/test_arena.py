"""Many replicas in one buffer, stepped together, equal torch's own optimisers on contiguous parameters, one by one."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hill_sim.engine.arena import BLOCK, MOMENTUM, ROW, Arena, Layout, Recipe

SHAPES = {"layers.0.weight": (5, 7), "layers.0.bias": (5,), "scalar": (), "layers.1.weight": (3, 5), "odd": (1, 17, 2)}
RECIPES = [
    Recipe("adam", 1e-2, 0.0),
    Recipe("adam", 1e-2, 0.1),
    Recipe("adamw", 3e-3, 0.2),
    Recipe("sgd", 0.05, 0.0),
    Recipe("sgd", 0.05, 0.01),
    Recipe("adam", 1e-3, 0.0),
]


def arena(recipes: list[Recipe], dtype: torch.dtype, seed: int = 0) -> Arena:
    g = torch.Generator().manual_seed(seed)
    rows = [[(n, torch.randn(s, generator=g, dtype=torch.float64)) for n, s in SHAPES.items()] for _ in recipes]
    return Arena.create(rows, [[]] * len(recipes), recipes, dtype, torch.device("cpu"))


def gradients(a: Arena, step: int) -> None:
    """Fill in what some loss would give at this step: a function of the replica's number and of the step alone."""
    for name, view in a.grad_views.items():
        for row in range(len(view)):
            g = torch.Generator().manual_seed(1000 * step + 10 * row + len(name))
            view[row] = torch.randn(view.shape[1:], generator=g, dtype=torch.float64)


def optimiser(recipe: Recipe, parameters: list[Tensor]) -> torch.optim.Optimizer:
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(parameters, recipe.lr, momentum=MOMENTUM, weight_decay=recipe.weight_decay)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer]
    return kind(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 2e-6)])
def test_steps_equal_torchs_optimisers(dtype: torch.dtype, tolerance: float) -> None:
    a = arena(RECIPES, dtype)
    alone = [{name: view[row].clone().requires_grad_() for name, view in a.param_views.items()} for row in range(6)]
    steppers = [optimiser(r, list(params.values())) for r, params in zip(RECIPES, alone, strict=True)]
    for step in range(12):
        gradients(a, step)
        for row, params in enumerate(alone):
            for name, parameter in params.items():
                parameter.grad = a.grad_views[name][row].clone()
        a.step()
        for stepper in steppers:
            stepper.step()
        for row, params in enumerate(alone):
            for name, parameter in params.items():
                torch.testing.assert_close(a.param_views[name][row], parameter.detach(), rtol=tolerance, atol=tolerance)


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(6)), cut=st.integers(1, 5), at=st.integers(0, 3))
def test_forking_and_company_change_no_bit(order: list[int], cut: int, at: int) -> None:
    """Six recipes in any order; after `at` steps the population is split in two. Also: the gaps stay empty."""

    def run(a: Arena, rows: list[int], steps: range) -> None:
        for step in steps:
            for name, view in a.grad_views.items():
                for place, row in enumerate(rows):
                    g = torch.Generator().manual_seed(1000 * step + 10 * row + len(name))
                    view[place] = torch.randn(view.shape[1:], generator=g)
            a.step()

    whole = arena(RECIPES, torch.float32)
    run(whole, list(range(6)), range(5))
    start = arena(RECIPES, torch.float32)
    shuffled = Arena.gather([(start, row) for row in order])
    run(shuffled, order, range(at))
    for places in (range(cut), range(cut, 6)):
        part = Arena.gather([(shuffled, place) for place in places])
        run(part, [order[place] for place in places], range(at, 5))
        for place, row in enumerate(order[p] for p in places):
            for name in ("params", "first", "second"):
                assert torch.equal(getattr(part, name)[place], getattr(whole, name)[row])
    taken = torch.zeros_like(whole.params, dtype=torch.bool)
    for view in whole.layout.views(taken).values():
        view.fill_(True)
    for name in ("params", "first", "second"):
        assert not getattr(whole, name)[~taken].any()


def test_a_fork_is_a_copy() -> None:
    a = arena(RECIPES[:2], torch.float32)
    b = Arena.gather([(a, 1), (a, 1)])
    before = a.params.clone()
    gradients(b, 0)
    b.step()
    assert torch.equal(a.params, before)
    assert (a.steps, b.steps) == (0, 1)
    assert b.recipes == (RECIPES[1],) * 2


def test_rows_of_different_age_do_not_mix() -> None:
    a, b = arena(RECIPES[:1], torch.float32), arena(RECIPES[:1], torch.float32)
    gradients(b, 0)
    b.step()
    with pytest.raises(AssertionError):
        Arena.gather([(a, 0), (b, 0)])


_shapes = st.lists(st.lists(st.integers(1, 9), max_size=3).map(tuple), min_size=1, max_size=6)


@settings(max_examples=50, deadline=None)
@given(shapes=_shapes, P=st.integers(1, 4))
def test_every_block_starts_at_a_whole_lane_and_none_overlap(shapes: list[tuple[int, ...]], P: int) -> None:
    layout = Layout(tuple((str(i), shape) for i, shape in enumerate(shapes)))
    assert layout.size % ROW == 0
    buffer = torch.zeros(P, layout.size)
    views = layout.views(buffer)
    for i, shape in enumerate(shapes):
        view = views[str(i)]
        assert view.shape == (P, *shape)
        assert view[0].is_contiguous()  # what torch's fused Adam needs of gradients
        assert layout.offsets[str(i)] % BLOCK == 0
        assert all((view[p].data_ptr() - buffer.data_ptr()) % 64 == 0 for p in range(P))  # bytes, in float32
        assert not view.any()  # nobody else has written here
        view.fill_(i + 1)
    assert sum(int((buffer == i + 1).sum()) for i in range(len(shapes))) == P * sum(math.prod(s) for s in shapes)


def test_parameters_and_gradients_keep_one_memory_layout() -> None:
    """Fused Adam corrupts an update where strides differ; and rows of whole lanes have no tail to round otherwise."""
    a = arena(RECIPES, torch.float32)
    for name in SHAPES:
        assert a.param_views[name].stride() == a.grad_views[name].stride()
    for buffer in (a.params, a.grads, a.first, a.second):
        assert buffer.is_contiguous()
        assert buffer.shape[1] % ROW == 0
        assert buffer.data_ptr() % 64 == 0
    assert a.first.data_ptr() != a.second.data_ptr()


def test_buffers_of_a_model_are_forked_too() -> None:
    rows = [[("w", torch.ones(2))], [("w", torch.ones(2))]]
    buffers = [
        [("mean", torch.tensor([1.0, 2.0])), ("count", torch.tensor(3))],
        [("mean", torch.zeros(2)), ("count", torch.tensor(4))],
    ]
    a = Arena.create(rows, buffers, RECIPES[:2], torch.float64, torch.device("cpu"))
    b = Arena.gather([(a, 1), (a, 0)])
    assert b.buffer_views["mean"].tolist() == [[0.0, 0.0], [1.0, 2.0]]
    assert b.buffer_views["count"].tolist() == [4.0, 3.0]
    b.buffer_views["mean"][0] = 9.0
    assert a.buffer_views["mean"].tolist() == [[1.0, 2.0], [0.0, 0.0]]


def test_a_retired_population_can_be_forked_but_keeps_no_gradients() -> None:
    a = arena(RECIPES[:1], torch.float32)
    gradients(a, 0)
    a.step()
    a.release()
    assert a.grads.numel() == 0
    b = Arena.gather([(a, 0)])
    assert torch.equal(b.params, a.params)
    assert b.grads.shape == b.params.shape


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_buffers_that_are_no_floats_keep_their_type(dtype: torch.dtype) -> None:
    kept = {
        "count": torch.tensor(2**60 + 1),
        "mean": torch.tensor([1.5, -2.5], dtype=torch.float16),
        "mask": torch.tensor([[True, False, True]]),
        "small": torch.tensor([-7, 100], dtype=torch.int8),
        "phase": torch.tensor([1 + 2j], dtype=torch.complex128),
        "none": torch.empty(0, dtype=torch.int64),
    }
    recipe = Recipe("adam", 1e-3, 0.0)
    rows = [[("weight", torch.ones(3))]] * 2
    others = [(name, torch.zeros_like(value)) for name, value in kept.items()]
    made = Arena.create(rows, [others, list(kept.items())], [recipe] * 2, dtype, torch.device("cpu"))
    made.buffer_views["count"][0] += 5
    forked = Arena.gather([(made, 1), (made, 0), (made, 1)])
    for row in (0, 2):
        for name, value in kept.items():
            found = forked.buffer_views[name][row]
            assert found.dtype == (dtype if name == "mean" else value.dtype)
            assert torch.equal(found, value.to(found.dtype))
    assert forked.buffer_views["count"][1] == 5
    none = Layout.of([("none", kept["none"])])
    assert none.views(torch.zeros(2, none.size, dtype=dtype))["none"].shape == (2, 0)
