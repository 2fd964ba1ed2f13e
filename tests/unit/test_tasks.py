"""The digits: how many, how split, what the options do, and that nothing of it depends on who asks when."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.datasets import load_digits

from hill_sim.errors import InvalidInput
from hill_sim.tasks import Task, load_task, resolve
from hill_sim.tasks.base import load_anew
from hill_sim.trial import Options, Trial


def digits(**options: Any) -> Task:
    return load_anew("digits", options)


def rows(task: Task) -> list[set[bytes]]:
    return [{x.numpy().tobytes() for x in split.x} for split in (task.train, task.validation, task.test)]


def test_sizes_and_shares() -> None:
    task = digits()
    labels = load_digits(return_X_y=True)[1]
    assert [len(split) for split in task.splits.values()] == [1077, 360, 360]
    for split in task.splits.values():
        share = np.bincount(split.y) / len(split)
        assert np.abs(share - np.bincount(labels) / len(labels)).max() < 0.003
        assert split.x.shape[1:] == (64,)
        assert split.x.dtype == torch.float32
        assert float(split.x.min()) == 0.0
        assert float(split.x.max()) == 1.0
    assert task.class_names == tuple("0123456789")


def test_no_image_is_in_two_splits_and_none_is_lost() -> None:
    pixels = load_digits(return_X_y=True)[0].astype(np.float32) / 16
    parts = rows(digits())
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]
    assert set.union(*parts) == {x.tobytes() for x in pixels}


def test_labels_are_those_of_the_images() -> None:
    pixels, labels = load_digits(return_X_y=True)
    right = {(x.astype(np.float32) / 16).tobytes(): y for x, y in zip(pixels, labels, strict=True)}
    for split in digits(train_per_class=20).splits.values():
        assert [right[x.numpy().tobytes()] for x in split.x] == split.y.tolist()


@pytest.mark.parametrize("count", [1, 20, 100])
def test_a_subset_has_as_many_of_each_class_and_leaves_the_held_out_alone(count: int) -> None:
    if count == 1:
        with pytest.raises(InvalidInput, match="at least 2 of each class"):
            digits(train_per_class=1)
        return
    task, full = digits(train_per_class=count), digits()
    assert np.bincount(task.train.y).tolist() == [count] * 10
    assert rows(task)[0] < rows(full)[0]
    assert torch.equal(task.validation.x, full.validation.x)
    assert torch.equal(task.test.y, full.test.y)


@pytest.mark.parametrize(("share", "per_class"), [(0.1, 20), (0.25, 10), (0.9, None), (0.0, 5), (0.05, 20)])
def test_noise_is_exactly_the_share_and_in_training_only(share: float, per_class: int | None) -> None:
    options = {} if per_class is None else {"train_per_class": per_class}
    noisy, clean = digits(label_noise=share, **options), digits(**options)
    assert torch.equal(noisy.train.x, clean.train.x)
    assert int((noisy.train.y != clean.train.y).sum()) == round(share * len(clean.train))
    for name in ("validation", "test"):
        assert torch.equal(noisy.splits[name].y, clean.splits[name].y)


def test_wrong_labels_are_spread_over_all_wrong_classes() -> None:
    noisy, clean = digits(label_noise=0.9), digits()
    wrong = noisy.train.y != clean.train.y
    distance = (noisy.train.y - clean.train.y)[wrong] % 10
    counts = np.bincount(distance, minlength=10)
    assert counts[0] == 0
    assert stats.chisquare(counts[1:]).pvalue > 0.001


def test_nothing_depends_on_the_call() -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    one = digits(train_per_class=20, label_noise=0.1)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    other = digits(train_per_class=20, label_noise=0.1)
    assert one.fingerprint == other.fingerprint
    assert one.fingerprint != digits(train_per_class=20).fingerprint


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_per_class": 0}, r"task_options\.train_per_class: 0 is not an integer in 1\.\.100"),
        ({"train_per_class": 101}, "train_per_class: 101"),
        ({"train_per_class": 2.5}, "train_per_class: 2.5"),
        ({"train_per_class": True}, "train_per_class: True"),
        ({"train_per_class": "many"}, "train_per_class: 'many'"),
        ({"label_noise": 1.0}, r"task_options\.label_noise: 1\.0 is not a number in \[0, 1\)"),
        ({"label_noise": -0.1}, "label_noise: -0.1"),
        ({"label_noise": "some"}, "label_noise: 'some'"),
        ({"label_nois": 0.1}, r"task_options of digits: unknown 'label_nois'; did you mean 'label_noise'\?"),
    ],
    ids=str,
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        load_task("digits", Options(options))
    assert "\n" not in str(caught.value)


def test_a_trials_own_recipe_takes_precedence() -> None:
    default = resolve(Trial())
    assert (default.model, default.batch_size, default.optimizer, default.lr) == ("mlp", 64, "adam", 1e-3)
    assert default.model_options == {"hidden": (128, 64)}
    own = resolve(Trial(batch_size=7, lr=0.1, optimizer="sgd", weight_decay=0.2, model_options={"hidden": [3]}))
    assert (own.batch_size, own.lr, own.optimizer, own.weight_decay) == (7, 0.1, "sgd", 0.2)
    assert own.model_options == {"hidden": (3,)}
    assert resolve(Trial(objective="paper")).projection == "random"
    assert resolve(Trial(objective="paper", projection="pca")).projection == "pca"
    assert resolve(own) == own
