"""One's own arrays and tables: every kind of file gives the same task, and every mistake is named."""

from __future__ import annotations

import io
import lzma
from pathlib import Path

import miniature
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from hill_sim.errors import InvalidInput
from hill_sim.tasks import arrays


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HILL_SIM_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(root: Path, table: pd.DataFrame | None = None) -> None:
    table = miniature.table() if table is None else table
    table.to_csv(root / "t.csv", index=False)
    (root / "t.csv.xz").write_bytes(lzma.compress((root / "t.csv").read_bytes()))
    table.to_csv(root / "t.tsv", index=False, sep="\t")
    table.to_parquet(root / "t.parquet")
    x, y = table[["a", "b"]].to_numpy(), table["label"].to_numpy().astype(str)
    person = table["person"].to_numpy().astype(str)
    np.savez(root / "t.npz", x=x, y=y, person=person)
    np.save(root / "t_x.npy", x)
    np.save(root / "t_y.npy", y)
    np.save(root / "who.npy", person)


def test_every_kind_of_file_gives_the_same_task(root: Path) -> None:
    write(root)
    given = {"t.csv": "person", "t.csv.xz": "person", "t.tsv": "person", "t.parquet": "person", "t.npz": "person",
             "t_x.npy": "who.npy"}  # fmt: skip
    tasks = {name: arrays.load(name, group=group) for name, group in given.items()}
    assert len({task.fingerprint for task in tasks.values()}) == 1
    task = tasks["t.csv"]
    assert task.class_names == ("ant", "bee", "cat")
    assert task.group_names == tuple(f"p{i}" for i in range(10))
    assert [len(s) for s in task.splits.values()] == [72, 24, 24]
    assert_allclose(task.train.x.mean(dim=0).numpy(), 0, atol=1e-5)
    assert_allclose(task.train.x.std(dim=0, correction=0).numpy(), 1, atol=1e-5)


def test_groups_can_be_held_out(root: Path) -> None:
    write(root)
    task = arrays.load("t.csv", group="person", hold_out="groups")
    owners = [set(s.groups.tolist()) for s in task.splits.values()]  # type: ignore[union-attr]
    assert [len(o) for o in owners] == [6, 2, 2]
    assert len(set.union(*owners)) == 10
    assert task.groups_apart


def test_a_column_can_say_the_split(root: Path) -> None:
    table = miniature.table()
    table["part"] = ["train"] * 60 + ["validation"] * 30 + ["test"] * 30
    table.to_csv(root / "t.csv", index=False)
    task = arrays.load("t.csv", split="part", features=["a", "b"], standardise=False)
    assert [len(s) for s in task.splits.values()] == [60, 30, 30]
    assert_allclose(task.test.x.numpy(), table.loc[90:, ["a", "b"]].to_numpy(), rtol=1e-6)
    table["part"] = ["train"] * 90 + ["test"] * 30
    table.to_csv(root / "t.csv", index=False)
    carved = arrays.load("t.csv", split="part", features=["a", "b"], standardise=False)
    assert [len(s) for s in carved.splits.values()] == [72, 18, 30]
    both = np.concatenate([carved.train.x.numpy(), carved.validation.x.numpy()])
    assert sorted(map(tuple, both)) == sorted(map(tuple, table.loc[:89, ["a", "b"]].to_numpy().astype(np.float32)))


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (np.arange(120) % 3, ("0", "1", "2")),
        (np.arange(120) % 3 * 10 - 1, ("-1", "9", "19")),
        ((np.arange(120) % 3).astype(np.float64), ("0", "1", "2")),
        (np.arange(120) % 2 == 0, ("False", "True")),
        (np.array([b"x", b"y"] * 60), ("x", "y")),
    ],
)
def test_labels_of_any_kind(root: Path, labels: np.ndarray, names: tuple[str, ...]) -> None:
    np.savez(root / "t.npz", x=np.random.default_rng(0).normal(size=(120, 2)), y=labels)
    task = arrays.load("t.npz")
    assert task.class_names == names
    assert task.label_mapping == {name: i for i, name in enumerate(names)}


def test_images_are_standardised_by_channel(root: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(root / "t.npz", images=rng.integers(0, 255, (60, 3, 4, 4)).astype(np.uint8), kind=np.arange(60) % 2)
    task = arrays.load("t.npz", features="images", label="kind")
    assert task.input_shape == (3, 4, 4)
    assert_allclose(task.train.x.mean(dim=(0, 2, 3)).numpy(), 0, atol=1e-5)
    assert_allclose(task.train.x.std(dim=(0, 2, 3), correction=0).numpy(), 1, atol=1e-5)


def test_a_constant_feature_becomes_zero(root: Path) -> None:
    table = miniature.table().assign(b=7.1)
    table.to_csv(root / "t.csv", index=False)
    task = arrays.load("t.csv", group="person")
    assert all(np.abs(s.x[:, 1].numpy()).max() < 1e-4 for s in task.splits.values())


def csv_with(change: dict[str, object] | None = None, **more: object) -> bytes:
    table = miniature.table().astype(object)
    for place, value in (change or {}).items():
        column, row = place.split("@")
        table.loc[int(row), column] = value
    for name, value in more.items():
        table[name] = value
    return table.to_csv(index=False).encode()


def npz(**content: object) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **content)  # type: ignore[arg-type]
    return stream.getvalue()


X, Y = np.zeros((60, 2)), np.arange(60) % 2
BAD = np.zeros((60, 2, 2))
BAD[33, 1, 0] = np.inf
PARQUET = io.BytesIO()
miniature.table().to_parquet(PARQUET)


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("t.csv", csv_with({"a@5": "oops"}), {}, "line 7: column 'a': 'oops' is not a number"),
        ("t.csv", csv_with({"a@5": None}), {"features": ["a"]}, "row 6, column 'a': nan is not a finite number"),
        ("t.csv", csv_with({"b@5": "inf"}), {"features": ["a", "b"]}, "row 6, column 'b': inf is not a finite number"),
        ("t.csv", csv_with({"label@5": None}), {"features": ["a"]}, "row 6: the label is missing"),
        ("t.csv", csv_with({"person@5": ""}), {"features": ["a"], "group": "person"}, "row 6: the group is missing"),
        ("t.csv", csv_with(), {}, "column 'person': 'p0' is not a number; choose the numeric columns with features"),
        ("t.csv", csv_with(), {"label": "lable"}, "unknown 'lable'; did you mean 'label'?"),
        ("t.csv", csv_with(), {"features": ["a", "c"]}, "column: unknown 'c'"),
        ("t.csv", csv_with(), {"features": ["a", "label"]}, "features are ['a', 'label']"),
        ("t.csv", csv_with(), {"group": "label"}, "label, group and split are ['label', 'label']"),
        ("t.csv", csv_with()[:-9], {"group": "person"}, "line 121: 2 fields, allowed: 4; truncated?"),
        ("t.csv", b"", {}, "line 1: no header"),
        ("t.csv", b"a,a,label\n1,2,x\n", {}, "line 1: the column 'a' stands there twice"),
        ("t.csv", b"a,label\n", {}, "no samples"),
        (
            "t.csv",
            csv_with(part="trian"),
            {"split": "part", "features": ["a"]},
            "row 1: split: unknown 'trian'; did you",
        ),
        ("t.csv", csv_with(part="train"), {"split": "part", "features": ["a"]}, "no sample has the split 'test'"),
        ("t.csv", csv_with({"label@5": "once"}), {"group": "person"}, "label 3 has 1 samples, too few for 3 splits"),
        ("t.csv", csv_with(), {"hold_out": "groups", "features": ["a"]}, "'groups' needs the option group"),
        ("t.npz", npz(x=X, y=Y)[:-30], {}, "not a whole .npz of plain arrays"),
        ("t.npz", b"no zip", {}, "it is no zip archive"),
        ("t.npz", npz(x=X, labels=Y), {}, "array: unknown 'y' (allowed: labels, x)"),
        ("t.npz", npz(x=X, y=Y[:50]), {}, "labels have shape [50], allowed: [60]"),
        ("t.npz", npz(x=X[:, 0], y=Y), {}, "samples have shape [60] and type float64; allowed: [N, ...]"),
        ("t.npz", npz(x=X.astype(complex), y=Y), {}, "type complex128; allowed: [N, ...], real numbers"),
        ("t.npz", npz(x=X, y=np.where(Y, np.nan, 1.0)), {}, "row 2: the label is missing"),
        ("t.npz", npz(x=BAD, y=Y), {}, "row 34, feature [1, 0]: inf is not a finite number"),
        ("t.npz", npz(x=X, y=Y.astype(object)), {}, "not a whole .npz of plain arrays"),
        ("t.parquet", PARQUET.getvalue()[:-20], {}, "not a whole Parquet file"),
        ("t.parquet", b"PAR1 no more", {}, "not a whole Parquet file"),
        ("t.parquet", PARQUET.getvalue(), {}, "column 'person' holds"),
        ("t.xlsx", b"", {}, "kind '.xlsx', allowed: .npz, .npy, .csv"),
        (
            "t.csv",
            csv_with(),
            {"train_per_class": 1, "features": ["a"]},
            "class 'ant' has 1 samples; allowed: at least 2",
        ),
    ],
)
def test_files_that_are_something_else(
    root: Path, name: str, content: bytes, options: dict[str, object], message: str
) -> None:
    (root / name).write_bytes(content)
    with pytest.raises(InvalidInput) as caught:
        arrays.load(name, **options)  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_npy_pairs_that_do_not_fit(root: Path) -> None:
    np.save(root / "x.npy", X)
    with pytest.raises(InvalidInput, match=r"task_options.label: no file .*y.npy"):
        arrays.load("x.npy")
    (root / "y.npy").write_bytes((root / "x.npy").read_bytes()[:-10])
    with pytest.raises(InvalidInput, match=r"y.npy: not a whole .npy"):
        arrays.load("x.npy")
    np.save(root / "data.npy", X)
    with pytest.raises(InvalidInput, match=r"task_options.label: needed beside data.npy"):
        arrays.load("data.npy")


def test_a_group_in_two_splits(root: Path) -> None:
    (root / "t.csv").write_bytes(csv_with(part=["train"] * 60 + ["validation"] * 30 + ["test"] * 30))
    with pytest.raises(InvalidInput, match=r"row 61: group 'p0' is in train and in validation"):
        arrays.load("t.csv", group="person", split="part", features=["a"], hold_out="groups")
