"""From YAML to trials: which, how many, in which order, and what is refused in which words."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sweep_support import TINY, TRIALS, tiny, write_yaml

from hill_sim.config import dump_yaml, parse_yaml, validated
from hill_sim.errors import InvalidInput
from hill_sim.sweep import SweepSpec, expand, read_sweep
from hill_sim.sweep.batches import FULL, LARGEST, batches
from hill_sim.trial import Trial

QUICKSTART = Path(__file__).parents[2] / "experiments" / "quickstart.yaml"


def test_a_grid_is_every_user_strength_and_seed_and_the_twin_once_a_seed() -> None:
    planned = expand(tiny())
    assert len(planned) == TRIALS
    assert Counter(item.label for item in planned) == {"compactness": 4, "separation": 4, "ce_only": 2}
    assert planned[0].trial == Trial(
        task_options={"train_per_class": 20}, epochs=6, interactions=(2, 4), batch_size=64, alpha=0.3, seed=0
    )
    twins = [item.trial for item in planned if item.label == "ce_only"]
    assert twins == [planned[0].trial.twin(), planned[1].trial.twin()]


def test_the_order_is_the_specs_and_nothing_else() -> None:
    assert expand(tiny()) == expand(tiny())
    place = [(item.label, item.trial.alpha, item.trial.seed) for item in expand(tiny())]
    assert place[:4] == [
        ("compactness", 0.3, 0),
        ("compactness", 0.3, 1),
        ("compactness", 0.7, 0),
        ("compactness", 0.7, 1),
    ]


def test_a_tree_is_every_sequence_of_strategies() -> None:
    strategies = ["compactness", {"policy": "random", "options": {"like": "swap"}}]
    spec = tiny(policies=None, tree={"strategies": strategies}, grid={}, seeds=1)
    planned = expand(spec)
    assert [item.label for item in planned] == [
        "compactness > compactness",
        "compactness > random",
        "random > compactness",
        "random > random",
    ]
    assert planned[1].trial.policy == ("compactness", "random")
    assert planned[1].trial.policy_at(1)[1] == {"like": "swap"}
    assert planned[1].trial.interactions == (2, 4)


@pytest.mark.parametrize(("interactions", "epochs"), [(1, (2,)), ([1, 3, 5], (1, 3, 5)), (None, (2, 4))])
def test_a_tree_uses_the_first_interactions_or_its_own(interactions: Any, epochs: tuple[int, ...]) -> None:
    tree = {"strategies": ["hold", "swap"], "interactions": interactions}
    planned = expand(tiny(policies=None, tree=tree, grid={}, seeds=1))
    assert len(planned) == 2 ** len(epochs)
    assert {item.trial.interactions for item in planned} == {epochs}


def test_cases_stand_side_by_side_and_put_their_own_in_place() -> None:
    cases = [
        {"name": "loud", "grid": {"alpha": [0.9]}},
        {"name": "paper", "fixed": {"objective": "paper"}, "policies": ["hold", "ce_only"]},
    ]
    planned = expand(tiny(cases=cases, seeds=1))
    assert [(item.case, item.label, item.trial.alpha, item.trial.objective) for item in planned] == [
        ("loud", "compactness", 0.9, "hill"),
        ("loud", "separation", 0.9, "hill"),
        ("loud", "ce_only", 0.0, "hill"),
        ("paper", "hold", 0.3, "paper"),
        ("paper", "hold", 0.7, "paper"),
    ], "the twin is the same in both cases, and runs once"


def test_dotted_places_reach_into_options_and_users_keep_their_own() -> None:
    fixed = {**TINY["fixed"], "user.effort": 3, "objective": "paper", "objective.center": 2.0}
    shaky = {"label": "shaky", "policy": "hold", "user": {"motor_noise": 0.1}}
    spec = tiny(fixed=fixed, policies=["swap", shaky], grid={"task_options.label_noise": [0.1, 0.2]}, seeds=1)
    planned = expand(spec)
    assert [item.trial.task_options["label_noise"] for item in planned] == [0.1, 0.2, 0.1, 0.2]
    assert all(item.trial.task_options["train_per_class"] == 20 for item in planned)
    assert planned[0].trial.user == {"effort": 3}
    assert planned[2].trial.user == {"effort": 3, "motor_noise": 0.1}
    assert planned[2].label == "shaky"
    assert planned[0].trial.objective == {"preset": "paper", "center": 2.0}


def test_without_users_the_grid_or_the_trial_says_who() -> None:
    spec = tiny(policies=None, grid={"policy": ["hold", "swap"]}, seeds=1)
    assert [item.label for item in expand(spec)] == ["hold", "swap"]
    assert [item.label for item in expand(tiny(policies=None, seeds=1))] == ["compactness", "compactness"]


def test_a_budget_replaces_parts_and_overrides_win_over_it(tmp_path: Path) -> None:
    path = write_yaml(tmp_path / "s.yaml", budget={"small": {"seeds": 1, "grid": {"alpha": [0.5]}}})
    assert len(expand(read_sweep(path))) == TRIALS
    small = read_sweep(path, budget="small")
    assert {item.trial.alpha for item in expand(small)} == {0.5, 0.0}
    assert small.fixed == TINY["fixed"]
    assert read_sweep(path, budget="small", overrides=("seeds=[4]",)).seeds == [4]


@pytest.mark.slow
def test_the_resolved_spec_reads_back_as_the_same_sweep() -> None:
    for spec in (tiny(), read_sweep(QUICKSTART), tiny(policies=None, tree={"strategies": ["hold"]})):
        again = validated(SweepSpec, parse_yaml(dump_yaml(spec.resolved()), "x"), "x")
        assert again.resolved() == spec.resolved()
        assert expand(again) == expand(spec)


def test_quickstart_is_what_the_readme_says() -> None:
    spec = read_sweep(QUICKSTART)
    planned = expand(spec)
    assert len(spec.seeds) >= 10, "fewer allow no honest interval"
    assert len(planned) == (2 * 10 * 5 + 1) * len(spec.seeds)
    users = {item.label for item in planned}
    assert users >= {"compactness", "separation", "merge_similar", "resolve_overlap", "fix_outliers", "arrange"}
    assert users >= {"hold", "random", "ce_scaled", "merge_distinct"}
    assert {item.trial.alpha for item in planned} == {0.0, 0.1, 0.3, 0.5, 0.7, 0.9}
    assert {item.case for item in planned} == {"hill", "paper"}
    assert all(item.trial.task_options == {"train_per_class": 20, "label_noise": 0.1} for item in planned)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fixed": {"alhpa": 1}}, "tiny.yaml: fixed.alhpa: unknown; did you mean 'alpha'?"),
        ({"grid": {"alfa": [1]}}, "tiny.yaml: grid.alfa: unknown; did you mean 'alpha'?"),
        ({"grid": {"alpha": []}}, "tiny.yaml: grid.alpha: [] is not a list of at least one value"),
        ({"grid": {"alpha": 0.5}}, "tiny.yaml: grid.alpha: 0.5 is not a valid list"),
        ({"fixed": {"seed": 1}}, "tiny.yaml: fixed.seed: a sweep's seeds stand under `seeds`"),
        ({"grid": {"epochs.x": [1]}}, "tiny.yaml: grid.epochs.x: only task_options, model_options,"),
        ({"grid": {"view.": [1]}}, "tiny.yaml: grid.view.: only task_options, model_options,"),
        ({"polices": ["hold"]}, "tiny.yaml: polices: unknown; did you mean 'policies'?"),
        ({"policies": [{"polcy": "hold"}]}, "tiny.yaml: policies.0.polcy: unknown; did you mean 'policy'?"),
        ({"policies": [{"label": "x"}]}, "tiny.yaml: policies.0.policy: missing"),
        ({"policies": [3]}, "tiny.yaml: policies.0: 3 is not a policy's name or a mapping of policy"),
        ({"search": 3}, "tiny.yaml: search: 3 is not a mapping of sampler, space,"),
        ({"seeds": 0}, "tiny.yaml: seeds: 0 is not a number of seeds >= 1 or a list"),
        ({"seeds": [1, 1]}, "tiny.yaml: seeds: [1, 1] is not a number of seeds >= 1 or a list of distinct"),
        ({"seeds": [-1]}, "tiny.yaml: seeds: [-1] is not"),
        ({"seeds": 10**8}, "tiny.yaml: seeds: 100,000,000 are more than the 1,000,000 trials of one sweep"),
        ({"grid": {"user.efort": [3]}}, "tiny.yaml: grid.user.efort: unknown; did you mean 'effort'?"),
        ({"fixed": {"objective.mixng": "x"}}, "tiny.yaml: fixed.objective.mixng: unknown; did you mean 'mixing'?"),
        ({"seeds": True}, "tiny.yaml: seeds: True is not"),
        ({"name": "a/b"}, "tiny.yaml: name: 'a/b' is not a name of letters, digits, dots, dashes and underscores"),
        ({"name": ".."}, "tiny.yaml: name: '..' is not a name"),
        ({"tree": {"strategies": []}}, "tiny.yaml: tree.strategies: [] is not a list of at least one strategy"),
        ({"tree": {"strategies": ["hold"], "interactions": 0}}, "tiny.yaml: tree.interactions: 0 is not a number of"),
        ({"tree": {"interactions": 2}}, "tiny.yaml: tree.strategies: missing"),
        ({"cases": [{"name": "a"}, {"name": "a"}]}, "tiny.yaml: cases: name 'a' is given to 2 cases"),
        ({"cases": [{"fixed": {}}]}, "tiny.yaml: cases.0.name: missing"),
        ({"cases": [{"name": "a", "seeds": 2}]}, "tiny.yaml: cases.0.seeds: unknown"),
        ({"budget": {"small": {"seds": 1}}}, "tiny.yaml: budget.small.seds: unknown; did you mean 'seeds'?"),
    ],
)
def test_a_spec_that_says_nonsense_is_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        tiny(**changes)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grid": {"alpha": [0.5, 2]}}, "compactness: alpha: 2 is not in [0, 1]"),
        ({"policies": ["compactnes"]}, "compactnes: policy: unknown 'compactnes'; did you mean 'compactness'?"),
        ({"cases": [{"name": "a", "fixed": {"lam": -1}}]}, "case a: compactness: lam: -1 is not a finite number >= 0"),
        ({"fixed": {"policy": "hold"}}, "fixed.policy: the users stand under policies or tree already"),
        ({"grid": {"policy_options": [{}]}}, "grid.policy_options: the users stand under policies or tree already"),
        ({"tree": {"strategies": ["hold"], "interactions": 3}}, "tree.interactions: 3 is more than the 2 interactions"),
        (
            {"tree": {"strategies": [{"policy": "hold", "user": {"effort": 1}}]}},
            "tree.strategies: hold: human limits belong to the whole trial (fixed.user)",
        ),
        (
            {"policies": ["hold", "random"], "grid": {"lam": [0.1] * 1_000}, "seeds": 1_000},
            "2 users x 1,000 points of the grid x 1,000 seeds: 2,000,000 trials are more than the 1,000,000 of one",
        ),
        (
            {"policies": None, "tree": {"strategies": ["hold"] * 9, "interactions": [*range(1, 10)]}},
            "387,420,489 users",
        ),
        ({"users": {"count": 10**9}}, "3 users x 1,000,000,000 persons x 2 points"),
        (
            {"design": {"n": 2**40, "parameters": {"lam": {"low": 0, "high": 1}}}},
            "3 users x 3,298,534,883,328 points of the design x 2 points of the grid x 2 seeds",
        ),
        ({"fixed": {"view": 3, "view.per_class": 2}}, "view: 3 is not a mapping, so view.per_class cannot be set"),
    ],
)
def test_a_sweep_that_no_trial_can_be_names_case_user_and_field(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        expand(tiny(**changes))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_an_unknown_budget_names_the_file_and_the_nearest(tmp_path: Path) -> None:
    path = write_yaml(tmp_path / "s.yaml", budget={"small": {"seeds": 1}})
    with pytest.raises(InvalidInput, match=r"s\.yaml: budget: unknown 'smal'; did you mean 'small'\?"):
        read_sweep(path, budget="smal")


@pytest.fixture(scope="module")
def quickstart() -> list[Trial]:
    return [item.trial for item in expand(read_sweep(QUICKSTART))]


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_batches_hold_every_trial_once_and_twins_families_together(workers: int, quickstart: list[Trial]) -> None:
    packed = batches(quickstart, workers)
    assert sorted(t.key for batch in packed for t in batch) == sorted(t.key for t in quickstart)
    families = [{t.twin().key for t in batch} for batch in packed]
    assert sum(len(family) for family in families) == len(set().union(*families)), "no family is split"
    assert len(packed) >= min(workers, 10)


def test_small_families_travel_together_and_large_ones_are_split() -> None:
    small = [Trial(seed=seed, alpha=alpha) for seed in range(100) for alpha in (0.1, 0.2)]
    assert {len(batch) for batch in batches(small, 1)} == {FULL, 200 % FULL}
    large = [Trial(lam=float(i)) for i in range(2 * LARGEST + 1)]
    assert [len(batch) for batch in batches(large, 1)] == [342, 342, 341]
    assert batches([], 2) == []


def test_people_follow_every_policy_but_what_trains_without_a_user() -> None:
    users = {"count": 3, "motor_noise": {"low": 0.1, "high": 0.2}, "effort": [2, 4], "mistakes": 0.05}
    planned = expand(
        tiny(users=users, seeds=1, grid={}, policies=["compactness", "separation", "ce_scaled", "ce_only"])
    )
    assert Counter(item.label for item in planned) == {
        "compactness": 3, "separation": 3, "ce_scaled": 1, "ce_only": 1
    }  # fmt: skip
    people = [item.trial.user for item in planned]
    assert people[:3] == people[3:6], "the same people, whatever they follow"
    assert [person["seed"] for person in people[:3]] == [1, 2, 3]
    assert len({person["motor_noise"] for person in people[:3]}) == 3
    for person in people[:3]:
        assert 0.1 <= person["motor_noise"] < 0.2
        assert person["effort"] in (2, 4)
        assert person["mistakes"] == 0.05
    whole = expand(tiny(users={"count": 20, "effort": {"low": 1, "high": 3}}, seeds=1, grid={}))
    assert {item.trial.user["effort"] for item in whole if not item.trial.is_twin} == {1, 2, 3}
    more = expand(tiny(users={**users, "count": 5, "skipping": 0.1}, seeds=1, grid={}, policies=["compactness"]))
    assert [dict(item.trial.user, skipping=0.1) for item in planned[:3]] == [item.trial.user for item in more[:3]]


def test_a_design_is_every_point_for_every_user_and_seed() -> None:
    parameters = {
        "alpha": {"low": 0.1, "high": 0.9},
        "lam": {"low": 0.01, "high": 1.0, "log": True},
        "user.strength": {"low": 0.5, "high": 2.0},
        "interactions": [[2], [2, 4]],
    }
    design = {"n": 4, "parameters": parameters}
    spec = tiny(design=design, grid={}, policies=["compactness", "hold"])
    planned = expand(spec)
    assert len(planned) == 88, "4 (4 + 2) points, 2 users, 2 seeds, less where a schedule is drawn twice"
    for item in planned:
        assert 0.1 <= item.trial.alpha < 0.9
        assert 0.01 <= item.trial.lam < 1.0
        assert item.trial.interactions in ((2,), (2, 4))
    points = spec.design.points() if spec.design else []
    assert {item.trial.alpha for item in planned} == {point["alpha"] for point in points}
    assert list(dict.fromkeys(item.label for item in planned)) == ["compactness", "hold"]
    assert {item.trial.interactions for item in planned} == {(2,), (2, 4)}
    again = validated(SweepSpec, parse_yaml(dump_yaml(spec.resolved()), "x"), "x")
    assert expand(again) == planned


def test_attribution_adds_branches_at_the_end() -> None:
    spec = tiny(attribution=True, grid={}, seeds=1)
    planned = expand(spec)
    assert [item.label for item in planned if item.role == "user"] == ["compactness", "separation", "ce_only"]
    assert [(item.label, item.trial.interactions) for item in planned if item.role == "branch"][:2] == [
        ("compactness without 2", (4,)),
        ("compactness without 4", (2,)),
    ], "with two interactions, without one is only the other"
    some = tiny(attribution={"kinds": ["only_one"], "users": ["separation"]}, grid={}, seeds=1)
    assert [item.label for item in expand(some) if item.role == "branch"] == ["separation only 2", "separation only 4"]
    again = validated(SweepSpec, parse_yaml(dump_yaml(spec.resolved()), "x"), "x")
    assert expand(again) == planned
    assert expand(tiny(attribution=["leave_one_out"], grid={}, seeds=1)) == planned


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"users": {"count": 0}}, "users.count: 0 is not greater than or equal to 1"),
        ({"users": {"count": 2, "motor_nois": 0.1}}, "users.motor_nois: unknown; did you mean 'motor_noise'?"),
        ({"users": {"count": 2, "seed": -1}}, "users.seed: -1 is not greater than"),
        ({"users": {"count": 2, "effort": []}}, r"users.limits.effort.choices: \[\] is not a list of at least one"),
        (
            {"users": {"count": 2, "motor_noise": {"low": 0.3, "high": 0.1}}},
            r"motor_noise\.low: 0\.3 is not below high: 0\.1",
        ),
        ({"users": {"count": 2, "motor_noise": {"low": 0.3}}}, "needs low and high, or choices"),
        ({"users": {"count": 2, "effort": {"low": 0.5, "high": 3}}}, "users.limits.effort: low, high and step"),
        ({"design": {"n": 5, "parameters": {"alpha": [0.1, 0.5]}}}, "design.n: 5 is not a power of two"),
        ({"design": {"n": 4, "parameters": {}}}, "design.parameters: {} is not at least one"),
        ({"design": {"n": 4, "parameters": {"alhpa": [0.1, 0.5]}}}, "design.*alhpa: unknown; did you mean 'alpha'"),
        ({"design": {"n": 4, "parameters": {"lam": {"low": 0, "high": 1.0, "log": True}}}}, "0 is not above 0"),
        ({"design": {"n": 4, "parameters": {"lam": 0.1}}}, "0.1 alone does not vary"),
        ({"attribution": ["leave_one"]}, "attribution.kinds: 'leave_one': unknown; did you mean 'leave_one_out'"),
        ({"attribution": {"kinds": []}}, "at least one kind"),
    ],
)
def test_people_designs_and_attribution_are_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        tiny(**changes)


def test_what_only_shows_when_expanded_is_refused_in_one_line() -> None:
    design = {"n": 4, "parameters": {"alpha": {"low": 0.1, "high": 1.5}}}
    with pytest.raises(InvalidInput, match=r"compactness: alpha: 1\.\d+ is not in \[0, 1\]"):
        expand(tiny(design=design, grid={}))
    with pytest.raises(InvalidInput, match=r"grid\.alpha: stands under design\.parameters already"):
        expand(tiny(design={"n": 4, "parameters": {"alpha": [0.1, 0.2]}}))
    with pytest.raises(InvalidInput, match=r"attribution\.users: unknown 'compact'; did you mean 'compactness'"):
        expand(tiny(attribution={"users": ["compact"]}))
    labels = [{"policy": "hold", "label": "compactness without 2"}, "compactness"]
    with pytest.raises(InvalidInput, match="choose another label"):
        expand(tiny(attribution=True, policies=labels))
