"""The rules of trust: pure functions, held to their formulas, and refused where they are written wrongly."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from hill_sim.errors import InvalidInput
from hill_sim.trial import Trial
from hill_sim.trust import RULES, Fixed, Gradient, Schedule, Twin, trust_rule, verdict

NONE = np.zeros(3, dtype=bool)


@pytest.mark.parametrize("name", RULES)
def test_every_rule_has_a_name_and_a_mapping(name: str) -> None:
    assert trust_rule(name) == trust_rule({"rule": name})
    assert Trial.from_json(Trial(trust={"rule": name}).to_json()).trust_rule == trust_rule(name)
    hash(trust_rule(name))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("twn", "trust: unknown 'twn'; did you mean 'twin'?"),
        ({}, "trust: a mapping needs a `rule`"),
        ({"rule": "twin", "factr": 0.5}, "option of trust 'twin': unknown 'factr'; did you mean 'factor'?"),
        ({"rule": "fixed", "factor": 0.5}, "option of trust 'fixed': unknown 'factor'"),
        ({"rule": "linear", "steps": 2}, "option of trust 'linear': unknown 'steps'"),
        ({"rule": "twin", "factor": 0}, "trust.factor: 0.0 is not above 0"),
        ({"rule": "twin", "factor": 1}, r"trust.factor: 1 is not in [0, 1)"),
        ({"rule": "twin", "recover": 0.5}, "trust.recover: 0.5 is not a finite number >= 1"),
        ({"rule": "twin", "floor": 2}, r"trust.floor: 2.0 is not in [0, 1]"),
        ({"rule": "twin", "per": "clas"}, "trust.per: unknown 'clas'; did you mean 'class'?"),
        ({"rule": "twin", "every": 5}, "trust.every: unknown 5"),
        ({"rule": "twin", "evidence": "much"}, "trust.evidence: 'much' is not a finite number >= 0"),
        ({"rule": "linear", "over": 0}, "trust.over: 0 is not an integer >= 1"),
        ({"rule": "step", "steps": 1.5}, "trust.steps: 1.5 is not an integer >= 1"),
        ({"rule": "constant", "factor": -1}, "trust.factor: -1 is not a finite number >= 0"),
        ({"rule": "gradient", "smoothing": 1}, r"trust.smoothing: 1 is not in [0, 1)"),
        (3, "trust: 3 is not a mapping"),
    ],
    ids=str,
)
def test_what_is_written_wrongly_is_refused_in_one_line(given: Any, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Trial(trust=given)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_schedules() -> None:
    linear = Schedule("linear", start=1.0, end=0.2, over=5)
    assert [round(linear.at(k), 12) for k in (1, 2, 3, 4, 5, 6, 99)] == [1.0, 0.8, 0.6, 0.4, 0.2, 0.2, 0.2]
    cosine = Schedule("cosine", over=5)
    assert [round(cosine.at(k), 12) for k in (1, 3, 5, 6)] == [1.0, 0.5, 0.0, 0.0]
    assert cosine.at(2) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
    step = Schedule("step", over=9, steps=4)
    assert [step.at(k) for k in range(1, 10)] == [1.0, 1.0, 0.75, 0.75, 0.5, 0.5, 0.25, 0.25, 0.0]
    assert Schedule("linear", end=0.3, over=1).at(1) == 0.3


@pytest.mark.parametrize("shape", ["linear", "cosine", "step"])
@given(start=st.floats(0, 2), end=st.floats(0, 2), over=st.integers(1, 40), steps=st.integers(1, 9))
def test_a_schedule_goes_one_way_and_stays_between_its_ends(
    shape: Any, start: float, end: float, over: int, steps: int
) -> None:
    values = [Schedule(shape, start, end, over, steps).at(k) for k in range(1, over + 3)]
    assert min(start, end) - 1e-12 <= min(values)
    assert max(values) <= max(start, end) + 1e-12
    moves = np.diff(values)
    assert (moves <= 1e-12).all() or (moves >= -1e-12).all()
    assert values[-1] == pytest.approx(end)


LABELS = np.array([0, 0, 0, 1, 1, 1])


def judged(rule: Twin, trust: list[float], worse: list[float], touched: list[bool] | None = None) -> list[float]:
    losses = np.linspace(0.1, 0.6, 6)
    marks = np.array(touched or [True] * len(trust))
    return rule.judge(np.array(trust), losses + worse, losses, LABELS, marks).tolist()


QUARTER = Twin(factor=0.25, recover=4.0)


def test_twin_trust_shrinks_recovers_and_is_bounded() -> None:
    worse, better = [0.1] * 6, [-0.1] * 6
    assert judged(QUARTER, [1.0, 1.0], worse) == [0.25, 0.25]
    assert judged(QUARTER, [0.25, 0.0625], better) == [1.0, 0.25]
    assert judged(QUARTER, [1.0, 0.9], better) == [1.0, 1.0]
    assert judged(replace(QUARTER, floor=0.1), [0.2, 1.0], worse) == [0.1, 0.25]
    assert judged(replace(QUARTER, recover=1.0), [0.25, 0.5], better) == [0.25, 0.5]
    assert judged(QUARTER, [0.25, 0.5], [0.0] * 6) == [0.25, 0.5]


def test_per_class_each_class_is_judged_by_its_own_samples() -> None:
    one_each = [0.3, 0.3, 0.3, -0.1, -0.1, -0.1]
    assert judged(replace(QUARTER, per="trial"), [0.5, 0.5], one_each) == [0.125, 0.125]
    assert judged(replace(QUARTER, per="class"), [0.5, 0.2], one_each) == [0.125, 0.8]
    assert judged(replace(QUARTER, per="class"), [0.5, 0.2, 0.4], one_each) == [
        0.125,
        0.8,
        0.1,
    ]  # class 2 has no sample


def test_per_gesture_the_verdict_falls_on_the_classes_that_were_touched() -> None:
    assert judged(replace(QUARTER, per="gesture"), [1.0, 1.0], [0.1] * 6, [False, True]) == [1.0, 0.25]
    assert judged(replace(QUARTER, per="gesture"), [0.5, 0.5], [-0.1] * 6, [False, True]) == [0.5, 1.0]


@settings(max_examples=100)
@given(st.integers(2, 60), st.floats(-0.5, 0.5), st.integers(0, 10**6))
def test_a_verdict_is_a_paired_t_statistic_beyond_the_evidence_asked_for(n: int, shift: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=n) + shift, rng.normal(size=n)
    t = float(ttest_rel(a, b).statistic)
    for evidence in (0.0, 1.0, 2.0):
        assert verdict(a - b, evidence) == (0 if abs(t) <= evidence else math.copysign(1, t))


def test_few_and_noisy_validation_samples() -> None:
    """Without a demand for evidence noise decides half of the time; with two standard errors it seldom does, and what
    is really worse is still found once there are enough samples."""
    rng = np.random.default_rng(0)

    def share(n: int, shift: float, evidence: float) -> float:
        return float(np.mean([verdict(rng.normal(shift, 1.0, n), evidence) > 0 for _ in range(2000)]))

    assert 0.45 < share(10, 0.0, 0.0) < 0.55
    assert share(10, 0.0, 2.0) < 0.06
    assert share(100, 0.5, 2.0) > 0.99
    assert share(10, 0.5, 2.0) < share(100, 0.5, 2.0)
    assert verdict(np.array([3.0]), 0.0) == 1
    assert verdict(np.array([3.0]), 0.1) == 0  # one sample is no evidence


def test_the_twin_of_a_trial_does_not_depend_on_its_trust() -> None:
    assert Trial(trust="twin").twin() == Trial().twin()
    assert Trial().trust_rule == Fixed()
    assert isinstance(Trial(trust="gradient").trust_rule, Gradient)
