"""Harm removed and benefit kept: held to a plain loop, blind to what is neither harmed nor helped, honest about n."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hill_sim.report.section_trust import draw, rule_name
from hill_sim.risk.trust import trust_effect


def trials(rules: dict[str, dict[str, float]], seeds: int = 8, noise: float = 0.1, task: str = "a") -> pd.DataFrame:
    """Gains of users under rules, each with its mean; the noise is the seed's."""
    rng = np.random.default_rng(0)
    shift = noise * rng.normal(size=seeds)
    return pd.DataFrame(
        {"task": task, "user": user, "alpha": alpha, "trust": rule, "seed": seed, "gain": mean + shift[seed]}
        for rule, means in rules.items()
        for user, mean in means.items()
        for alpha in (0.5, 0.9)
        for seed in range(seeds)
    )


FIXED = {"good": 2.0, "bad": -4.0, "neither": 0.0}


def test_against_the_definition() -> None:
    table = trials({"fixed": FIXED, "half": {"good": 1.5, "bad": -1.0, "neither": 3.0}})
    (row,) = trust_effect(table, ["task"]).to_dict("records")
    mean = table.groupby(["trust", "user"])["gain"].mean()
    assert (row["harmed"], row["helped"], row["n"]) == (2, 2, 8)  # one user at two alphas each
    assert row["harm_removed"] == pytest.approx(1 - mean["half", "bad"] / mean["fixed", "bad"])
    assert row["benefit_kept"] == pytest.approx(mean["half", "good"] / mean["fixed", "good"])
    assert row["harm_low"] <= row["harm_removed"] <= row["harm_high"]
    assert row["benefit_low"] <= row["benefit_kept"] <= row["benefit_high"]


def test_the_same_gains_remove_nothing_and_keep_all() -> None:
    (row,) = trust_effect(trials({"fixed": FIXED, "same": FIXED}), ["task"]).to_dict("records")
    assert row["harm_removed"] == pytest.approx(0.0)
    assert row["benefit_kept"] == pytest.approx(1.0)


def test_groups_apart_and_groups_without_fixed_left_out() -> None:
    tables = [trials({"fixed": FIXED, "twin": FIXED}), trials({"twin": FIXED}, task="b")]
    found = trust_effect(pd.concat(tables), ["task"])
    assert found["task"].tolist() == ["a"]
    assert trust_effect(tables[1], ["task"]).empty


def test_a_failed_trial_costs_its_seed() -> None:
    table = trials({"fixed": FIXED, "twin": FIXED})
    table.loc[(table["trust"] == "twin") & (table["seed"] == 3) & (table["user"] == "bad"), "gain"] = np.nan
    (row,) = trust_effect(table, ["task"]).to_dict("records")
    assert row["n"] == 7


def test_one_seed_claims_nothing() -> None:
    (row,) = trust_effect(trials({"fixed": FIXED, "twin": FIXED}, seeds=1), ["task"]).to_dict("records")
    assert (row["harmed"], row["helped"]) == (0, 0)
    assert np.isnan([row["harm_removed"], row["harm_low"], row["benefit_kept"]]).all()


def test_the_figure_holds_what_is_out_of_its_range_and_what_cannot_be_measured() -> None:
    table = trust_effect(trials({"fixed": {"bad": -1.0}, "worse": {"bad": -9.0}}), ["task"])
    figure = draw(table)
    texts = {text.get_text() for ax in figure.axes for text in ax.texts}
    assert table["harm_removed"][0] < -5
    assert {f"{100 * table['harm_removed'][0]:.0f}", "nothing to measure", "A"} <= texts


def test_rules_have_short_names() -> None:
    assert rule_name("twin") == "twin"
    assert rule_name('{"rule": "twin", "factor": 0.25, "per": "class"}') == "twin (factor 0.25, per class)"
    assert rule_name('{"rule": "linear"}') == "linear"
