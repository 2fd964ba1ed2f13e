"""Tiny data sets in the formats of the real ones, generated: tests need neither network nor downloads.

The values are noise around one center per class, so that something can be learnt. Checksums of the published files
are replaced by those of the generated ones while `installed` lasts; everything else is read as the real thing is.
"""

from __future__ import annotations

import csv
import hashlib
import io
import lzma
import pickle
import tarfile
import wave
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from torchvision.datasets import CIFAR10

from hill_sim.tasks import ag_news, dsads, pamap2, spoken_digits

OPTIONS: dict[str, dict[str, Any]] = {
    "digits": {},
    "cifar10": {"validation": 10_000, "train_per_class": 10},
    "cifar10-small": {"train_per_class": 5},
    "pamap2": {"window": 20, "step": 10},
    "pamap2-excerpt": {"window": 8, "step": 4},
    "dsads": {"segments": 1, "window": 50},
    "dsads-summary": {"segments": 1},
    "spoken_digits": {},
    "ag_news": {"dimensions": 8},
    "ag_news-full": {"dimensions": 8},
    "text": {"path": "mine.csv", "dimensions": 8},
    "arrays": {"path": "mine.parquet", "group": "person", "hold_out": "groups"},
}
"""Options with which each registered task loads from the miniatures."""


@contextmanager
def installed(root: Path) -> Iterator[Path]:
    """Write all miniatures below `root`, and let tasks find them and cache beside them while the context lasts."""
    sums = cifar10(root / "cifar-10-batches-py")
    for subject in range(1, 9):
        pamap(root / "PAMAP2_Dataset" / "Protocol" / f"subject{100 + subject}.dat", pamap2.ACTIVITIES, 60, subject)
        dsads_csv(root / "dsads" / f"p{subject}.csv", subject)
    excerpt = list(pamap2.ACTIVITIES)
    for i, subject in enumerate((101, 102)):
        path = root / "pamap2_excerpt" / f"subject{subject}_excerpt.dat"
        pamap(path, excerpt[i::2], 100, subject)
    recordings(root / "fsdd" / "recordings.tar.xz")
    news = {name: ag_news_csv(root / "ag_news" / name, seed) for seed, name in enumerate(ag_news.MD5)}
    own(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HILL_SIM_DATA", str(root))
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        accept_cifar10(patch, sums)
        patch.setattr(ag_news, "MD5", news)
        yield root


def accept_cifar10(patch: pytest.MonkeyPatch, sums: dict[str, str]) -> None:
    """Let torchvision take the generated batches for the original ones."""
    patch.setattr(CIFAR10, "train_list", [[name, sums[name]] for name, _ in CIFAR10.train_list])
    patch.setattr(CIFAR10, "test_list", [[name, sums[name]] for name, _ in CIFAR10.test_list])
    patch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": sums["batches.meta"]})


def cifar10(folder: Path, images: int = 50) -> dict[str, str]:
    """Six batches of `images` of each... batch, labels in turn; returns the MD5 of each file."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    centers = rng.integers(0, 200, size=(10, 3072))
    contents: dict[str, Any] = {"batches.meta": {"label_names": [f"class {c}" for c in range(10)]}}
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        labels = [i % 10 for i in range(images)]
        data = (centers[labels] + rng.integers(0, 56, size=(images, 3072))).astype(np.uint8)
        contents[name] = {"data": data, "labels": labels}
    sums = {}
    for name, content in contents.items():
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        sums[name] = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return sums


def pamap_rows(activities: Sequence[int], rows: int, seed: int, start: float = 5.0) -> np.ndarray:
    """[len(activities) * rows, 54]: one run of each activity, 10 s between runs, a hole of NaN in each."""
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(len(activities) * rows, 54))
    table[:, 1] = np.repeat(list(activities), rows)
    table += 3 * np.sin(np.arange(54) * (table[:, 1:2] + 1))
    table[:, 0] = start + 0.01 * np.arange(len(table)) + 10 * np.repeat(np.arange(len(activities)), rows)
    table[:, 1] = np.repeat(list(activities), rows)
    table[rows // 3 :: rows, 4:10] = np.nan
    return table


def pamap(path: Path, activities: Sequence[int], rows: int, seed: int) -> None:
    write_dat(path, pamap_rows(list(activities), rows, seed))


def write_dat(path: Path, table: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        f"{row[0]:.2f} {row[1]:.0f} " + " ".join("NaN" if v != v else f"{v:.3f}" for v in row[2:]) for row in table
    ]
    path.write_text("\n".join(lines) + "\n")


def dsads_table(person: int, segments: int = 1) -> pd.DataFrame:
    """All 45 channels, in the archive's order."""
    rng = np.random.default_rng(person)
    names = [f"{unit}_{axis}" for unit in dsads.UNITS for axis in dsads.AXES]
    activity = np.repeat(np.arange(1, 20), segments * dsads.SEGMENT)
    values = rng.normal(size=(len(activity), 45)) + np.sin(np.outer(activity, np.arange(45)))
    table = pd.DataFrame(np.round(values, 3), columns=names)
    table.insert(0, "activity", activity)
    table.insert(1, "segment", np.tile(np.repeat(np.arange(1, segments + 1), dsads.SEGMENT), 19))
    return table


def dsads_csv(path: Path, person: int, segments: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = [c for c in dsads_table(person, segments).columns if not c.startswith(("LA_", "LL_"))]
    dsads_table(person, segments)[kept].to_csv(path, index=False)


def tone(digit: int, speaker: int, index: int) -> bytes:
    """A .wav file: a tone whose pitch tells the digit, and whose overtone the speaker."""
    rng = np.random.default_rng([digit, speaker, index])
    t = np.arange(1200 + 40 * index) / spoken_digits.RATE
    sound = np.sin(2 * np.pi * (300 + 150 * digit) * t) + 0.3 * np.sin(2 * np.pi * (2500 + 100 * speaker) * t)
    return wav(6000 * sound + 200 * rng.normal(size=len(t)))


def wav(samples: np.ndarray, rate: int = spoken_digits.RATE, channels: int = 1) -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(samples.astype("<i2").tobytes())
    return stream.getvalue()


def recordings(path: Path, takes: int = spoken_digits.MIN_TAKES) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with lzma.open(path, "wb", preset=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for digit in range(10):
            for speaker, name in enumerate(spoken_digits.SPEAKERS):
                for index in range(takes):
                    content = tone(digit, speaker, index)
                    member = tarfile.TarInfo(f"recordings/{digit}_{name}_{index}.wav")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))


def sentences(topic: int, count: int, seed: int) -> list[str]:
    """Texts whose words come from a topic's vocabulary half the time."""
    rng = np.random.default_rng([topic, seed])
    draw = rng.integers(0, 30, size=(count, 12))
    return [" ".join(f"topic{topic}word{w}" if i % 2 else f"common{w}" for i, w in enumerate(row)) for row in draw]


def ag_news_csv(path: Path, seed: int) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = io.StringIO()
    writer = csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\n")
    for topic in range(4):
        for text in sentences(topic, 60, seed):
            writer.writerow([topic + 1, "a title, with a comma", text])
    data = stream.getvalue().encode()
    path.write_bytes(data)
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def table(samples: int = 120, seed: int = 0) -> pd.DataFrame:
    """Two features, a class by name, and ten people."""
    rng = np.random.default_rng(seed)
    label = np.arange(samples) % 3
    x = rng.normal(size=(samples, 2)) + 2 * label[:, None]
    names = np.array(["ant", "bee", "cat"])[label]
    return pd.DataFrame(
        {"a": x[:, 0], "b": x[:, 1], "label": names, "person": [f"p{i // 3 % 10}" for i in range(samples)]}
    )


def own(root: Path) -> None:
    texts = [(text, f"topic {topic}") for topic in range(3) for text in sentences(topic, 20, 7)]
    pd.DataFrame(texts, columns=["text", "label"]).to_csv(root / "mine.csv", index=False)
    table().to_parquet(root / "mine.parquet")
