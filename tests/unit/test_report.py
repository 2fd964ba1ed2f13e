"""The report says what the data say, needs nothing from outside, and stands every shape of run."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from hill_sim import Trial
from hill_sim.engine.results import EPOCH_COLUMNS, Interaction, Outcome, RunSet, TrialResult
from hill_sim.report import leaderboard_text, write_report_from
from hill_sim.report.headline import Statement, caveats, headline
from hill_sim.report.study import Study, sure
from hill_sim.report.verdicts import verdicts
from hill_sim.report.words import crossing, effect, listed, points, short
from hill_sim.risk.comparison import summarise
from hill_sim.types import Edit, MoveCenter

USERS = ("compactness", "separation", "hold", "random", "ce_scaled", "merge_distinct")


def _noise(trial: Trial, deviation: float) -> float:
    """Of what the trial varies in here, not of its key: another field in Trial must not draw other noise. Seeds come in
    pairs of opposite sign, so that no effect is none in every sample, not only on average."""
    rng = np.random.default_rng([trial.seed // 2, *f"{trial.policy} {trial.alpha} {trial.objective}".encode()])
    return float(rng.normal(0, deviation)) * (-1) ** trial.seed


def null(trial: Trial) -> float:
    """No effect at all: noise of the seed and the user."""
    return _noise(trial, 0.02)


def known(trial: Trial) -> float:
    """compactness helps by 3 points, merge_distinct costs 4 and more with alpha, nobody else matters."""
    noise = _noise(trial, 0.004)
    if trial.policy == "compactness":
        return 0.03 + noise
    if trial.policy == "merge_distinct":
        return -0.08 * max(trial.alpha - 0.2, 0.0) + noise / 4
    return 0.0 if trial.policy == "ce_scaled" else noise


def confounded(trial: Trial) -> float:
    """Under `paper` every user gains the same 2 points that ce_scaled gains; under `hill` nobody does."""
    noise = _noise(trial, 0.002)
    return (0.02 if trial.objective == "paper" else 0.0) + noise


def interaction(n_classes: int, epoch: int, rng: np.random.Generator) -> Interaction:
    labels = np.repeat(np.arange(n_classes), 3)
    before = rng.normal(size=(len(labels), 2))
    after = before + np.where(labels == 0, 0.5, 0.0)[:, None]
    centers = np.array([after[labels == c].mean(axis=0) for c in range(n_classes)])
    return Interaction(
        epoch=epoch, policy="compactness", edit=Edit([MoveCenter(0, (0.5, 0.5))]), validation_accuracy=0.8,
        before=before, after=after, achieved=after + 0.1, labels=labels, predictions=labels[::-1].copy(),
        sample_ids=np.arange(len(labels)), centers=centers, spreads=np.ones(n_classes),
        touched=np.arange(n_classes) == 0, kappa=1.0, seconds=0.001,
    )  # fmt: skip


def result(trial: Trial, gain: float, n_classes: int = 3, curves: bool = True) -> TrialResult:
    rng = np.random.default_rng(trial.seed)
    if np.isnan(gain):
        error = "Traceback (most recent call last):\n  ...\nValueError: <b>the policy</b> raised"
        return TrialResult(trial, Outcome(trial.key, trial.twin().key, status="failed", error=error))
    outcome = Outcome(
        trial.key, trial.twin().key, test_accuracy=0.8 + gain, twin_test_accuracy=0.8, gain=gain,
        worst_recall_change=gain, churn=abs(gain), negative_flips=max(-gain, 0), positive_flips=max(gain, 0),
        class_recall=(0.8 + gain,) * n_classes, class_gain=(gain,) * n_classes,
    )  # fmt: skip
    epochs = {name: rng.random(trial.epochs).tolist() for name in EPOCH_COLUMNS} if curves else {}
    items = () if trial.is_twin else (interaction(n_classes, trial.interactions[0], rng),)
    return TrialResult(trial, outcome, epochs, items, np.zeros(30, dtype=np.int64))


def run_set(
    effect_of: Callable[[Trial], float],
    users: Sequence[str] = USERS,
    seeds: int = 8,
    alphas: Sequence[float] = (0.3, 0.7),
    objectives: Sequence[str] = ("hill",),
    twins: bool = False,
    n_classes: int = 3,
) -> RunSet:
    base = {"epochs": 6, "interactions": (2, 4)}
    grid = itertools.product(objectives, users, alphas, range(seeds))
    trials = [Trial(policy=u, alpha=a, seed=s, objective=o, **base) for o, u, a, s in grid]  # type: ignore[arg-type]
    results = [result(trial, effect_of(trial), n_classes) for trial in trials]
    if twins:
        results += [result(Trial(seed=s, **base).twin(), 0.0, n_classes) for s in range(seeds)]  # type: ignore[arg-type]
    return RunSet(tuple(results))


def said(runs: RunSet) -> list[Statement]:
    return headline(Study.of(runs))


def test_a_known_effect_is_named_with_its_interval_and_seeds() -> None:
    runs = run_set(known)
    good, bad, *rest = said(runs)
    assert good.tone == "good"
    assert good.lead == "compactness helps."
    assert bad.tone == "bad"
    assert bad.lead == "merge_distinct harms."
    assert bad.items[0][2] == "worse in 8 of 8 seeds"
    outcomes = runs.outcomes
    per_seed = outcomes[outcomes["policy"] == "compactness"].groupby("seed")["gain"].mean().to_numpy() * 100
    (row,) = summarise(per_seed[None]).itertuples(index=False)
    assert good.items == (("compactness", effect(row), "better in 8 of 8 seeds"),)
    assert all(statement.tone != "caution" for statement in rest)


def test_no_effect_is_called_no_effect() -> None:
    statements = said(run_set(null, seeds=20))
    assert statements[0].tone == "none"
    assert statements[0].lead.startswith("No user helps")
    assert not any("help" in s.lead or "harm" in s.lead for s in statements[1:])


def test_an_effect_that_the_controls_share_is_not_the_users() -> None:
    runs = run_set(confounded, objectives=("hill", "paper"))
    study = Study.of(runs)
    assert study.main == "hill"
    (confound,) = [s for s in said(runs) if s.lead.startswith("Training gains without any user")]
    assert confound.where == "paper"
    assert confound.items[0][0] == "ce_scaled"
    assert "3 of 3 users beat the twin" in confound.detail
    assert not any("helps" in s.lead and not s.lead.startswith("No user helps") for s in said(runs))


def test_the_gain_of_a_run_without_controls_is_not_called_help() -> None:
    (first, *_) = said(run_set(known, users=("compactness",)))
    assert first.tone == "caution"
    assert "not run" in first.detail


def test_few_seeds_claim_nothing() -> None:
    for seeds in (1, 2, 4):
        (only,) = said(run_set(known, seeds=seeds))
        assert only.tone == "none"
        assert only.lead == f"Too few seeds to tell: {seeds}."
    assert "[one seed]" in said(run_set(known, seeds=1))[0].items[0][1]


def test_the_harm_is_given_the_alpha_from_which_the_model_stops_shrugging_it_off() -> None:
    (bad,) = [s for s in said(run_set(known, alphas=(0.1, 0.3, 0.5, 0.9))) if s.lead == "merge_distinct harms."]
    assert re.search(r"More than 1 point lost: merge_distinct from alpha 0\.3\d* \[0\.\d+, 0\.\d+\] on\.", bad.detail)


def test_what_chance_would_find_among_many_users_is_not_called_help_or_harm() -> None:
    """Of 60 users without any effect some have an interval that excludes 0; the corrected words keep silent."""
    users = [f"users.py:user_{i}" for i in range(60)]

    def independent(trial: Trial) -> float:
        rng = np.random.default_rng([trial.seed, *trial.policy.encode()])
        return float(rng.normal(0, 0.02))

    study = Study.of(run_set(independent, users=users, seeds=12, alphas=(0.5,)))
    twin = study.overall[study.overall["against"] == "twin"]
    assert any(sure(row) for row in twin.itertuples(index=False)), "chance finds something"
    assert {v.word for v in verdicts(study, "hill")} == {"unclear"}


def test_all_failed_says_so_and_names_each() -> None:
    runs = run_set(lambda trial: float("nan"), seeds=2)
    assert said(runs)[0].lead == "Every trial failed."
    assert "24 trials failed" in leaderboard_text(runs)


def test_caveats_name_what_the_seeds_do_not_cover() -> None:
    text = " ".join(caveats(Study.of(run_set(null))))
    assert "8 seeds" in text
    assert "corrected for the 6 users compared (Holm" in text


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(1.25, 1, "+1.2"), (-0.44, 1, "−0.4"), (-0.01, 1, "0.0"), (float("nan"), 1, "–"), (-3.14159, 2, "−3.14")],
)
def test_points(value: float, digits: int, text: str) -> None:
    assert points(value, digits) == text


def test_an_end_that_is_not_zero_is_not_shown_as_zero() -> None:
    row = summarise(np.array([[1.0, 2.0]])).assign(iqm=1.0, low=-0.04, high=2.0).iloc[0]
    assert effect(row) == "+1.0 [−0.04, +2.0]"


def test_listed() -> None:
    assert [listed([]), listed(["a"]), listed(["a", "b", "c"])] == ["", "a", "a, b and c"]
    assert listed(list("abcd"), 2) == "a, b and 2 more"


def test_the_leaderboard_fits_a_terminal_and_shows_every_interval() -> None:
    text = leaderboard_text(run_set(known, objectives=("hill", "paper")))
    assert max(map(len, text.splitlines())) <= 100
    assert text.isascii()
    rows = [line for line in text.splitlines() if re.match(r"[-+~ ] compactness ", line)]
    assert len(rows) == 2
    assert all(row.count("[") == 4 for row in rows)


def test_sequences_of_strategies_look_different_in_the_leaderboard() -> None:
    turns = ("compactness", "resolve_overlap")
    sequences = list(itertools.product(turns, turns))
    text = leaderboard_text(run_set(null, users=[*turns, *sequences], seeds=10))  # type: ignore[list-item]
    rows = re.findall(r"^. (\S.*?) +(\d+/10) +\S+ \[", text, re.MULTILINE)
    assert len({user for user, _ in rows}) == len(rows) == 6


class Links(HTMLParser):
    """Everything in a page that a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.images_without_alt = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.links += [str(given[name]) for name in ("src", "href", "srcset", "data") if name in given]
        self.images_without_alt += tag == "img" and not given.get("alt")
        assert tag not in ("script", "link", "iframe")


def checked(runs: RunSet, folder: Path) -> str:
    """Write the report; the page, after checking that it is whole and needs nothing from outside."""
    path = write_report_from(runs, folder, title="a <run>", question="Does it & will it?", command="hill-sim run")
    page = path.read_text(encoding="utf-8")
    links = Links()
    links.feed(page)
    assert all(link.startswith("data:image/") for link in links.links)
    assert not re.search(r"url\(|@import", page)
    assert links.images_without_alt == 0
    assert "a &lt;run&gt;" in page
    assert "Does it &amp; will it?" in page
    assert "nan" not in re.sub(r"data:image/[^\"]+", "", page).lower()
    assert len(list((folder / "figures").glob("*.png"))) == len(links.links)
    return page


@pytest.mark.slow
def test_the_page_is_self_contained_and_complete(tmp_path: Path) -> None:
    page = checked(run_set(known, objectives=("hill", "paper"), twins=True), tmp_path)
    for anchor in ("leaderboard", "alpha", "conflict", "latents", "classes", "flips", "validation", "gap", "limits"):
        assert f'id="{anchor}"' in page
    assert 'id="reproduce"' in page
    for absent in ("bias", "fit", "groups"):
        assert f'id="{absent}"' not in page, "results of versions that did not measure it"
    assert "No trial failed" in page
    assert "hill-sim run" in page
    assert len(page) < 8_000_000


@pytest.mark.slow
def test_failed_trials_are_counted_named_and_escaped(tmp_path: Path) -> None:
    runs = run_set(lambda t: float("nan") if t.policy == "separation" and t.seed == 1 else known(t))
    page = checked(runs, tmp_path)
    assert "2 trials failed" in page
    assert "ValueError: &lt;b&gt;the policy&lt;/b&gt; raised" in page
    assert "n=7" in page  # cells say their seeds where they differ


def measured(trial: Trial, absent: int = 1) -> TrialResult:
    """With every measure; `absent` groups have no test sample."""
    found, gain = result(trial, known(trial)), known(trial)
    rng = np.random.default_rng(trial.seed)
    groups = np.append(rng.normal(gain, 0.01, size=3), [math.nan] * absent)
    outcome = dataclasses.replace(
        found.outcome, imprint=0.4 + gain, directed_confusion=-gain, recall_disparity_change=-gain,
        generalisation_gap_change=gain, human_fit_gap=0.01, ece_change=-gain, brier_change=gain,
        conflict_index=math.nan if trial.policy == "hold" else float(np.tanh(rng.normal())),
        group_accuracy=tuple(0.7 + groups), group_gain=tuple(groups), group_gap=0.1, group_gap_change=-gain,
    )  # fmt: skip
    return dataclasses.replace(found, outcome=outcome)


@pytest.mark.slow
def test_every_measure_is_shown_with_its_interval_and_absent_groups_are_named(tmp_path: Path) -> None:
    trials = [r.trial for r in run_set(known, seeds=6).results]
    page = checked(RunSet(tuple(measured(trial) for trial in trials)), tmp_path)
    for anchor in ("bias", "fit", "groups", "conflict"):
        assert f'id="{anchor}"' in page
    assert "1 of 4 groups have no test sample and no number." in page
    for title in ("edit-directed confusion", "human-fit gap", "calibration error", "gap between groups"):
        assert title in page
    assert "group 3</th>" not in page, "no row for a group without samples"


def test_thresholds_say_never_and_name_their_interval() -> None:
    study = Study.of(run_set(known, alphas=(0.1, 0.3, 0.5, 0.9)))
    rows = {row.user: crossing(row) for row in study.thresholds.itertuples(index=False)}
    assert rows["compactness"] == "never [never, never]"
    assert re.fullmatch(r"0\.3\d? \[0\.\d+, 0\.\d+\]", rows["merge_distinct"])
    one = Study.of(run_set(known, seeds=1, alphas=(0.1, 0.9)))
    assert "[one seed]" in crossing(one.thresholds[one.thresholds["user"] == "merge_distinct"].iloc[0])


EDGES: dict[str, RunSet] = {
    "one seed": run_set(known, seeds=1),
    "one user": run_set(known, users=("compactness",)),
    "one alpha": run_set(known, alphas=(0.5,)),
    "no controls": run_set(known, users=("compactness", "merge_distinct")),
    "all failed": run_set(lambda trial: float("nan")),
    "nothing": RunSet(()),
    "twins only": run_set(known, users=(), twins=True),
    "many users": run_set(null, users=[f"users.py:user_{i}" for i in range(34)], seeds=2),
    "many classes": run_set(known, users=("compactness", "hold"), n_classes=100, seeds=5),
    "three objectives": run_set(known, ("compactness", "hold"), 5, objectives=("hill", "paper", "hill-samples")),
}


QUICK = ("all failed", "nothing")


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in EDGES])
def test_every_shape_of_run(name: str, tmp_path: Path) -> None:
    page = checked(EDGES[name], tmp_path)
    assert max(map(len, leaderboard_text(EDGES[name]).splitlines())) <= 100
    assert 'id="reproduce"' in page


def test_settings_that_differ_in_a_field_are_kept_apart() -> None:
    base = {"epochs": 6, "interactions": (2, 4), "alpha": 0.5}
    trials = [Trial(policy=p, lam=lam, seed=s, **base) for p in ("hold", "swap") for lam in (0.0, 0.1) for s in (0, 1)]  # type: ignore[arg-type]
    study = Study.of(RunSet(tuple(result(trial, 0.01) for trial in trials)))
    assert study.settings == ("hill · lam 0", "hill · lam 0.1")


def test_variants_of_a_policy_are_told_apart() -> None:
    base = {"epochs": 6, "interactions": (2, 4), "alpha": 0.5}
    trials = [
        Trial(policy="random", policy_options={"match": name}, **base)  # type: ignore[arg-type]
        for name in ("separation", "compactness")
    ]
    study = Study.of(RunSet(tuple(result(trial, 0.01) for trial in trials)))
    assert sorted(study.users) == ["random (match=compactness)", "random (match=separation)"]


@pytest.mark.parametrize("most", [12, 18, 26])
def test_short_names_fit_and_sequences_that_differ_late_still_differ(most: int) -> None:
    strategies = ("compactness", "separation", "hold")
    names = [" > ".join(steps) for steps in itertools.product(strategies, repeat=2)]
    shortened = [short(name, most) for name in names]
    assert max(map(len, shortened)) <= most
    assert len(set(shortened)) == len(names)
    assert short("a_very_long_name_of_somebodys_own_policy", most).endswith("…")
