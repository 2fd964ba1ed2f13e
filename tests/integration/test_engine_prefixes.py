"""Starting from what an earlier call has trained changes nothing but the epochs that are run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from engine_support import mixture, small
from torch import Tensor, nn

from hill_sim.engine import plan, simulate
from hill_sim.engine.prefixes import PrefixCache
from hill_sim.engine.simulation import same_result
from hill_sim.trial import Trial


class Noisy(nn.Module):
    """Batch norm, whose statistics belong to the state, and dropout."""

    def __init__(self, input_shape: tuple[int, ...], n_classes: int) -> None:
        super().__init__()
        self.body, self.norm = nn.Linear(input_shape[0], 8), nn.BatchNorm1d(8)
        self.drop, self.head = nn.Dropout(0.2), nn.Linear(8, n_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        latents = self.norm(self.body(x)).relu()
        return self.head(self.drop(latents)), latents


def shared_epochs(trials: list[Trial]) -> int:
    """Of the cross-entropy segments of a plan."""
    segments = [segment for root in plan(trials).roots for segment in root.walk()]
    return sum(s.end - s.start for s in segments if getattr(s.regime, "weight", 0.0) == 1.0)


def agree(trials: list[Trial], cache: PrefixCache, **options: Any) -> int:
    """Epochs recalled in a run whose results must equal those of one without a cache."""
    plain = simulate(trials, **options)
    cached = simulate(trials, prefixes=cache, **options)
    assert all(same_result(a, b) for a, b in zip(plain.results, cached.results, strict=True))
    return int(plain.info["epochs_run"] - cached.info["epochs_run"])


@pytest.mark.slow
@pytest.mark.parametrize("share", [True, False])
def test_a_second_call_trains_no_prefix_and_no_twin_again(tmp_path: Path, share: bool) -> None:
    trials, folder = mixture(), tmp_path / "prefixes"
    assert agree(trials, PrefixCache(folder), share=share) == 0 or not share
    recalled = agree(trials, PrefixCache(folder), share=share)  # as another process would
    assert recalled >= shared_epochs(trials)


def test_other_users_of_the_same_seeds_start_from_what_is_there() -> None:
    cache = PrefixCache()
    first = [small(policy="compactness", alpha=a, seed=s) for a in (0.2, 0.8) for s in range(3)]
    assert agree(first, cache) == 0
    later = [trial.replace(policy="separation", alpha=0.4) for trial in first]
    assert agree(later, cache) == shared_epochs(later)


@pytest.mark.slow
def test_what_differs_in_data_recipe_seed_or_projection_is_not_taken_for_the_same() -> None:
    trial, cache = small(), PrefixCache()
    simulate([trial], prefixes=cache)
    others = [
        trial.replace(seed=trial.seed + 1),
        trial.replace(lr=0.5),
        trial.replace(task_options={**trial.task_options, "label_noise": 0.2}),
        trial.replace(projection="pca"),
    ]
    for other in others:
        assert agree([other], cache) == 0
    assert agree([trial], cache) == shared_epochs([trial])


def test_schedules_that_differ_share_what_they_have_in_common() -> None:
    cache = PrefixCache()
    agree([small(interactions=(2, 4), epochs=6)], cache)
    assert agree([small(interactions=(2, 4), epochs=6, policy="separation")], cache) == 6
    assert agree([small(interactions=(2,), epochs=6)], cache) == 6  # the states at 2 and at 6 are all that it needs
    assert agree([small(interactions=(3,), epochs=6)], cache) == 3  # trained to 3; from there on it is the twin's


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"dtype": "float64"}, {"backend": "loop"}, {"backend": "bmm"}, {"pmax": 1}])
def test_prefixes_under_other_settings(tmp_path: Path, changes: dict[str, Any]) -> None:
    trials = mixture()[:4]
    simulate(trials, prefixes=PrefixCache(tmp_path))
    agree(trials, PrefixCache(tmp_path), **changes)
    assert agree(trials, PrefixCache(tmp_path), **changes) >= shared_epochs(trials)


@pytest.mark.slow
def test_buffers_come_back_to_the_bit(tmp_path: Path) -> None:
    trial = small(model=f"{__file__}:Noisy", model_options={})
    agree([trial], PrefixCache(tmp_path))
    assert agree([trial, trial.replace(alpha=0.9)], PrefixCache(tmp_path)) == shared_epochs([trial])
