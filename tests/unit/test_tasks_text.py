"""Texts to vectors, AG's News, and files that are something else."""

from __future__ import annotations

import lzma
import sys
import types
from collections.abc import Sequence
from pathlib import Path

import miniature
import numpy as np
import pytest
from numpy.testing import assert_allclose

from hill_sim.errors import HillError, InvalidInput, Unavailable
from hill_sim.tasks import ag_news, text
from hill_sim.tasks.splitting import stratified


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HILL_SIM_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    miniature.own(tmp_path)
    return tmp_path


@pytest.fixture
def news(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    sums = {name: miniature.ag_news_csv(root / "ag_news" / name, seed) for seed, name in enumerate(ag_news.MD5)}
    monkeypatch.setattr(ag_news, "MD5", sums)
    return root / "ag_news"


def test_texts_become_vectors_that_tell_classes_apart(root: Path) -> None:
    task = text.load("mine.csv", dimensions=8)
    assert task.class_names == ("topic 0", "topic 1", "topic 2")
    assert [len(s) for s in task.splits.values()] == [36, 12, 12]
    assert task.input_shape == (8,)
    assert_allclose(task.train.x.mean(dim=0).numpy(), 0, atol=1e-5)
    assert_allclose(task.train.x.std(dim=0, correction=0).numpy(), 1, atol=1e-4)
    centers = np.stack([task.train.x[task.train.y == c].mean(dim=0).numpy() for c in range(3)])
    nearest = ((task.test.x.numpy()[:, None] - centers) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == task.test.y.numpy()).mean() > 0.8


def test_held_out_texts_are_not_fitted_on(root: Path) -> None:
    before = text.load("mine.csv", dimensions=8)
    lines = (root / "mine.csv").read_text().splitlines()
    _, rows, _ = stratified(np.repeat(np.arange(3), 20), [0.2, 0.2], "text")
    for row in rows:  # all test texts say something else now
        lines[row + 1] = f"never heard of,topic {row // 20}"
    (root / "mine.csv").write_text("\n".join(lines) + "\n")
    after = text.load("mine.csv", dimensions=8)
    assert np.array_equal(before.train.x.numpy(), after.train.x.numpy())
    assert not np.array_equal(before.test.x.numpy(), after.test.x.numpy())


def test_columns_separators_and_packing(root: Path) -> None:
    rows = [(f"head{i % 3}", body, f"c{i % 3}") for i, body in enumerate(miniature.sentences(0, 60, 1))]
    tsv = "title\tbody\tkind\n" + "".join("\t".join(row) + "\n" for row in rows)
    (root / "mine.tsv.xz").write_bytes(lzma.compress(("\ufeff" + tsv).encode()))
    task = text.load("mine.tsv.xz", text=["title", "body"], label="kind", dimensions=4)
    assert task.class_names == ("c0", "c1", "c2")
    only_body = text.load("mine.tsv.xz", text="body", label="kind", dimensions=4)
    assert task.fingerprint != only_body.fingerprint


def test_ag_news(news: Path) -> None:
    task = ag_news.load(dimensions=8)
    assert task.class_names == ("World", "Sports", "Business", "Sci/Tech")
    assert task.label_mapping == {"1": 0, "2": 1, "3": 2, "4": 3}
    assert [len(s) for s in task.splits.values()] == [156, 32, 52]
    full = ag_news.load_full(dimensions=8)
    assert [len(s) for s in full.splits.values()] == [232, 8, 240]


def test_ag_news_that_is_something_else(news: Path) -> None:
    (news / "test.csv").write_text('"1","a","b"\n')
    with pytest.raises(InvalidInput, match=r"test.csv: not the published test.csv \(its MD5 differs\)"):
        ag_news.load()
    (news / "test.csv").unlink()
    with pytest.raises(Unavailable, match=r"no test.csv in .*hill-sim data fetch ag_news"):
        ag_news.load()


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("text,label\nhello,a\nworld\n", {}, "line 3: 1 fields, allowed: 2"),
        ("text,label\nhello,\n", {}, "line 2: the label is empty"),
        ("text,label\n ,a\n", {}, "line 2: the text is empty"),
        ('text,label\n"hello,a\n', {}, "line 2: unexpected end of data; truncated?"),
        ("text,label\n", {}, "no rows"),
        ("", {}, "column: unknown 'text'"),
        ("txt,label\nhello,a\n", {}, "unknown 'text'; did you mean 'txt'?"),
        ("text,label\nhello,a\n", {"label": "lable"}, "unknown 'lable'; did you mean 'label'?"),
        ("text,label\nhello,a\nworld,b\n", {}, "label 0 has 1 samples, too few for 3 splits"),
        (b"text,label\nhell\xff,a\n", {}, "line 2: byte 0xff is not UTF-8"),
    ],
)
def test_files_that_are_something_else(root: Path, content: str | bytes, options: dict[str, str], message: str) -> None:
    path = root / "bad.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InvalidInput) as caught:
        text.load("bad.csv", **options)  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "none.csv"}, "no file none.csv nor "),
        ({"path": "mine.csv", "dimensions": 1}, "task_options.dimensions"),
        ({"path": "mine.csv", "dimensions": 1000}, "is not below the"),
        ({"path": "mine.csv", "validation": 0.0}, "task_options.validation: 0.0 is not a number in (0, 1)"),
        ({"path": "mine.csv", "validation": 0.6, "test": 0.5}, "leave none"),
        ({"path": "mine.csv", "features": "tfidf"}, "did you mean 'tfidf-svd'?"),
        ({"path": "mine.csv", "text": 3}, "task_options.text: 3 is not a string"),
    ],
)
def test_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        text.load(**options)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_no_words_in_common(root: Path) -> None:
    (root / "odd.csv").write_text("text,label\n" + "".join(f"w{i},{'ab'[i % 2]}\n" for i in range(20)))
    with pytest.raises(InvalidInput, match="no words in common"):
        text.load("odd.csv", dimensions=2)


class Encoder:
    """What sentence-transformers offers, as far as it is used."""

    def __init__(self, name: str) -> None:
        if name == "nowhere":
            raise OSError("nowhere is not a local folder\nand more")

    def encode(self, texts: Sequence[str], show_progress_bar: bool) -> np.ndarray:
        return np.array([[len(t), t.count("o"), t.count("1")] for t in texts], dtype=np.float64)


def test_sentence_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(Unavailable, match=r"needs sentence-transformers: pip install 'hill-sim\[text\]'"):
        text.load("mine.csv", features="sentence")
    module = types.ModuleType("sentence_transformers")
    module.SentenceTransformer = Encoder  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
    task = text.load("mine.csv", features="sentence")
    assert task.input_shape == (3,)
    assert_allclose(task.train.x.mean(dim=0).numpy(), 0, atol=1e-5)
    with pytest.raises(HillError, match=r"task_options.encoder: 'nowhere' cannot be loaded"):
        text.load("mine.csv", features="sentence", encoder="nowhere")
