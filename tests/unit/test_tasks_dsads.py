"""Daily and Sports Activities: both layouts, and what can be wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import miniature
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from hill_sim.errors import HillError, InvalidInput
from hill_sim.tasks import dsads

PEOPLE = {"train": (1,), "validation": (2,), "test": (3,), "segments": 1}


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HILL_SIM_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def tables(root: Path) -> Path:
    for person in (1, 2, 3):
        miniature.dsads_csv(root / "dsads" / f"p{person}.csv", person)
    return root / "dsads"


def archive(root: Path, segments: int = 1) -> Path:
    """The archive's layout: a01/p1/s01.txt with 125 rows x 45 columns, no header."""
    folder = root / "dsads" / "data"
    for person in (1, 2, 3):
        table = miniature.dsads_table(person, segments)
        for (activity, segment), block in table.groupby(["activity", "segment"]):
            path = folder / f"a{activity:02d}" / f"p{person}" / f"s{segment:02d}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            block.iloc[:, 2:].to_csv(path, header=False, index=False)
    return folder


@pytest.mark.slow
def test_both_layouts_give_the_same(tables: Path, root: Path) -> None:
    from_tables = dsads.load(**PEOPLE, window=50)  # type: ignore[arg-type]
    for path in tables.iterdir():
        path.unlink()
    archive(root)
    from_archive = dsads.load(**PEOPLE, window=50)  # type: ignore[arg-type]
    assert from_archive.fingerprint == from_tables.fingerprint
    all_units = dsads.load(**PEOPLE, window=50, units=dsads.UNITS)  # type: ignore[arg-type]
    assert all_units.input_shape == (45, 50)


def test_windows(tables: Path) -> None:
    task = dsads.load(**PEOPLE, window=50, step=25)  # type: ignore[arg-type]
    assert task.input_shape == (27, 50)
    assert np.bincount(task.test.y.numpy()).tolist() == [4] * 19
    assert task.group_names == ("p1", "p2", "p3")
    assert [set(s.groups.tolist()) for s in task.splits.values()] == [{0}, {1}, {2}]  # type: ignore[union-attr]
    assert_allclose(task.train.x[:, :, :25].mean(dim=(0, 2)).numpy(), 0, atol=0.1)
    raw = miniature.dsads_table(3)["RA_ygyro"].to_numpy()[4 * 125 + 25 : 4 * 125 + 75]
    x = task.test.x[4 * 4 + 1, 9 + 4].numpy()  # the second window of activity 5, right arm, y of the gyroscope
    assert np.corrcoef(raw, x)[0, 1] == pytest.approx(1, abs=1e-6)


def test_summary(tables: Path) -> None:
    task = dsads.load(**PEOPLE, features="summary", window=100)  # type: ignore[arg-type]
    assert task.input_shape == (108,)
    windows = dsads.load(**PEOPLE, window=100)  # type: ignore[arg-type]
    assert_allclose(task.test.x[0, :27], windows.test.x[0].mean(dim=1), atol=1e-6)


def broken(column: str, row: int, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        table = table.astype(object)
        table.loc[row, column] = value
        return table

    return change


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (broken("RA_xacc", 7, "oops"), "line 9, column RA_xacc: 'oops' is not a number"),
        (broken("RA_xacc", 7, None), "line 9, column RA_xacc: nan is not a number"),
        (broken("RA_xacc", 7, "inf"), "line 9, column RA_xacc"),
        (lambda t: t.drop(columns="RL_zmag"), "no column 'RL_zmag' (it has: activity, segment, T_xacc"),
        (lambda t: t.iloc[:-10], "activity 19, segment 1: 115 rows, allowed: 125; truncated?"),
        (lambda t: t[t["activity"] != 5], "activity 5, segment 1: 0 rows"),
        (lambda t: pd.concat([t, t.iloc[-1:].assign(activity=20)]), "activities other than 1..19"),
    ],
)
def test_tables_that_are_something_else(
    tables: Path, change: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    path = tables / "p2.csv"
    change(pd.read_csv(path)).to_csv(path, index=False)
    with pytest.raises(InvalidInput) as caught:
        dsads.load(**PEOPLE)  # type: ignore[arg-type]
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_a_table_cut_in_a_row(tables: Path) -> None:
    path = tables / "p1.csv"
    path.write_text(path.read_text()[:-40])
    with pytest.raises(InvalidInput, match=r"p1.csv: line 2376, column .*nan is not a number"):
        dsads.load(**PEOPLE)  # type: ignore[arg-type]
    path.write_text("")
    with pytest.raises(InvalidInput, match=r"p1.csv: no table of comma-separated numbers"):
        dsads.load(**PEOPLE)  # type: ignore[arg-type]


@pytest.mark.slow
def test_segments_that_are_something_else(root: Path) -> None:
    folder = archive(root)
    path = folder / "a03" / "p2" / "s01.txt"
    good = path.read_text()
    path.write_text("\n".join(good.splitlines()[:100]))
    with pytest.raises(InvalidInput, match=r"s01.txt: 100 rows of 45 columns; allowed: 125 rows of 45"):
        dsads.load(**PEOPLE)  # type: ignore[arg-type]
    path.write_text(good.replace(",", ";"))
    with pytest.raises(InvalidInput, match=r"125 rows of 1 columns"):
        dsads.load(**PEOPLE)  # type: ignore[arg-type]
    path.unlink()
    with pytest.raises(HillError, match=r"no s01.txt in .*a03/p2"):
        dsads.load(**PEOPLE)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test": (1,)}, "task_options.test: 1 is in train already"),
        ({"units": ("T", "XX")}, "task_options.units: unknown 'XX'"),
        ({"window": 126}, "task_options.window: 126 is not an integer in 2..125"),
        ({"features": "sumary"}, "did you mean 'summary'?"),
        ({"segments": 2}, "activity 1, segment 2: 0 rows"),
        ({"train": (8,)}, "no a01/p8/s01.txt nor p8.csv in"),
        ({"units": ("LA",)}, "no column 'LA_xacc'"),
    ],
)
def test_options(tables: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(HillError) as caught:
        dsads.load(**{**PEOPLE, **options})  # type: ignore[arg-type]
    assert message in str(caught.value)
