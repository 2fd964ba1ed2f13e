"""Any labelled text file: each text becomes a vector, by tf-idf and SVD or by a sentence encoder.

A file is a CSV or TSV (plain or .xz) with a column of labels and one or more columns of text, which are joined.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hill_sim.errors import InvalidInput, unknown
from hill_sim.tasks import options
from hill_sim.tasks.base import Recipe, Split, Task
from hill_sim.tasks.card import Card, described
from hill_sim.tasks.files import damaged, read_text
from hill_sim.tasks.labels import mapped
from hill_sim.tasks.splitting import stratified, subset, with_noise
from hill_sim.tasks.text_features import FEATURES, features_of
from hill_sim.tasks.user_file import user_file
from hill_sim.trial import Options
from hill_sim.types import Array

CARD = Card(title="A labelled text file of one's own", input="text vector, 128 numbers")


@dataclass(frozen=True)
class Texts:
    """Texts and their labels, as they stand in a file."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]


@described(CARD)
def load(
    path: str,
    text: str | Sequence[str] = "text",
    label: str = "label",
    validation: float = 0.2,
    test: float = 0.2,
    features: str = "tfidf-svd",
    dimensions: int = 128,
    encoder: str = "all-MiniLM-L6-v2",
    train_per_class: int | None = None,
    label_noise: float = 0.0,
) -> Task:
    """A labelled text file of one's own: CSV or TSV with a header, plain or .xz.

    Args:
        path: the file, from here or below the data root.
        text: its column of text, or a list of columns, which are joined.
        label: its column of labels, any strings; sorted, they become 0..C-1.
        validation, test: share in (0,1) of each class that is held out for each.
        features: `tfidf-svd`, fitted on the training texts, or `sentence`, a pretrained encoder (an extra).
        dimensions: of the vectors under `tfidf-svd`, 2..1,000.
        encoder: of sentence-transformers, under `sentence`.
        train_per_class: keep only this many training texts of each class.
        label_noise: share in [0,1) of the training labels that are replaced by a wrong class.
    """
    file = user_file(path, "task_options.path")
    columns = [options.text("text", name) for name in (text if isinstance(text, list | tuple) else [text])]
    given = read_texts(file, columns, options.text("label", label))
    y, names = mapped("text", given.labels)
    held, tested, train = stratified(y, [options.share("validation", validation), options.share("test", test)], "text")
    rows = {"train": train, "validation": held, "test": tested}
    return assemble(
        "text", given.texts, y, names, rows, CARD,
        features=features, dimensions=dimensions, encoder=encoder, train_per_class=train_per_class,
        label_noise=label_noise,
    )  # fmt: skip


def assemble(
    name: str,
    texts: Sequence[str],
    y: Array,
    class_names: tuple[str, ...],
    rows: dict[str, Array],
    card: Card,
    *,
    features: str,
    dimensions: int,
    encoder: str,
    train_per_class: int | None,
    label_noise: float,
    source_labels: tuple[str, ...] = (),
) -> Task:
    """The task of texts and labels y [N] int64 that are split by `rows`; vectors are fitted on the training rows."""
    options.choice("features", features, FEATURES)
    options.integer("dimensions", dimensions, 2, 1000)
    rows = {**rows, "train": subset(rows["train"], y, train_per_class, "train_per_class", name)}
    labels = with_noise(y[rows["train"]], label_noise, len(class_names), name)
    vectors = features_of(name, texts, rows["train"], features, dimensions, encoder)

    def split(part: str) -> Split:
        chosen = labels if part == "train" else y[rows[part]]
        return Split(torch.from_numpy(np.array(vectors[rows[part]])), torch.from_numpy(chosen))

    return Task(
        name=name,
        train=split("train"),
        validation=split("validation"),
        test=split("test"),
        class_names=class_names,
        recipe=Recipe(model_options=Options(hidden=(128, 64)), batch_size=64, lr=3e-4, weight_decay=1e-2),
        source_labels=source_labels,
        card=card,
    )


def read_texts(path: Path, columns: Sequence[str], label: str, header: Sequence[str] | None = None) -> Texts:
    """Texts of a CSV or TSV; columns are joined by a space.

    Args:
        header: the columns' names, for a file without a header line.

    Raises:
        InvalidInput: a missing column, a row with another number of fields, an empty label or text: names the line.
    """
    lines = read_text(path).splitlines(keepends=True)
    tabs = path.name.removesuffix(".xz").endswith((".tsv", ".tab"))
    reader = csv.reader(lines, delimiter="\t" if tabs else ",", strict=True)
    texts, labels = [], []
    try:
        names = list(header) if header is not None else next(reader, [])
        for name in (*columns, label):
            if name not in names:
                raise InvalidInput(f"{path}: {unknown('column', name, names)}")
        places, target = [names.index(name) for name in columns], names.index(label)
        for fields in reader:
            if not fields:
                continue
            if len(fields) != len(names):
                raise damaged(path, f"line {reader.line_num}: {len(fields)} fields, allowed: {len(names)}")
            joined = " ".join(fields[place] for place in places).strip()
            for what, value in (("label", fields[target].strip()), ("text", joined)):
                if not value:
                    raise damaged(path, f"line {reader.line_num}: the {what} is empty")
            texts.append(joined)
            labels.append(fields[target].strip())
    except csv.Error as error:
        raise damaged(path, f"line {reader.line_num}: {error}; truncated?") from None
    if not texts:
        raise damaged(path, "no rows")
    return Texts(tuple(texts), tuple(labels))
