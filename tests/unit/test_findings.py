"""docs/findings.md: the committed page is what the script makes of the committed tables, by rules that hold."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from docs.findings import answers, paper
from docs.findings.answers import Tables
from docs.findings.write import HERE, PAGE, page, parts
from hill_sim.report.study import in_points
from hill_sim.risk.comparison import compare

SEEDS = 12
CONTROLS = {"ce_only": 0.0, "ce_scaled": 0.0, "hold": 0.0, "random": 0.0}


def outcomes(gains: dict[str, float], seeds: int = SEEDS, spread: float = 0.004) -> pd.DataFrame:
    """Trials whose gains lie around the given ones, in seeds that differ."""
    rng = np.random.default_rng(0)
    rows = [
        {"policy": policy, "policy_options": "{}", "user": "{}", "seed": seed, "status": "done", "setting": "hill",
         "kind": "control" if policy in CONTROLS else "strategy", "gain": gain + spread * rng.normal(),
         "twin_test_accuracy": 0.8}
        for policy, gain in {**CONTROLS, **gains}.items()
        for seed in range(seeds)
    ]  # fmt: skip
    return pd.DataFrame(rows).rename(columns={"user": "user_options"})


def tables(folder: Path, trials: pd.DataFrame, experiment: str = "cross_dataset", setting: str = "hill") -> Tables:
    users = trials[trials["policy"] != "ce_only"].assign(user=lambda table: table["policy"], setting=setting)
    found = in_points(compare(users, ["setting", "kind", "user"], family=["setting"]))
    found.assign(experiment=experiment, task="digits", main=True).to_csv(folder / "overall.csv", index=False)
    pd.DataFrame([{"experiment": experiment, "task": "digits"}]).to_csv(folder / "runs.csv", index=False)
    return Tables(folder)


def test_the_committed_page_is_made_of_the_committed_tables():
    assert PAGE.read_text(encoding="utf-8") == page(Tables(HERE / "tables"))


def test_every_figure_of_the_page_is_there_and_names_its_command():
    text = PAGE.read_text(encoding="utf-8")
    shown = re.findall(r"\(findings/figures/(\w+)\.png\)\n\n(.*)", text)
    drawn = [drawing.name for part in parts(Tables(HERE / "tables")) for drawing in part.drawings]
    assert [name for name, _ in shown] == drawn
    for name, caption in shown:
        assert (HERE / "figures" / f"{name}.png").stat().st_size > 1000
        assert re.search(r"Made by `hill-sim sweep experiments/\w+\.yaml", caption), name


def test_no_effect_stands_without_its_interval():
    text = PAGE.read_text(encoding="utf-8")
    inside = re.sub(r"\[[^\]]*\]", "[]", text)
    assert re.findall(r"[+−]\d++(?:\.\d++)?+(?! (?:%|\[))", inside) == []


def test_a_user_above_twin_and_controls_helps_and_one_below_the_twin_harms(tmp_path: Path):
    found = tables(tmp_path, outcomes({"good": 0.03, "bad": -0.03, "idle": 0.0})).verdicts("cross_dataset")
    assert {v.user: v.word for v in found["digits"] if v.kind == "strategy"} == {
        "good": "helps", "bad": "harms", "idle": "unclear"}  # fmt: skip
    assert answers.who_helps(found).text.startswith("`good` helps")
    assert answers.who_harms(found).text.startswith("`bad` harms")
    [untold] = answers.not_told(found)
    assert "`idle`" in untold.text
    assert not untold.told


def test_a_gain_that_a_control_has_too_is_not_the_users(tmp_path: Path):
    trials = outcomes({"good": 0.03, "hold": 0.03})
    found = tables(tmp_path, trials).verdicts("cross_dataset")
    assert next(v for v in found["digits"] if v.user == "good").word == "gains"
    assert not answers.who_helps(found).told


@pytest.mark.parametrize("seeds", [1, 4])
def test_too_few_seeds_tell_nothing(tmp_path: Path, seeds: int):
    found = tables(tmp_path, outcomes({"good": 0.03, "bad": -0.03}, seeds)).verdicts("cross_dataset")
    assert not answers.who_helps(found).told
    assert not answers.who_harms(found).told


def test_the_papers_gain_is_in_part_disputed_where_training_alone_gains(tmp_path: Path):
    trials = outcomes({"good": 0.05, "usual": 0.03, "ce_scaled": 0.03})
    [claim] = paper.claims(tables(tmp_path, trials, "baseline", "paper"))
    assert claim.word == paper.PARTLY
    assert "Beyond every control: `good`" in claim.here


def test_a_confounded_gain_disagrees_with_the_paper_and_no_gain_is_not_told(tmp_path: Path):
    confounded = tables(tmp_path, outcomes({"usual": 0.03, "ce_scaled": 0.03}), "baseline", "paper")
    assert [claim.word for claim in paper.claims(confounded)] == [paper.DISAGREES]
    nothing = tables(tmp_path, outcomes({"usual": 0.0}), "baseline", "paper")
    assert [claim.word for claim in paper.claims(nothing)] == [paper.OPEN]


def test_a_page_without_tables_says_that_nothing_was_run(tmp_path: Path):
    pd.DataFrame(columns=["experiment", "task", "question"]).to_csv(tmp_path / "runs.csv", index=False)
    assert list(parts(Tables(tmp_path))) == []
