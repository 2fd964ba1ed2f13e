"""Search spaces: what YAML may say, and that every point of a dimension is a value a trial can have."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from search_support import searched

from hill_sim.errors import InvalidInput
from hill_sim.sweep.ranges import Range
from hill_sim.sweep.search.space import Dimension

UNIT = st.floats(0, 1, exclude_max=True)


def dimension(place: str, given: Any) -> Dimension:
    return Dimension(place, Range.model_validate(given))


@pytest.mark.parametrize(("place", "given_", "expected"), [
    ("alpha", {"low": 0.1, "high": 0.9}, FloatDistribution(0.1, 0.9)),
    ("alpha", {"low": 0, "high": 1}, FloatDistribution(0.0, 1.0)),
    ("lr", {"low": 1e-4, "high": 1e-2, "log": True}, FloatDistribution(1e-4, 1e-2, log=True)),
    ("user.motor_noise", {"low": 0, "high": 0.5, "step": 0.1}, FloatDistribution(0.0, 0.5, step=0.1)),
    ("user.effort", {"low": 1, "high": 10}, IntDistribution(1, 10)),
    ("batch_size", {"low": 8, "high": 256, "log": True}, IntDistribution(8, 256, log=True)),
    ("task_options.train_per_class", {"low": 5, "high": 20}, IntDistribution(5, 20)),
    ("task_options.label_noise", {"low": 0.0, "high": 1}, FloatDistribution(0.0, 1.0)),
    ("policy", ["hold", "random"], CategoricalDistribution(("hold", "random"))),
    ("interactions", [[25, 30], [10]], CategoricalDistribution(("[25, 30]", "[10]"))),
    ("lam", {"choices": [0, 0.1]}, CategoricalDistribution((0, 0.1))),
])  # fmt: skip
def test_what_optuna_sees(place: str, given_: Any, expected: Any) -> None:
    assert dimension(place, given_).distribution == expected


@given(UNIT, st.floats(1e-6, 1e3), st.floats(1.001, 1e3), st.booleans())
def test_points_of_a_range_lie_in_it(u: float, low: float, factor: float, log: bool) -> None:
    found = dimension("alpha", {"low": low, "high": low * factor, "log": log}).at(u)
    assert low <= found <= low * factor


@given(UNIT, st.integers(1, 50), st.integers(1, 50), st.booleans())
def test_points_of_an_integer_range_are_integers_in_it(u: float, low: int, more: int, log: bool) -> None:
    found = dimension("user.effort", {"low": low, "high": low + more, "log": log}).at(u)
    assert isinstance(found, int)
    assert low <= found <= low + more


def test_every_value_is_equally_likely() -> None:
    u = (np.arange(12_000) + 0.5) / 12_000
    steps = Counter(round(dimension("alpha", {"low": 0.1, "high": 0.6, "step": 0.1}).at(x), 9) for x in u)
    assert set(steps.values()) == {2000}
    choices = Counter(dimension("policy", ["a", "b", "c"]).at(x) for x in u)
    assert set(choices.values()) == {4000}


def test_a_choice_gives_the_trial_what_yaml_wrote() -> None:
    schedules = dimension("interactions", [[25, 30], [10, 20]])
    assert schedules.field_value(schedules.at(0.9)) == [10, 20]
    assert dimension("alpha", {"low": 0, "high": 1}).field_value(0.25) == 0.25


@pytest.mark.parametrize(("given_", "why"), [
    ({}, "needs low and high"), (3, "3 alone"), ({"low": 0}, "needs low and high"), ({"hi": 1, "low": 0}, "hi"),
    ({"low": 1, "high": 1}, "is not below"), ({"low": 2, "high": 1}, "is not below"),
    ({"low": 0, "high": 1, "log": True}, "not above 0"), ({"low": 1, "high": 2, "log": True, "step": 1}, "no place"),
    ({"low": 0, "high": 1, "step": 0.3}, "does not lead"), ({"low": 0, "high": 1, "step": 0}, "is not in"),
    ({"low": "a", "high": 1}, "finite number"), ({"low": float("nan"), "high": 1}, "finite number"),
    ({"low": True, "high": 2}, "finite number"), ({"low": 0, "high": 1, "log": 1}, "boolean"),
    ({"choices": [1, 2], "low": 0}, "stand alone"), (["one"], "alone does not vary"), ([1, 2, 1], "twice"),
    ([], "at least one"),
])  # fmt: skip
def test_what_is_no_dimension_is_said(given_: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        dimension("alpha", given_)


@pytest.mark.parametrize(("changes", "why"), [
    ({"space": {}}, "empty space"),
    ({"space": {"alpha": {"low": "a", "high": 1}}}, r"search\.space\.alpha\.low: 'a' is not a finite number"),
    ({"space": {"alpha": {"low": 2, "high": 1}}}, r"search\.space\.alpha\.low: 2 is not below high: 1"),
    ({"space": {"user.effort": {"low": 1.5, "high": 4}}}, r"search\.space\.user\.effort: low, high and step"),
    ({"space": {"alhpa": {"low": 0, "high": 1}}}, r"alhpa.*alpha"),
    ({"space": {"seed": {"low": 0, "high": 9}}}, "seeds"),
    ({"space": {"user": [{}, {"effort": 2}], "user.effort": [1, 2]}}, "searched as a whole"),
    ({"sampler": "tpee"}, r"tpee.*tpe"),
    ({"sampler": "grid"}, "is no sampler"),
    ({"candidates": 0}, "candidates"),
    ({"batch": 0}, "batch"),
    ({"objectives": []}, "at least one objective"),
    ({"objectives": ["gian"]}, r"gian.*gain"),
    ({"objectives": ["gain", "gain"]}, "named twice"),
    ({"objectives": [{"measure": "gain", "statistic": "iqr"}]}, r"iqr.*iqm"),
    ({"objectives": ["gain", "churn"], "prune": "median"}, "one objective"),
    ({"constraints": ["alhpa < 1"]}, r"alhpa.*alpha"),
    ({"constraints": ["alpha <"]}, "cannot be read"),
    ({"feasible": ["alpha"]}, "alpha"),
    ({"sampler": "gp", "candidates": 1001}, "Gaussian process"),
    ({"sampler": "nsga2", "batch": 1}, "generation"),
    ({"prune": {"percentile": 100}}, "percentile"),
    ({"samplers": "tpe"}, r"samplers.*sampler"),
])  # fmt: skip
def test_a_search_that_cannot_be_is_one_line(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidInput, match=why) as caught:
        searched(**changes)
    assert "searched.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)
