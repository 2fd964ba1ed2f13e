"""The sections that answer a question of their own: maps, attribution, sensitivity, people, overfitting.

No training: every trial of a sweep gets an outcome from a formula, so what the tables must say is known.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hill_sim.config import validated
from hill_sim.engine.results import Outcome, RunSet, TrialResult
from hill_sim.report import leaderboard_text, write_report_from
from hill_sim.report.attribution import attribution_table
from hill_sim.report.maps import parameter_table, second_parameter, setting_table
from hill_sim.report.overfitting import overfitting_thresholds
from hill_sim.report.section import Section
from hill_sim.report.sections import sections
from hill_sim.report.sensitivity import sensitivity_table
from hill_sim.report.study import Study
from hill_sim.report.variability import component_table, person_trials
from hill_sim.sweep import SweepSpec, expand
from hill_sim.trial import Trial

Gain = Callable[[Trial], float]


def noise(trial: Trial, sd: float = 0.001) -> float:
    return float(np.random.default_rng([trial.seed, *trial.key.encode()]).normal(0, sd))


def runs_of(gain: Gain, **sweep: Any) -> RunSet:
    """The finished sweep, every trial's gain by the formula; more gain is less of everything bad."""
    given = {"name": "x", "fixed": {"task_options": {"train_per_class": 20}}, "policies": ["compactness", "ce_only"]}
    spec = validated(SweepSpec, {**given, **sweep}, "x.yaml")
    planned = expand(spec)
    results = []
    for item in planned:
        value = 0.0 if item.trial.is_twin else gain(item.trial)
        outcome = Outcome(
            item.trial.key, item.trial.twin().key, test_accuracy=0.8 + value, twin_test_accuracy=0.8,
            gain=value, worst_recall_change=value,
            recall_disparity_change=-value, churn=abs(value), negative_flips=max(-value, 0.0),
            positive_flips=max(value, 0.0), generalisation_gap_change=-value, class_recall=(0.8 + value,) * 3,
            class_gain=(value, -value, 0.0),
        )  # fmt: skip
        if np.isnan(value):
            outcome = Outcome(item.trial.key, item.trial.twin().key, status="failed", error="ValueError: no")
        results.append(TrialResult(item.trial, outcome, predictions=np.zeros(30, dtype=np.int64)))
    info = {"spec": spec.resolved(), "cases": [item.case for item in planned],
            "labels": [item.label for item in planned], "roles": [item.role for item in planned]}  # fmt: skip
    return RunSet(tuple(results), info)


def named(runs: RunSet) -> dict[str, Section]:
    return {section.name: section for section in sections(Study.of(runs))}


@pytest.mark.slow
def test_a_map_is_of_alpha_and_the_grids_other_number() -> None:
    grid = {"alpha": [0.3, 0.9], "lam": [0.01, 0.1, 1.0]}
    runs = runs_of(lambda t: -t.alpha * t.lam + noise(t), grid=grid, seeds=6)
    study = Study.of(runs)
    assert second_parameter(study) == "lam"
    table = parameter_table(study, "lam")
    gains = table[table["measure"] == "gain"].set_index(["alpha", "value"])["iqm"]
    assert len(gains) == 6
    assert gains[0.9, 1.0] == pytest.approx(-90, abs=1)
    assert gains[0.3, 0.1] == pytest.approx(-3, abs=1)
    assert {"map", "alpha", "leaderboard"} <= named(runs).keys()


def test_a_nested_parameter_has_a_map_too() -> None:
    grid = {"alpha": [0.3, 0.9], "task_options.label_noise": [0.0, 0.2]}
    study = Study.of(runs_of(lambda t: -t.task_options.get("label_noise", 0.0), grid=grid, seeds=3))
    assert second_parameter(study) == "task_options.label_noise"
    table = parameter_table(study, "task_options.label_noise")
    assert set(table["value"]) == {0.0, 0.2}


@pytest.mark.slow
def test_many_settings_become_one_map() -> None:
    cases = [{"name": f"c{i}", "fixed": {"lr": 0.001 * (i + 1)}} for i in range(6)]
    runs = runs_of(lambda t: -10 * (t.lr or 0) + noise(t), cases=cases, seeds=5)
    table = setting_table(Study.of(runs))
    gains = table[table["measure"] == "gain"].set_index("setting")["iqm"]
    assert gains["c5"] == pytest.approx(-6, abs=0.5)
    assert len(gains) == 6
    assert "settings" in named(runs)
    assert "map" not in named(runs)


def test_branches_are_attributed_and_nowhere_else() -> None:
    worth = {25: 0.02, 30: 0.0, 35: -0.03, 40: 0.0}
    gain: Gain = lambda t: sum(worth[e] for e in t.interactions) + noise(t)  # noqa: E731
    runs = runs_of(gain, attribution=True, seeds=6, policies=["compactness", "hold", "ce_only"])
    study = Study.of(runs)
    assert set(study.trials["user"]) == {"compactness", "hold"}
    assert "without" not in leaderboard_text(runs)
    table = attribution_table(study)
    gains = table[(table["measure"] == "gain") & (table["user"] == "compactness")].set_index(["kind_of", "epoch"])
    assert gains.loc[("leave_one_out", 35), "iqm"] == pytest.approx(-3, abs=0.3)
    assert gains.loc[("only_one", 25), "iqm"] == pytest.approx(2, abs=0.3)
    assert gains.loc[("leave_one_out", 30), "low"] < 0 < gains.loc[("leave_one_out", 30), "high"]
    section = named(runs)["attribution"]
    assert "branches" in section.caption
    assert [words for words, _ in section.details] == [
        "On bias, flips and overfitting", "Class by class, what each adds to the others"
    ]  # fmt: skip


def test_failed_branches_are_counted_in_the_table() -> None:
    bad: Gain = lambda t: float("nan") if (t.interactions, t.seed) == ((25,), 0) else noise(t)  # noqa: E731
    section = named(runs_of(bad, attribution=True, seeds=6))["attribution"]
    assert "up to 1 lost to failed trials" in section.details[0][1][0].title


DESIGN = {"n": 64, "parameters": {"alpha": {"low": 0.0, "high": 0.9}, "lam": {"low": 0.0, "high": 1.0},
                                  "interactions": [[25], [25, 30]]}}  # fmt: skip


def test_a_design_says_which_parameter_decides() -> None:
    runs = runs_of(lambda t: t.alpha + 0.5 * len(t.interactions) + 0.0 * t.lam, design=DESIGN, seeds=2)
    table = sensitivity_table(runs)
    gain = table[(table["measure"] == "gain") & (table["order"] == "total")].set_index("parameter")
    whole = 0.9**2 / 12 + 0.25**2
    assert gain.loc["alpha", "index"] == pytest.approx(0.9**2 / 12 / whole, abs=0.05)
    assert gain.loc["interactions", "index"] == pytest.approx(0.25**2 / whole, abs=0.05)
    assert gain.loc["lam", "index"] == pytest.approx(0, abs=1e-9)
    assert gain["rows"].eq(64).all()
    assert gain["noise"].eq(0).all()


@pytest.mark.slow
def test_points_of_a_design_are_no_users_to_compare(tmp_path: Path) -> None:
    cases = [{"name": "plain"}, {"name": "sobol", "design": DESIGN}]
    runs = runs_of(lambda t: t.alpha + noise(t), cases=cases, seeds=2)
    study = Study.of(runs)
    assert study.alphas == [0.5]
    assert set(study.trials["case"]) == {"plain"}
    assert {"leaderboard", "sensitivity-sobol"} <= named(runs).keys()
    assert sensitivity_table(runs)["case"].eq("sobol").all()


@pytest.mark.slow
def test_a_design_alone_still_makes_a_report(tmp_path: Path) -> None:
    runs = runs_of(lambda t: t.alpha + noise(t), design={**DESIGN, "n": 8}, seeds=2)
    page = write_report_from(runs, tmp_path).read_text()
    assert "Which parameter decides?" in page
    assert "points of a design" in page
    assert "points of a design" in leaderboard_text(runs)


def test_a_failed_point_costs_its_row_and_is_named() -> None:
    bad = {"done": False}

    def gain(trial: Trial) -> float:
        if not bad["done"]:
            bad["done"] = True
            return float("nan")
        return trial.alpha

    runs = runs_of(gain, design={**DESIGN, "n": 16}, seeds=2)
    assert sensitivity_table(runs)["rows_lost"].eq(1).all()
    assert "1 row lost" in named(runs)["sensitivity"].caption


def test_people_are_told_from_strategies() -> None:
    policies = ["compactness", "separation", "arrange"]
    of_policy = dict(zip(policies, (0.05, 0.0, -0.05), strict=True))
    gain: Gain = lambda t: of_policy[t.policy] + 0.002 * t.user["seed"] + noise(t, 0.0005)  # noqa: E731
    users = {"count": 8, "motor_noise": {"low": 0.0, "high": 0.3}}
    runs = runs_of(gain, policies=policies, users=users, seeds=5)
    study = Study.of(runs)
    assert set(study.trials["user"]) == set(policies), "a label is a strategy, not a person"
    trials = person_trials(study)
    assert trials["person"].nunique() == 8
    table = component_table(trials)
    gains = table[table["measure"] == "gain"].set_index("component")
    assert gains.loc["strategy", "deviation"] == pytest.approx(5, rel=0.05)
    assert gains.loc["person", "deviation"] == pytest.approx(100 * 0.002 * np.std(range(8), ddof=1), rel=0.1)
    assert gains.loc["seed", "deviation"] < 0.05
    assert gains.loc["strategy", "share"] > 0.9
    section = named(runs)["people"]
    assert "8 persons" in section.caption
    assert "motor_noise" in section.details[0][1][0].rows[0][1].text


def test_one_person_is_nobody_to_tell_apart() -> None:
    assert "people" not in named(runs_of(noise, seeds=5))


def test_the_gap_has_a_threshold_in_alpha() -> None:
    grid = {"alpha": [0.1, 0.3, 0.5, 0.7, 0.9]}
    runs = runs_of(lambda t: -0.05 * max(t.alpha - 0.3, 0) + noise(t, 0.0001), grid=grid, seeds=6)
    table = overfitting_thresholds(Study.of(runs))
    assert table.loc[0, "alpha"] == pytest.approx(0.5, abs=0.02), "the gap rises by 1 point at 0.3 + 0.01 / 0.05"
    assert "overfitting" in named(runs)


@pytest.mark.slow
def test_every_question_in_one_page(tmp_path: Path) -> None:
    """All sections draw, with one seed (no intervals) and with several."""
    cases = [
        {"name": "map", "grid": {"alpha": [0.3, 0.9], "lam": [0.1, 1.0]}},
        {"name": "people", "users": {"count": 3}, "policies": ["compactness", "arrange"]},
        {"name": "sobol", "design": {**DESIGN, "n": 4}},
    ]
    for seeds in (1, 3):
        runs = runs_of(lambda t: 0.01 * t.alpha + noise(t), cases=cases, attribution=True, seeds=seeds)
        page = write_report_from(runs, tmp_path / str(seeds)).read_text()
        for name in ("map", "attribution", "sensitivity-sobol", "overfitting"):
            assert f'id="{name}"' in page
        assert ('id="people"' in page) or seeds == 1
