"""The bundled experiments: each parses, expands within its budgets, says what it costs, and runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from miniature import installed

from hill_sim import simulate
from hill_sim.cli.listing import EXPERIMENTS, experiments
from hill_sim.errors import Unavailable
from hill_sim.report import write_report
from hill_sim.sweep import expand, read_sweep, run_sweep

NAMES = sorted(path.stem for path in EXPERIMENTS.glob("*.yaml"))
ASKED = {"quickstart", "baseline", "alpha_sensitivity", "alpha_lambda", "strategy_ablation", "conflict_stress",
         "overfitting_stress", "user_variability", "schedule", "cross_dataset"}  # fmt: skip
SMALL = 200
"""Trials that two cores surely run, report included, within the two minutes of the small budget."""
LARGE = ("alpha_lambda", "user_variability")
"""Thousands of trials, which take a second to expand three times."""


def test_every_question_of_the_design_has_its_experiment() -> None:
    assert set(NAMES) >= ASKED
    assert experiments().keys() == set(NAMES)
    assert all(question.endswith("?") for question in experiments().values())


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in sorted(ASKED - {"quickstart"})],
)
def test_it_expands_within_its_budgets_and_its_header_says_so(name: str) -> None:
    path = EXPERIMENTS / f"{name}.yaml"
    text = path.read_text()
    header = text[: text.index("\nname:")]
    for part in ("?", "How to read the outcome", "# Cost:"):
        assert part in header
    small, full = (expand(read_sweep(path, budget=budget)) for budget in ("small", "full"))
    assert 0 < len(small) <= SMALL < len(full)
    stated = {int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", header[header.index("# Cost:") :])}
    assert {len(small), len(full)} <= stated, f"{len(full)} trials, small {len(small)}"
    assert expand(read_sweep(path)) == full, "full is what runs without --budget"
    assert read_sweep(path).name == name


CUT = {
    "cross_dataset": [
        "cases=[{name: digits}, {name: ag_news, fixed: {task: ag_news, task_options: {dimensions: 8}}}]",
        "policies=[compactness, ce_only]",
    ],
    "user_variability": ["seeds=2", "users.count=2"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ASKED - {"quickstart"}))
def test_a_tiny_cut_runs_and_makes_its_report(name: str, tmp_path: Path) -> None:
    overrides = CUT.get(name, ["seeds=1"])
    spec = read_sweep(EXPERIMENTS / f"{name}.yaml", budget="small", overrides=overrides)
    with installed(tmp_path / "data"):
        summary = run_sweep(spec, tmp_path / "run", simulate=simulate, progress=False)
        assert not summary.failed
        page = write_report(tmp_path / "run").read_text()
    assert spec.question in page


def test_missing_data_are_all_named_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HILL_SIM_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    spec = read_sweep(EXPERIMENTS / "cross_dataset.yaml", budget="small")
    with pytest.raises(Unavailable, match="dsads-summary, spoken_digits, ag_news, cifar10-small; `hill-sim data list`"):
        run_sweep(spec, tmp_path / "run", workers=1, progress=False)
    assert not (tmp_path / "run").exists()
