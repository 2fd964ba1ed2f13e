"""The C++ microkernel of small MLPs equals plain float64 matrix products, over odd widths, depths and batches.

Not-a-number and infinity come out as such, a shape that does not fit is refused, nothing is written outside its place.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hill_sim.kernels import library

loaded = library.load_cpu()
pytestmark = pytest.mark.skipif(not loaded.ok, reason=str(loaded.reason))
ops = torch.ops.hill_sim


def chain(widths: list[int], P: int, dtype: torch.dtype, seed: int, gap: int = 3) -> tuple[Tensor, Tensor]:
    """Random params [P,row] with gaps between the blocks, and the layout that says where they lie."""
    place, weights, biases = gap, [], []
    for i, o in pairwise(widths):
        weights.append(place)
        place += i * o + gap
        biases.append(place)
        place += o + gap
    generator = torch.Generator().manual_seed(seed)
    params = torch.randn(P, place, generator=generator, dtype=torch.float64)
    return (params / 3).to(dtype), torch.tensor([*widths, *weights, *biases])


def blocks(params: Tensor, layout: Tensor) -> list[tuple[Tensor, Tensor]]:
    """(weight [P,out,in], bias [P,out]) of each layer, views."""
    n = (len(layout) - 1) // 3
    w, b = layout[n + 1 : 2 * n + 1].tolist(), layout[2 * n + 1 :].tolist()
    widths = layout[: n + 1].tolist()
    found = []
    for layer in range(n):
        i, o = widths[layer], widths[layer + 1]
        found.append((params[:, w[layer] : w[layer] + i * o].unflatten(1, (o, i)), params[:, b[layer] : b[layer] + o]))
    return found


def forward(params: Tensor, layout: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The oracle: logits and latents in plain torch, differentiable."""
    layers = blocks(params, layout)
    h = x
    for weight, bias in layers[:-1]:
        h = (h @ weight.mT + bias[:, None]).relu()
    return h @ layers[-1][0].mT + layers[-1][1][:, None], h


def run(params: Tensor, layout: Tensor, x: Tensor, dlogits: Tensor, dlatents: Tensor | None) -> list[Tensor]:
    saved = x.new_empty(len(params) * ops.chain_saved_size(params, layout, x.shape[1]))
    logits, latents = ops.chain_forward(params, layout, x, saved, True)
    grads = torch.full_like(params, 7.0)
    ops.chain_backward(params, layout, saved, dlogits, dlatents, grads)
    return [logits, latents[:, : x.shape[1]], grads]


_problems = {
    "widths": st.lists(st.integers(1, 70), min_size=3, max_size=5),
    "B": st.integers(1, 70),
    "P": st.integers(1, 3),
    "Q": st.integers(0, 3),
    "seed": st.integers(0, 1000),
}


def problem(widths: list[int], B: int, P: int, Q: int, seed: int, dtype: torch.dtype) -> list:
    params, layout = chain(widths, P, dtype, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    x, dlogits, dlatents = (
        torch.randn(n, B, k, generator=generator, dtype=torch.float64).to(dtype)
        for n, k in ((P, widths[0]), (P, widths[-1]), (min(P, Q), widths[-2]))
    )
    return [params, layout, x, dlogits, dlatents if Q else None]


def expected(params: Tensor, layout: Tensor, x: Tensor, dlogits: Tensor, dlatents: Tensor | None) -> list[Tensor]:
    """By autograd in float64; the gaps between the blocks keep what was there."""
    leaf = params.double().requires_grad_()
    logits, latents = forward(leaf, layout, x.double())
    loss = (logits * dlogits.double()).sum()
    if dlatents is not None:
        loss = loss + (latents[: len(dlatents)] * dlatents.double()).sum()
    (grads,) = torch.autograd.grad(loss, leaf)
    kept = torch.ones_like(grads, dtype=torch.bool)
    for part in [b for pair in blocks(kept, layout) for b in pair]:
        part.fill_(False)
    return [logits.detach(), latents.detach(), torch.where(kept, 7.0, grads)]


@settings(max_examples=150, deadline=None)
@given(**_problems)
def test_float64_equals_plain_products(widths: list[int], B: int, P: int, Q: int, seed: int) -> None:
    q = problem(widths, B, P, Q, seed, torch.float64)
    for got, want in zip(run(*q), expected(*q), strict=True):
        size = max(float(want.abs().max()), 1.0)
        assert float((got - want).abs().max()) <= 1e-13 * size


@settings(max_examples=100, deadline=None)
@given(**_problems)
def test_float32_equals_float64_to_its_precision(widths: list[int], B: int, P: int, Q: int, seed: int) -> None:
    q = problem(widths, B, P, Q, seed, torch.float32)
    for got, want in zip(run(*q), expected(*q), strict=True):
        assert got.dtype == torch.float32
        assert float((got - want).norm()) <= 2e-5 * max(float(want.norm()), 1.0)


@settings(max_examples=50, deadline=None)
@given(widths=_problems["widths"], B=_problems["B"], shift=st.integers(1, 15), seed=st.integers(0, 99))
def test_neither_place_nor_company_nor_alignment_changes_a_bit(
    widths: list[int], B: int, shift: int, seed: int
) -> None:
    params, layout, x, dlogits, dlatents = problem(widths, B, 3, 3, seed, torch.float32)
    together = run(params, layout, x, dlogits, dlatents)

    def moved(t: Tensor) -> Tensor:
        """A copy that starts `shift` floats after an allocation."""
        return torch.cat([t.new_zeros(shift), t.flatten()])[shift:].view(t.shape)

    for row in (2, 0):
        part = slice(row, row + 1)
        alone = run(moved(params[part]), layout, moved(x[part]), moved(dlogits[part]), moved(dlatents[part]))
        for a, b in zip(alone, together, strict=True):
            assert torch.equal(a[0], b[row])


@pytest.mark.parametrize("B", [1, 63, 64, 65, 300])
def test_evaluation_without_saving_and_a_shared_batch(B: int) -> None:
    params, layout, x, *_ = problem([9, 37, 13, 4], B, 3, 0, 1, torch.float64)
    logits, latents = ops.chain_forward(params, layout, x[:1], None, True)
    want = forward(params, layout, x[:1].expand(3, -1, -1))
    torch.testing.assert_close(logits, want[0], rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(latents[:, :B], want[1], rtol=1e-13, atol=1e-13)
    again, nothing = ops.chain_forward(params, layout, x[:1], None, False)
    assert torch.equal(again, logits)
    assert nothing.numel() == 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("what", ["params", "x", "dlogits", "dlatents"])
def test_what_is_not_finite_reaches_everything_that_depends_on_it(bad: float, what: str) -> None:
    """As in plain torch, element by element; relu and its slope do not hide a NaN."""
    torch.manual_seed(0)
    q = problem([5, 19, 6, 3], 18, 2, 2, 4, torch.float64)
    q[["params", "layout", "x", "dlogits", "dlatents"].index(what)][1].view(-1)[4] = bad
    for got, want in zip(run(*q), expected(*q), strict=True):
        assert torch.equal(got[0].isfinite(), want[0].isfinite())
        assert got[0].isfinite().all()  # the other replica is not concerned
        assert torch.equal(got[1].isfinite(), want[1].isfinite())
        assert torch.equal(got[1].isnan(), want[1].isnan())


def test_strided_arguments() -> None:
    params, layout, x, dlogits, dlatents = problem([6, 10, 5], 7, 2, 2, 9, torch.float64)
    turned = [t.mT.contiguous().mT for t in (x, dlogits, dlatents)]
    for a, b in zip(run(params, layout, *turned), run(params, layout, x, dlogits, dlatents), strict=True):
        assert torch.equal(a, b)


def test_what_does_not_fit_is_refused() -> None:
    params, layout, x, dlogits, dlatents = problem([6, 10, 5], 7, 2, 2, 9, torch.float64)
    saved = x.new_empty(2 * ops.chain_saved_size(params, layout, 7))
    grads = torch.empty_like(params)

    def refused(match: str, call: object, *args: object) -> None:
        with pytest.raises(RuntimeError, match=match):
            call(*args)  # type: ignore[operator]

    refused("x: must be", ops.chain_forward, params, layout, x[0], None, True)
    refused("x: must be", ops.chain_forward, params, layout, x.repeat(2, 1, 1)[:3], None, True)
    refused("x", ops.chain_forward, params, layout, x[..., :5], None, True)
    refused("x", ops.chain_forward, params, layout, x.float(), None, True)
    refused("params", ops.chain_forward, params.mT, layout, x, None, True)
    refused("layout: layer 1 does not fit", ops.chain_forward, params[:, :-9].contiguous(), layout, x, None, True)
    refused("layout: must be int64", ops.chain_forward, params, layout[:-1], x, None, True)
    refused("layout: must be int64", ops.chain_forward, params, layout.int(), x, None, True)
    refused("saved", ops.chain_forward, params, layout, x, saved[:-1], True)
    refused("saved", ops.chain_forward, params, layout, x, saved.float(), True)
    ops.chain_forward(params, layout, x, saved, True)
    refused("dlogits", ops.chain_backward, params, layout, saved, dlogits[..., :4], None, grads)
    refused("dlogits", ops.chain_backward, params, layout, saved, dlogits[:1], None, grads)
    refused("dlatents", ops.chain_backward, params, layout, saved, dlogits, dlatents.repeat(2, 1, 1), grads)
    refused("dlatents", ops.chain_backward, params, layout, saved, dlogits, dlatents[..., 1:], grads)
    refused("grads", ops.chain_backward, params, layout, saved, dlogits, None, grads[:, :-1])
    refused("grads", ops.chain_backward, params, layout, saved, dlogits, None, grads.float())
