"""The record of the twin: where the shown points would have been without the edit, whatever the plan looks like."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from engine_support import mixture, small

from hill_sim.engine import plan, simulate
from hill_sim.engine.planning import CrossEntropy
from hill_sim.engine.recall import Settings
from hill_sim.engine.twins import TwinRecords, Validation
from hill_sim.engine.walk import Walker
from hill_sim.trial import Trial

SCHEDULES = [(1, 3), (1,), (2, 4), (1, 2, 3, 4), (3,)]


def bystander(trial: Trial, epoch: int) -> Trial:
    """Who only looks, at the epoch at which the twin is wanted: until then it is the twin."""
    return trial.replace(policy="hold", interactions=(epoch,))


@pytest.mark.parametrize("objective", ["hill", "paper"])
@pytest.mark.parametrize("user", [{}, {"seed": 7}])
def test_unedited_is_where_the_twin_has_the_points(objective: str, user: dict[str, Any]) -> None:
    """A bystander who first looks when the interaction ends sees the twin: the same points, but for place and scale."""
    trial = small(objective=objective, user=user, interactions=(1, 3), epochs=5, alpha=0.9)
    (result,) = simulate([trial], backend="chain").results
    first, last = result.interactions
    (looked,) = simulate([bystander(trial, 3)], backend="chain").results[0].interactions
    assert np.array_equal(looked.sample_ids, first.sample_ids)
    centred = first.unedited - first.unedited.mean(axis=0)
    unit = np.sqrt((centred**2).sum(axis=1).mean())
    np.testing.assert_allclose(centred / unit, looked.before, atol=1e-10)
    assert np.abs(first.unedited - first.achieved).max() > 0.05
    assert last.unedited.shape == last.before.shape
    assert np.isfinite(last.unedited).all()


def test_who_changes_nothing_ends_where_the_twin_does() -> None:
    """A user without weight, but with a scale term of next to nothing, is a trial of its own that equals its twin."""
    trial = small(policy="hold", alpha=0.0, lam=1e-30)
    for item in simulate([trial], backend="chain", dtype="float64").results[0].interactions:
        np.testing.assert_allclose(item.unedited, item.achieved, atol=1e-9)


@pytest.mark.parametrize(
    ("pmax", "share"),
    [pytest.param(p, s, marks=() if p == 64 and s else pytest.mark.slow) for p in (1, 3, 64) for s in (True, False)],
)
def test_every_interaction_has_its_twin_in_any_plan(pmax: int, share: bool) -> None:
    trials = mixture() + [small(interactions=s, epochs=e, seed=s[0]) for s in SCHEDULES for e in (5, 6)]
    results = simulate(trials, pmax=pmax, share=share, backend="chain").results
    items = [item for result in results for item in result.interactions]
    assert len(items) > 60
    assert all(np.isfinite(item.unedited).all() and item.unedited.shape == item.before.shape for item in items)


@pytest.mark.slow
@pytest.mark.parametrize("share", [True, False])
def test_the_twin_has_ended_before_any_interaction_does(share: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a trial can be judged against it while it runs; also with many seeds, schedules and small populations."""
    planned = plan([small(interactions=s, seed=seed, epochs=e) for s in SCHEDULES for seed in range(5) for e in (5, 7)],
                   pmax=4, share=share)  # fmt: skip
    missed = []
    original = Walker._prepare

    def prepare(self: Walker, item: Any) -> Any:
        segment = item.segment
        if segment.edited and item.source.path.past:
            missed.append(self._twins.at(segment.base, segment.start) is None)
        return original(self, item)

    monkeypatch.setattr(Walker, "_prepare", prepare)
    walker = Walker(planned, Settings("chain", "auto", torch.device("cpu"), torch.float32))
    with torch.no_grad():
        assert not any(raw.error for _, raw in walker.run())
    assert missed
    assert not any(missed)
    assert not walker._twins._moments  # all families have ended


def test_a_twin_that_is_not_there_leaves_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TwinRecords, "at", lambda *_: None)
    (result,) = simulate([small()], backend="chain").results
    assert result.outcome.status == "done"
    assert all(np.isnan(item.unedited).all() and len(item.unedited) == len(item.before) for item in result.interactions)


def test_what_is_watched_is_what_is_asked_for() -> None:
    planned = plan([small(interactions=(1, 3)), small(interactions=(2,), user={"seed": 3}, epochs=6), small(seed=1)])
    epochs = {base.seed: {e: len(sights) for e, sights in found.items()} for base, found in planned.watched.items()}
    assert epochs == {0: {3: 1, 5: 1, 6: 1}, 1: {3: 1, 5: 1}}
    twins = [s for root in planned.roots for s in root.walk() if s.regime == CrossEntropy()]
    assert planned.epochs_to_run == 6 + (2 + 2 + 4) + 5 + 4  # twins, the edited; nothing for the record
    assert max(segment.end for segment in twins) == 6


def test_validation_of_logits() -> None:
    logits, labels = torch.randn(9, 4), torch.arange(9) % 4
    found = Validation.of(logits, labels)
    expected = torch.nn.functional.cross_entropy(logits.double(), labels, reduction="none")
    np.testing.assert_allclose(found.losses, expected.numpy(), rtol=1e-12)
    assert found.correct.tolist() == (logits.argmax(1) == labels).tolist()
    assert found.finite
    assert not Validation.of(logits * torch.nan, labels).finite
