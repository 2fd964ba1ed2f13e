"""What a task must be: every breach is one line that names task, split, row and field."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hill_sim.errors import InvalidInput
from hill_sim.tasks import Split, Task, load_task
from hill_sim.tasks.base import load_anew
from hill_sim.tasks.labels import mapped
from hill_sim.tasks.splitting import by_group, stratified, subset, with_noise
from hill_sim.trial import Options


def split(n: int = 6, groups: int | None = None) -> Split:
    owners = None if groups is None else torch.arange(n) % groups
    return Split(torch.arange(2.0 * n).view(n, 2), torch.arange(n) % 2, owners)


def task() -> Task:
    return Task("mine", split(), split(4), split(4), ("a", "b"))


def changed(part: Split, **fields: torch.Tensor) -> Split:
    return replace(part, **fields)


NAN = torch.arange(12.0).view(6, 2)
NAN[4, 1] = math.nan


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"test": changed(split(), x=NAN)}, "task mine: test: row 4, feature [1]: nan is not a finite number"),
        ({"train": changed(split(), x=torch.zeros(5, 2))}, "train: 5 samples, 6 labels"),
        ({"validation": Split(torch.zeros(0, 2), torch.zeros(0).long())}, "validation: 0 samples, 0 labels"),
        ({"test": changed(split(), x=torch.zeros(6, 3))}, "test: samples have shape [3], those of train [2]"),
        ({"train": changed(split(), x=torch.zeros(6, 2).double())}, "train: samples are torch.float64"),
        ({"test": changed(split(), y=torch.tensor([0, 1, 2, 0, 1, 0]))}, "labels must be int64 in 0..1; row 2 has 2"),
        ({"test": changed(split(), y=-torch.ones(6).long())}, "labels must be int64 in 0..1; row 0 has -1"),
        (
            {"train": changed(split(), y=torch.zeros(6))},
            "labels must be int64 in 0..1, one a sample; given torch.float32",
        ),
        ({"class_names": ("a", "a")}, "class_names: 'a' stands there twice"),
        ({"class_names": ("a", "b", "c")}, "train: class 'c' has 0 samples; allowed: at least 2 of each class"),
        ({"train": split(3)}, "train: class 'b' has 1 samples; allowed: at least 2 of each class"),
        ({"source_labels": ("1",)}, "source_labels: 1 for 2 classes"),
        ({"group_names": ("anna",)}, "train: no groups, but the task names 1"),
        (
            {"train": split(6, groups=3), "group_names": ("anna", "ben")},
            "train: groups must be int64 in 0..1; row 2 has 2",
        ),
        ({"train": replace(split(), groups=torch.zeros(2).long()), "group_names": ("anna",)}, "2 groups for 6 samples"),
    ],
)
def test_breaches(fields: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        replace(task(), **fields)  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bad_feature_far_down_is_named_by_its_row() -> None:
    x = torch.zeros(10_000, 2, 2)
    x[9_999, 1, 0] = -math.inf
    with pytest.raises(InvalidInput, match=r"row 9999, feature \[1, 0\]: -inf"):
        Task("mine", Split(x, torch.arange(10_000) % 2), split(), split(), ("a", "b"))


def test_fingerprint_is_of_every_bit() -> None:
    same = {task().fingerprint, task().fingerprint, replace(task(), name="other").fingerprint}
    assert len(same) == 1
    x = split().x.clone()
    x[5, 1] = torch.nextafter(x[5, 1], torch.tensor(100.0))
    others = [
        replace(task(), train=replace(split(), x=x)),
        replace(task(), class_names=("a", "c")),
        replace(task(), test=replace(split(4), y=1 - split(4).y)),
    ]
    assert len({t.fingerprint for t in others} | same) == 4


def test_label_mapping() -> None:
    assert task().label_mapping == {"a": 0, "b": 1}
    assert replace(task(), source_labels=("7", "9")).label_mapping == {"7": 0, "9": 1}


PLUGIN = """
import torch
from hill_sim.tasks import Split, Task
from hill_sim.tasks.files import data_root

def load(shift, n=6):
    s = Split(torch.zeros(n, 2) + shift, torch.arange(n) % 2)
    return Task(str(data_root()), s, s, s, ("a", "b"))

def wrong():
    return 3

constant = 4
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(PLUGIN)
    return tmp_path / "mine.py"


def test_loading_is_remembered_by_name_options_and_data_root(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"{plugin}:load"
    first = load_task(name, Options(shift=1.0))
    assert load_task(name, Options(shift=1.0)) is first
    assert load_anew(name, {"shift": 1.0}) is not first
    assert load_task(name, Options(shift=2.0)).train.x[0, 0] == 2.0
    monkeypatch.setenv("HILL_SIM_DATA", "/elsewhere")
    assert load_task(name, Options(shift=1.0)).name == "/elsewhere"


@pytest.mark.parametrize(
    ("attribute", "options", "message"),
    [
        ("load", {"shitf": 1.0}, "unknown 'shitf'; did you mean 'shift'?"),
        ("load", {}, "needs the option 'shift'"),
        ("wrong", {}, "returned int, not a hill_sim.tasks.Task"),
        ("constant", {}, "is a int, not a function that returns a Task"),
    ],
)
def test_what_cannot_be_loaded(plugin: Path, attribute: str, options: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        load_task(f"{plugin}:{attribute}", Options(options))
    assert message in str(caught.value)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=200), st.floats(0.05, 0.45), st.floats(0.05, 0.45))
def test_stratified_splits_partition_and_keep_shares(labels: list[int], one: float, two: float) -> None:
    y = np.array(labels)
    counts = np.bincount(y)
    taken = [sum(max(1, round(share * n)) for share in (one, two)) for n in counts if n]
    if any(size >= n for size, n in zip(taken, counts[counts > 0], strict=True)):
        with pytest.raises(InvalidInput, match=r"too few|leave none"):
            stratified(y, [one, two], "mine")
        return
    parts = stratified(y, [one, two], "mine")
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(y)))
    for label in np.unique(y):
        n = counts[label]
        for part, share in zip(parts, (one, two), strict=False):
            assert (y[part] == label).sum() == max(1, round(share * n))
    again = stratified(y, [one, two], "mine")
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))
    assert all((np.diff(part) > 0).all() for part in parts)


def test_by_group_keeps_groups_whole() -> None:
    groups = np.arange(100) % 10
    parts = by_group(groups, [0.2, 0.3], "mine")
    owners = [set(groups[part].tolist()) for part in parts]
    assert [len(o) for o in owners] == [2, 3, 5]
    assert len(set.union(*owners)) == 10
    with pytest.raises(InvalidInput, match="of 2 groups leave none to train on"):
        by_group(groups % 2, [0.2, 0.2], "mine")


def test_subset_and_noise() -> None:
    labels = np.arange(100) % 4
    rows = np.arange(0, 100, 2)
    kept = subset(rows, labels, 3, "train_per_class", "mine")
    assert set(kept) <= set(rows)
    assert np.bincount(labels[kept]).tolist() == [3, 0, 3]
    assert subset(rows, labels, None, "train_per_class", "mine") is rows
    noisy = with_noise(labels, 0.25, 4, "mine")
    assert (noisy != labels).sum() == 25
    assert noisy.min() >= 0
    assert noisy.max() <= 3
    assert np.array_equal(labels, np.arange(100) % 4)
    for share in (-0.1, 1.0, True, "much"):
        with pytest.raises(InvalidInput, match=r"task_options\.label_noise"):
            with_noise(labels, share, 4, "mine")  # type: ignore[arg-type]


def test_labels_are_mapped_in_order_and_shown(caplog: pytest.LogCaptureFixture) -> None:
    y, names = mapped("mine", ["10", "9", "-1", "9"])
    assert (y.tolist(), names) == ([2, 1, 0, 1], ("-1", "9", "10"))
    assert caplog.messages == ["mine: labels mapped: '-1' -> 0, '9' -> 1, '10' -> 2"]
    caplog.clear()
    y, names = mapped("mine", ["b", "a10", "a9", "nan"])
    assert (y.tolist(), names) == ([2, 0, 1, 3], ("a10", "a9", "b", "nan"))
    caplog.clear()
    assert mapped("mine", ["0", "2", "1"])[0].tolist() == [0, 2, 1]
    assert not caplog.messages, "labels that are 0..C-1 already need no word"
