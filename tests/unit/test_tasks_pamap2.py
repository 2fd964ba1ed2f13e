"""PAMAP2's rules on generated files: columns, gaps, splits, statistics; and files that are not what they should be."""

from __future__ import annotations

import lzma
from pathlib import Path

import miniature
import numpy as np
import pytest
from numpy.testing import assert_allclose

from hill_sim.errors import HillError, InvalidInput, Unavailable
from hill_sim.tasks import Split, pamap2, pamap2_file
from hill_sim.tasks.pamap2_file import CHANNELS, read_dat

KINDS = pamap2.ACTIVITIES


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HILL_SIM_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def file_of(subject: int, root: Path) -> Path:
    return root / "PAMAP2_Dataset" / "Protocol" / f"subject{100 + subject}.dat"


def test_columns_are_those_of_the_paper() -> None:
    # from 1: hand 4-20, chest 21-37, ankle 38-54; in each 2-4 acceleration 16 g, 8-10 gyroscope, 11-13 magnetometer
    hand = [5, 6, 7, 11, 12, 13, 14, 15, 16]
    assert [c + 1 for c in CHANNELS] == [*hand, *(c + 17 for c in hand), *(c + 34 for c in hand)]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("block", [1 << 12, 8 << 20])
def test_reads_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool, block: int) -> None:
    monkeypatch.setattr(pamap2_file, "_BLOCK", block)
    table = miniature.pamap_rows([1, 24, 0], 50, seed=3)
    path = tmp_path / "subject101.dat"
    miniature.write_dat(path, table)
    if packed:
        path.with_suffix(".dat.xz").write_bytes(lzma.compress(path.read_bytes()))
        path = path.with_suffix(".dat.xz")
    found = read_dat(path, KINDS)
    assert found["values"].dtype == np.float32
    assert_allclose(found["values"], table[:, CHANNELS], atol=6e-4)
    assert np.isnan(found["values"]).any()
    assert found["activity"].tolist() == table[:, 1].tolist()
    assert_allclose(found["time"], table[:, 0], atol=1e-6)


def test_people_windows_and_statistics(tmp_path: Path) -> None:
    for subject in (1, 2, 3):
        miniature.pamap(file_of(subject, tmp_path), [0, 1, 2, 24], 60, subject)
    for subject in (1, 2):  # one class is enough to see who is where: the others are trained on as well
        assert file_of(subject, tmp_path).is_file()
    with pytest.raises(InvalidInput, match="train: class 'standing' has 0 samples"):
        pamap2.load(train=(1,), validation=(2,), test=(3,), window=20, step=10)


@pytest.fixture
def whole(places: Path) -> Path:
    for subject in (1, 2, 3):
        miniature.pamap(file_of(subject, places), KINDS, 60, subject)
    return places


def test_the_task(whole: Path) -> None:
    task = pamap2.load(train=(1,), validation=(2,), test=(3,), window=20, step=10)
    assert task.n_classes == 12
    assert "other" not in task.class_names
    assert task.source_labels[-1] == "24"
    assert task.input_shape == (27, 20)
    assert task.groups_apart
    assert [task.group_names[g] for s in task.splits.values() for g in set(s.groups.tolist())] == [  # type: ignore[union-attr]
        "subject 101", "subject 102", "subject 103"
    ]  # fmt: skip
    assert np.bincount(task.train.y.numpy()).tolist() == [5] * 12, "windows at 0, 10, .., 40 of each run of 60"
    with_other = pamap2.load(train=(1,), validation=(2,), test=(3,), window=20, step=10, other=True)
    assert with_other.class_names[0] == "other"
    assert len(with_other.train) == 65


def test_statistics_are_the_training_peoples(whole: Path) -> None:
    task = pamap2.load(train=(1,), validation=(2,), test=(3,), window=30, step=30)
    assert_allclose(task.train.x.mean(dim=(0, 2)).numpy(), 0, atol=1e-5)
    assert_allclose(task.train.x.std(dim=(0, 2), correction=0).numpy(), 1, atol=1e-5)
    again = pamap2.load(train=(1,), validation=(2,), test=(3,), window=30, step=30)
    assert task.fingerprint == again.fingerprint
    miniature.pamap(file_of(3, whole), KINDS, 60, 99)  # other test data
    other = pamap2.load(train=(1,), validation=(2,), test=(3,), window=30, step=30)
    assert np.array_equal(task.train.x.numpy(), other.train.x.numpy()), "test data must not reach the training split"
    assert not np.array_equal(task.test.x.numpy(), other.test.x.numpy())


def test_no_window_crosses_a_gap_or_a_change(whole: Path) -> None:
    table = miniature.pamap_rows(list(KINDS), 60, 1)
    table = np.delete(table, np.arange(60 + 30, 60 + 33), axis=0)  # 30 ms are missing in "lying"
    miniature.write_dat(file_of(1, whole), table)
    task = pamap2.load(train=(1,), validation=(2,), test=(3,), window=20, step=10)
    assert np.bincount(task.train.y.numpy()).tolist() == [3, *[5] * 11], "windows at 0, 10 and at 33"


def test_excerpt_splits_in_time(places: Path, caplog: pytest.LogCaptureFixture) -> None:
    miniature.pamap(places / "pamap2_excerpt" / "subject101_excerpt.dat", KINDS, 100, 0)
    task = pamap2.load_excerpt(window=10, step=5)
    assert [np.bincount(s.y.numpy()).tolist() for s in task.splits.values()] == [[11] * 13, [3] * 13, [3] * 13]
    assert "supports no conclusion" in caplog.text
    assert task.card is not None
    assert "no conclusion" in task.card.note


def rows_of(text: str) -> str:
    good = " ".join(["5.00", "1", *["0.5"] * 52])
    return "\n".join([good] * 3 + [text] + [good]) + "\n"


GOOD = ["5.00", "1", *["0.5"] * 52]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (rows_of(" ".join(GOOD[:30])), "row 4: 30 columns, allowed: 54"),
        (rows_of(" ".join([*GOOD, "1"])), "row 4: 55 columns, allowed: 54"),
        (rows_of(" ".join([*GOOD[:4], "oops", *GOOD[5:]])), "row 4: column 5: 'oops' is not a number"),
        (rows_of(" ".join(["5.00", "99", *GOOD[2:]])), "row 4: activity id 99 is not one of PAMAP2's"),
        (rows_of(" ".join(["5.00", "NaN", *GOOD[2:]])), "row 4: activity id nan is not one of PAMAP2's"),
        (rows_of(" ".join(["NaN", *GOOD[1:]])), "row 4: timestamp nan"),
        ("", "Empty CSV file"),
        ("a,b,c\n1,2,3\n", "row 1: 1 columns, allowed: 54"),
        (rows_of("")[: -len(rows_of("")) // 10], "row"),
    ],
)
def test_files_that_are_something_else(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "subject101.dat"
    path.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        read_dat(path, KINDS)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rows_are_counted_through_the_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pamap2_file, "_BLOCK", 1 << 12)
    path = tmp_path / "subject101.dat"
    path.write_text("\n".join([" ".join(GOOD)] * 1000 + [" ".join(GOOD[:7])]) + "\n")
    with pytest.raises(InvalidInput, match="row 1001: 7 columns"):
        read_dat(path, KINDS)


def test_a_truncated_xz(tmp_path: Path) -> None:
    path = tmp_path / "subject101.dat.xz"
    rng = np.random.default_rng(0)
    text = "\n".join(" ".join([*GOOD[:2], *map(str, rng.random(52).round(4))]) for _ in range(200))
    path.write_bytes(lzma.compress(text.encode())[:-2000])
    with pytest.raises(InvalidInput, match=r"subject101.dat.xz: .*damaged or end too early"):
        read_dat(path, KINDS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 61}, "subject101: no run of one activity is 61 samples long without a gap: no valid window"),
        ({"train": (1, 2)}, "task_options.validation: 2 is in train already"),
        ({"test": ()}, "task_options.test: () is not a list"),
        ({"test": (10,)}, "task_options.test: unknown 10"),
        ({"train": (1, 1)}, "task_options.train: [1, 1] names something twice"),
        ({"step": 0}, "task_options.step: 0 is not an integer >= 1"),
        ({"other": 1}, "task_options.other: 1 is not true or false"),
        ({"train": (1, 9)}, "no subject109.dat in"),
    ],
)
def test_options(whole: Path, options: dict[str, object], message: str) -> None:
    given = {"train": (1,), "validation": (2,), "test": (3,), **options}
    with pytest.raises(HillError) as caught:
        pamap2.load(**given)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_the_excerpt_is_no_stand_in(places: Path) -> None:
    miniature.pamap(places / "pamap2_excerpt" / "subject101_excerpt.dat", KINDS, 100, 0)
    with pytest.raises(Unavailable, match="the excerpt there is another task: pamap2-excerpt"):
        pamap2.load()


def test_parsed_once(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    people = {"train": (1,), "validation": (2,), "test": (3,)}
    first: Split = pamap2.load(**people, window=20, step=10).train  # type: ignore[arg-type]
    monkeypatch.setattr(pamap2, "read_dat", None)  # would raise if it were called
    second = pamap2.load(**people, window=20, step=10).train  # type: ignore[arg-type]
    assert np.array_equal(first.x.numpy(), second.x.numpy())
