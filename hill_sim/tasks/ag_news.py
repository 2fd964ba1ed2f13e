"""AG's News: headlines and first sentences of news in four topics, as vectors of their words.

The common version 3 of Zhang et al.: `test.csv` (7,600 items) and `train.csv` (120,000). `ag_news` uses the 7,600
alone, split by us; `ag_news-full` trains on the 120,000 and tests on the 7,600, as is usual.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np

from hill_sim.tasks.base import Task
from hill_sim.tasks.card import Card, described
from hill_sim.tasks.fetch import download
from hill_sim.tasks.files import damaged, locate, missing, read_bytes
from hill_sim.tasks.splitting import stratified
from hill_sim.tasks.text import Texts, assemble, read_texts
from hill_sim.types import Array

FOLDERS = ("text/ag_news", "ag_news", "ag_news_csv")
URL = "https://raw.githubusercontent.com/mhjabreel/CharCnn_Keras/master/data/ag_news_csv/"
MD5 = {"train.csv": "b1a00f826fdfbd249f79597b59e1dc12", "test.csv": "d52ea96a97a2d943681189a97654912d"}
COLUMNS = ("class", "title", "description")
TOPICS = ("World", "Sports", "Business", "Sci/Tech")

CARD = Card(
    title="AG's News, 7,600 items in four topics",
    input="tf-idf and SVD of title and description, 128 numbers",
    source="http://www.di.unipi.it/~gulli/AG_corpus_of_news_articles.html",
    licence="research and other non-commercial use",
    citation="X. Zhang, J. Zhao, Y. LeCun, Character-level Convolutional Networks for Text Classification, NIPS 2015",
)
FULL = dataclasses.replace(CARD, title="AG's News, all 127,600 items in four topics")


def fetch(root: Path) -> list[Path]:
    """Download test.csv (1.8 MB)."""
    return [download(URL + "test.csv", root / FOLDERS[0] / "test.csv", f"md5:{MD5['test.csv']}")]


def fetch_full(root: Path) -> list[Path]:
    """Download test.csv and train.csv (29 MB)."""
    return [*fetch(root), download(URL + "train.csv", root / FOLDERS[0] / "train.csv", f"md5:{MD5['train.csv']}")]


def _find(task: str, name: str, card: Card) -> Path:
    path = locate(FOLDERS, name)
    if path is None:
        raise missing(task, name, FOLDERS[:1], card)
    return path


@described(CARD, fetch, lambda: _find("ag_news", "test.csv", CARD))
def load(
    features: str = "tfidf-svd",
    dimensions: int = 128,
    encoder: str = "all-MiniLM-L6-v2",
    train_per_class: int | None = None,
    label_noise: float = 0.0,
) -> Task:
    """AG's News, the common test file's 7,600 items, split 5,000 / 1,000 / 1,600 by us.

    Args:
        features, dimensions, encoder, train_per_class, label_noise: as in `text`.
    """
    texts, y = _read("ag_news", "test.csv", CARD)
    held, tested, train = stratified(y, [1_000 / 7_600, 1_600 / 7_600], "ag_news")
    rows = {"train": train, "validation": held, "test": tested}
    return assemble(
        "ag_news", texts.texts, y, TOPICS, rows, CARD, features=features, dimensions=dimensions, encoder=encoder,
        train_per_class=train_per_class, label_noise=label_noise, source_labels=("1", "2", "3", "4"),
    )  # fmt: skip


@described(FULL, fetch_full, lambda: [_find("ag_news-full", name, FULL) for name in MD5])
def load_full(
    features: str = "tfidf-svd",
    dimensions: int = 128,
    encoder: str = "all-MiniLM-L6-v2",
    train_per_class: int | None = None,
    label_noise: float = 0.0,
) -> Task:
    """AG's News, the usual split: 115,000 of the 120,000 training items, 5,000 to validate, the 7,600 to test.

    Args:
        features, dimensions, encoder, train_per_class, label_noise: as in `text`.
    """
    train_texts, train_y = _read("ag_news-full", "train.csv", FULL)
    test_texts, test_y = _read("ag_news-full", "test.csv", FULL)
    held, train = stratified(train_y, [5_000 / 120_000], "ag_news-full")
    rows = {"train": train, "validation": held, "test": len(train_y) + np.arange(len(test_y))}
    return assemble(
        "ag_news-full", train_texts.texts + test_texts.texts, np.concatenate([train_y, test_y]), TOPICS, rows,
        FULL, features=features, dimensions=dimensions, encoder=encoder, train_per_class=train_per_class,
        label_noise=label_noise, source_labels=("1", "2", "3", "4"),
    )  # fmt: skip


def _read(task: str, name: str, card: Card) -> tuple[Texts, Array]:
    path = _find(task, name, card)
    if hashlib.md5(read_bytes(path), usedforsecurity=False).hexdigest() != MD5[name]:
        raise damaged(path, f"not the published {name} (its MD5 differs); remove it: hill-sim data fetch {task}")
    texts = read_texts(path, ("title", "description"), "class", header=COLUMNS)
    for row, label in enumerate(texts.labels):
        if label not in ("1", "2", "3", "4"):
            raise damaged(path, f"row {row + 1}: class {label!r}, allowed: 1..4")
    return texts, np.array([int(label) - 1 for label in texts.labels], dtype=np.int64)
