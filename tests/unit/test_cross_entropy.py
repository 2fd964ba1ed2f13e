"""The fused softmax cross-entropy equals torch's, in value, accuracy and gradient; the plain-torch form equals it."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from hill_sim.engine import cross_entropy as module
from hill_sim.engine.cross_entropy import cross_entropy
from hill_sim.kernels import library


@pytest.fixture(params=["compiled", "plain"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both implementations; the plain one is what a GPU, or a machine without a compiler, uses."""
    if request.param == "plain":
        missing = type("Missing", (), {"ok": False, "reason": "a test"})
        monkeypatch.setattr(module.library, "load_cpu", missing)
    elif not library.load_cpu().ok:
        pytest.skip(str(library.load_cpu().reason))
    return str(request.param)


def check(logits: torch.Tensor, y: torch.Tensor, tolerance: float) -> None:
    measures, dlogits = cross_entropy(logits, y)
    alone, nothing = cross_entropy(logits, y, grad=False)
    assert torch.equal(measures, alone)
    assert nothing.numel() == 0
    assert measures.dtype == torch.float64
    for row, given_logits in enumerate(logits):
        leaf = given_logits.double().requires_grad_()
        labels = y[row if len(y) > 1 else 0]
        loss = F.cross_entropy(leaf, labels)
        loss.backward()
        assert leaf.grad is not None
        assert float(measures[0, row]) == pytest.approx(loss.item(), rel=tolerance, abs=tolerance)
        assert float(measures[1, row]) == float((leaf.argmax(-1) == labels).double().mean())
        torch.testing.assert_close(dlogits[row].double(), leaf.grad, rtol=tolerance, atol=tolerance)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_torch(dtype: torch.dtype) -> None:
    @settings(max_examples=60, deadline=None)
    @given(
        P=st.integers(1, 4), B=st.integers(1, 33), C=st.integers(1, 19), seed=st.integers(0, 999),
        size=st.sampled_from([1e-3, 1.0, 30.0]), shared=st.booleans(),
    )  # fmt: skip
    def any_logits(P: int, B: int, C: int, seed: int, size: float, shared: bool) -> None:
        g = torch.Generator().manual_seed(seed)
        logits = (size * torch.randn(P, B, C, generator=g, dtype=torch.float64)).to(dtype)
        y = torch.randint(C, (1 if shared else P, B), generator=g)
        check(logits, y, 1e-13 if dtype == torch.float64 else 3e-6 * max(size, 1.0))

    any_logits()


@pytest.mark.usefixtures("form")
def test_huge_logits_do_not_overflow() -> None:
    logits = torch.tensor([[[1e4, -1e4, 0.0], [0.0, 3e38, -3e38]]])
    measures, dlogits = cross_entropy(logits, torch.tensor([[0, 0]]))
    assert measures[0, 0] == pytest.approx(1.5e38, rel=1e-6)
    assert measures[1, 0] == 0.5
    assert dlogits.tolist() == [[[0.0, 0.0, 0.0], [-0.5, 0.5, 0.0]]]


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_not_finite_is_not_hidden(bad: float, place: int) -> None:
    logits = torch.zeros(2, 2, 3)
    logits[0, 1, place] = bad
    measures, dlogits = cross_entropy(logits, torch.tensor([[0, 0]]))
    assert not math.isfinite(measures[0, 0])
    assert not dlogits[0, 1].isfinite().all()
    assert measures[0, 1] == pytest.approx(math.log(3), rel=1e-6)


@pytest.mark.usefixtures("form")
def test_ties_go_to_the_first_class() -> None:
    measures, _ = cross_entropy(torch.zeros(1, 3, 4), torch.tensor([[0, 1, 0]]))
    assert float(measures[1, 0]) == pytest.approx(2 / 3)


@pytest.mark.usefixtures("form")
def test_company_changes_no_bit() -> None:
    g = torch.Generator().manual_seed(0)
    logits, y = torch.randn(5, 7, 11, generator=g), torch.randint(11, (5, 7), generator=g)
    measures, dlogits = cross_entropy(logits, y)
    for row in range(5):
        one, d = cross_entropy(logits[row : row + 1].clone(), y[row : row + 1])
        assert torch.equal(one[:, 0], measures[:, row])
        assert torch.equal(d[0], dlogits[row])


@pytest.mark.skipif(not library.load_cpu().ok, reason="needs the compiled operator")
def test_labels_and_shapes_that_do_not_fit_are_refused() -> None:
    op, logits = torch.ops.hill_sim.softmax_cross_entropy, torch.zeros(2, 3, 4)
    for y, match in (
        (torch.full((2, 3), 4), r"y: labels must be in 0\.\.3, got 4"),
        (torch.full((2, 3), -1), r"y: labels must be in 0\.\.3, got -1"),
        (torch.zeros(3, 3, dtype=torch.int64), "y: must be"),
        (torch.zeros(2, 2, dtype=torch.int64), "y"),
        (torch.zeros(2, 3), "y"),
    ):
        with pytest.raises(RuntimeError, match=match):
            op(logits, y, True)
