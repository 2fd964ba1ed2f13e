"""`Trial`: a value that survives JSON, has one key, and refuses what no training can be."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hill_sim.errors import InvalidInput
from hill_sim.trial import Options, Trial

_trials = st.builds(
    Trial,
    policy=st.sampled_from(["compactness", "hold", "ce_only", "mine.py:User", ["hold", "random"]]),
    policy_options=st.dictionaries(st.sampled_from(["a", "b"]), st.integers() | st.lists(st.booleans()), max_size=2),
    objective=st.sampled_from(["hill", "paper", {"preset": "paper", "center": 2}, {"hold_untouched": True}]),
    alpha=st.floats(0, 0.99),
    lam=st.floats(0, 10),
    interactions=st.just((2, 4)),
    epochs=st.integers(5, 9),
    lr=st.none() | st.floats(1e-6, 1),
    task_options=st.dictionaries(st.sampled_from(["x", "y"]), st.floats(0.5, 2.0)),
    seed=st.integers(0, 2**31),
)


@given(_trials)
def test_json_round_trip_keeps_the_value_its_hash_and_its_key(trial: Trial) -> None:
    again = Trial.from_json(trial.to_json())
    assert again == trial
    assert hash(again) == hash(trial)
    assert again.key == trial.key


@given(_trials, _trials)
def test_equal_trials_and_only_they_have_equal_keys(one: Trial, other: Trial) -> None:
    assert (one.key == other.key) == (one == other)


def test_the_key_is_the_hash_of_the_sorted_json_with_all_numbers_as_floats() -> None:
    """Stored results are found by it: if this changes, old run folders no longer resume."""
    trial = Trial(policy="swap", user={"effort": 3}, lr=0.5)
    said = json.loads(trial.to_json(), parse_int=float)
    del said["trust"]  # at its default
    canonical = json.dumps(said, sort_keys=True)
    assert trial.key == hashlib.sha256(canonical.encode()).hexdigest()[:16]


def test_spelling_does_not_make_another_trial() -> None:
    one = Trial(task_options={"a": 1, "b": [1, 2]}, alpha=np.float64(0.5), lam=1, interactions=[1, 2])
    other = Trial(task_options={"b": (1, 2), "a": np.int64(1)}, alpha=0.5, lam=1.0, interactions=(1, 2))
    assert one == other
    assert one.key == other.key


def test_a_trial_cannot_be_changed() -> None:
    trial = Trial(task_options={"a": {"b": 1}})
    with pytest.raises(dataclasses.FrozenInstanceError):
        trial.alpha = 0.1  # type: ignore[misc]
    with pytest.raises(TypeError):
        trial.task_options["a"]["b"] = 2


def test_the_twin_keeps_what_is_trained_and_drops_the_user() -> None:
    trial = Trial(policy="swap", alpha=0.9, lam=3.0, user={"effort": 3}, objective="paper", seed=7, lr=0.1)
    twin = trial.twin()
    assert twin.is_twin
    assert not trial.is_twin
    assert twin.twin() == twin
    assert twin == trial.replace(policy="hold", alpha=0.2, lam=0.0, user={}, objective="hill").twin()
    assert (twin.seed, twin.lr, twin.epochs) == (7, 0.1, trial.epochs)
    assert twin != trial.replace(seed=8).twin()


def test_a_sequence_names_one_policy_and_its_options_per_interaction() -> None:
    trial = Trial(policy=["hold", "random"], policy_options=[{}, {"like": "swap"}], interactions=(1, 2), epochs=3)
    assert trial.policy_name == "hold > random"
    assert trial.policy_at(0) == ("hold", Options())
    assert trial.policy_at(1) == ("random", Options(like="swap"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"alpha": 1.5}, "alpha: 1.5 is not in [0, 1]"),
        ({"alpha": -0.1}, "alpha: -0.1 is not in [0, 1]"),
        ({"alpha": math.nan}, "alpha: nan is not in [0, 1]"),
        ({"alpha": "loud"}, "alpha: 'loud' is not in [0, 1]"),
        ({"alpha": True}, "alpha: True is not in [0, 1]"),
        ({"alpha": 1.0}, "alpha: 1.0 is not below 1, and additive mixing"),
        ({"lam": -1}, "lam: -1 is not a finite number >= 0"),
        ({"lam": math.nan}, "lam: nan is not a finite number >= 0"),
        ({"lam": math.inf}, "lam: inf is not a finite number >= 0"),
        ({"interactions": [30, 25]}, "interactions: [30, 25] is not strictly ascending"),
        ({"interactions": [25, 25]}, "interactions: [25, 25] is not strictly ascending"),
        ({"interactions": [45]}, "interactions: 45 is not in 1..44 (epochs is 45)"),
        ({"interactions": [0]}, "interactions: 0 is not an integer >= 1"),
        ({"interactions": [2.5]}, "interactions: 2.5 is not an integer >= 1"),
        ({"interactions": "25"}, "interactions: '25' is not a list of epochs"),
        ({"interactions": 25}, "interactions: 25 is not a list of epochs"),
        ({"epochs": 0}, "epochs: 0 is not an integer >= 1"),
        ({"epochs": 4.0}, "epochs: 4.0 is not an integer >= 1"),
        ({"seed": -1}, "seed: -1 is not an integer >= 0"),
        ({"batch_size": 0}, "batch_size: 0 is not an integer >= 1"),
        ({"lr": 0}, "lr: 0 is not a finite number > 0"),
        ({"lr": "2e-3"}, "lr: '2e-3' is not a finite number > 0"),
        ({"weight_decay": -1e-5}, "weight_decay: -1e-05 is not a finite number >= 0"),
        ({"task": "digts"}, "task: unknown 'digts'; did you mean 'digits'?"),
        ({"task": ""}, "task: '' is not a name"),
        ({"model": "mpl"}, "model: unknown 'mpl'; did you mean 'mlp'?"),
        ({"policy": "compactnes"}, "policy: unknown 'compactnes'; did you mean 'compactness'?"),
        ({"policy": ["hold"]}, "policy: 1 policies for 4 interactions [25, 30, 35, 40]"),
        ({"policy": ["hold", "ce_only"], "interactions": [1, 2]}, "policy: 'ce_only' is a control of a whole trial"),
        (
            {"policy": ["hold", "hold"], "policy_options": [{}], "interactions": [1, 2]},
            "policy_options: 1 mappings for 2 policies",
        ),
        ({"policy_options": 3}, "policy_options: 3 is not a mapping"),
        ({"task_options": {"x": math.nan}}, "option x: nan is not a finite number"),
        ({"task_options": {"x": object}}, "option x: <class 'object'> is not a finite number"),
        ({"task_options": {1: 2}}, "option name 1 is not a string"),
        ({"objective": "hil"}, "objective: unknown 'hil'; did you mean 'hill'?"),
        ({"objective": {"mixing": "convexe"}}, "objective.mixing: unknown 'convexe'; did you mean 'convex'?"),
        ({"objective": {"centre": 1}}, "objective option: unknown 'centre'; did you mean 'center'?"),
        ({"objective": {"center": -1}}, "objective.center: -1 is not a finite number >= 0"),
        ({"optimizer": "adamm"}, "optimizer: unknown 'adamm'; did you mean 'adam'?"),
        ({"projection": "pcaa"}, "projection: unknown 'pcaa'; did you mean 'pca'?"),
        ({"view": {"per_clas": 3}}, "view option: unknown 'per_clas'; did you mean 'per_class'?"),
        ({"view": {"source": "test"}}, "view.source: unknown 'test'"),
        ({"view": {"per_class": -1}}, "view.per_class: -1 is not an integer >= 0"),
    ],
)
def test_bad_input_names_field_given_and_allowed(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Trial(**fields)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_unknown_fields_suggest_the_nearest() -> None:
    with pytest.raises(InvalidInput, match=r"trial field: unknown 'alhpa'; did you mean 'alpha'\?"):
        Trial.from_dict({"alhpa": 0.1})
    with pytest.raises(InvalidInput, match=r"trial field: unknown 'epoch'; did you mean 'epochs'\?"):
        Trial().replace(epoch=3)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({}, "101ca6720621824e"),
        ({"policy": "ce_only", "seed": 3}, "b5935b87511f7087"),
        (
            {"task_options": {"some": 20}, "policy": ("hold", "swap"), "interactions": (1, 2)},
            "3caf401bee7ac5ef",
        ),
        (
            {"objective": {"preset": "paper", "center": 2}, "user": {"effort": 3}, "lr": 1e-2},
            "07f7d3c8d9410c89",
        ),
    ],
)
def test_keys_of_stored_results_stay_what_they_were(changes: dict[str, Any], key: str) -> None:
    """As version 0.1 wrote them: a field that was added later does not count while it has its default."""
    assert Trial(**changes).key == key
    assert Trial(**changes, trust="fixed").key == key
    assert Trial(**changes, trust="twin").key != key


def test_equal_trials_have_equal_keys() -> None:
    a, b = (Trial(task_options={"label_noise": noise, "train_per_class": 20}) for noise in (0, 0.0))
    assert a == b
    assert a.key == b.key
    assert a.key != Trial(task_options={"label_noise": 0.1, "train_per_class": 20}).key
