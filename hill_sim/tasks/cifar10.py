"""CIFAR-10: 60,000 colour images of 32 x 32 pixels in 10 classes; the data of the HILL study.

Read by torchvision, which compares every file's MD5 with the original's before it unpickles anything. The official
test split is the test split, whole; validation is carved from the 50,000 training images, stratified and fixed.
"""

from __future__ import annotations

import dataclasses
import lzma
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets import CIFAR10

from hill_sim.errors import InvalidInput
from hill_sim.tasks import options
from hill_sim.tasks.base import Recipe, Split, Task
from hill_sim.tasks.cache import cached
from hill_sim.tasks.card import Card, described
from hill_sim.tasks.fetch import download
from hill_sim.tasks.files import damaged, digest_of, locate, missing
from hill_sim.tasks.splitting import stratified, subset, with_noise
from hill_sim.types import Array

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PARSER_VERSION = 1
OFFICIAL_TRAIN = 50_000

CARD = Card(
    title="CIFAR-10, 60,000 colour images",
    input="colour image, 3 x 32 x 32",
    source="https://www.cs.toronto.edu/~kriz/cifar.html",
    licence="none stated (research use, citation asked for)",
    citation="A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, technical report, "
    "University of Toronto, 2009",
)

SMALL_CNN = Recipe(model="small_cnn", batch_size=64, lr=2e-3, augment="crop-flip")
PAPER_CNN = Recipe(model="paper_cnn", batch_size=512, lr=1e-4, weight_decay=1e-5, augment="crop-flip")
MLP = Recipe(batch_size=64, lr=1e-3, augment="crop-flip")


def fetch(root: Path) -> list[Path]:
    """Download the 163 MiB archive into `root` and let torchvision unpack it there."""
    archive = download(CIFAR10.url, root / CIFAR10.filename, f"md5:{CIFAR10.tgz_md5}")
    CIFAR10(str(root), download=True)  # finds the archive whole, and unpacks it
    return [archive, root / CIFAR10.base_folder]


def _names() -> list[str]:
    return [name for name, _ in (*CIFAR10.train_list, *CIFAR10.test_list)] + [CIFAR10.meta["filename"]]


def _find() -> list[Path]:
    folders = (CIFAR10.base_folder, f"cifar10/{CIFAR10.base_folder}", "cifar10")
    found = {name: locate(folders, name) for name in _names()}
    absent = [name for name, path in found.items() if path is None]
    if absent:
        what = "CIFAR-10 batches" if len(absent) == len(found) else f"file {absent[0]}"
        raise missing("cifar10", what, folders[::2], CARD)
    return [path for path in found.values() if path is not None]


@described(CARD, fetch, _find)
def load(
    validation: int = 5_000,
    train_per_class: int | None = None,
    validation_per_class: int | None = None,
    test_per_class: int | None = None,
    label_noise: float = 0.0,
) -> Task:
    """CIFAR-10: 45,000 / 5,000 / 10,000 colour images in 10 classes.

    Pixels are standardised with the mean and deviation of each colour over the training images that are used.

    Args:
        validation: images carved from the 50,000 of the official training split, a multiple of 10 in 10..40,000.
        train_per_class, validation_per_class, test_per_class: keep only this many images of each class of a split.
        label_noise: share in [0,1) of the training labels that are replaced by a wrong class.
    """
    options.integer("validation", validation, 10, 40_000)
    data = arrays()
    train_y, test_y = data["train_y"], data["test_y"]
    held_out, train = stratified(train_y, [validation / OFFICIAL_TRAIN], "cifar10")
    train = subset(train, train_y, train_per_class, "train_per_class", "cifar10")
    held_out = subset(held_out, train_y, validation_per_class, "validation_per_class", "cifar10")
    test = subset(np.arange(len(test_y)), test_y, test_per_class, "test_per_class", "cifar10 test")
    mean, deviation = _statistics(data["train_x"], train)
    noisy = with_noise(train_y[train], label_noise, 10, "cifar10")

    def split(images: Array, rows: Array, labels: Array) -> Split:
        return Split(_standardised(images, rows, mean, deviation), torch.from_numpy(labels.astype(np.int64)))

    return Task(
        name="cifar10",
        train=split(data["train_x"], train, noisy),
        validation=split(data["train_x"], held_out, train_y[held_out]),
        test=split(data["test_x"], test, test_y[test]),
        class_names=CLASSES,
        recipe=SMALL_CNN,
        other_recipes=(PAPER_CNN, dataclasses.replace(MLP, batch_size=128)),
        card=CARD,
    )


@described(dataclasses.replace(CARD, title="CIFAR-10, a subset that a laptop can sweep"), fetch, _find)
def load_small(train_per_class: int = 200, label_noise: float = 0.0) -> Task:
    """CIFAR-10, a subset that a laptop can sweep: 2,000 / 1,000 / 2,000 images.

    Args:
        train_per_class: training images of each class, 2..4,500.
        label_noise: as in `cifar10`.
    """
    task = load(train_per_class=train_per_class, validation_per_class=100, test_per_class=200, label_noise=label_noise)
    return dataclasses.replace(task, name="cifar10-small", other_recipes=(MLP,))


def arrays() -> dict[str, Array]:
    """`train_x` [50000,3,32,32] and `test_x` [10000,3,32,32] uint8, `train_y` and `test_y` int64, original order.

    Raises:
        Unavailable: no files. InvalidInput: truncated, damaged or foreign ones.
    """
    paths = _find()
    return cached("cifar10", PARSER_VERSION, {"files": digest_of(paths)}, lambda: _parse(paths))


def _parse(paths: Sequence[Path]) -> dict[str, Array]:
    """Let torchvision read the batches: from where they lie if they are plain, else from unpacked copies."""
    folders = {path.parent for path in paths}
    if len(folders) == 1 and all(p.suffix != ".xz" for p in paths) and paths[0].parent.name == CIFAR10.base_folder:
        return _read(paths[0].parent.parent, paths)
    with tempfile.TemporaryDirectory(prefix="hill-sim-cifar10-") as beside:
        target = Path(beside) / CIFAR10.base_folder
        target.mkdir()
        with ThreadPoolExecutor(2) as pool:  # lzma lets go of the interpreter while it unpacks
            list(pool.map(lambda path: _unpack(path, target), paths))
        return _read(Path(beside), paths)


def _unpack(path: Path, folder: Path) -> None:
    if path.suffix != ".xz":
        shutil.copyfile(path, folder / path.name)
        return
    try:
        with lzma.open(path) as source, (folder / path.stem).open("wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
    except (EOFError, lzma.LZMAError):
        raise damaged(path, "not a whole .xz file; fetch it again") from None


def _read(root: Path, paths: Sequence[Path]) -> dict[str, Array]:
    sums = dict([*CIFAR10.train_list, *CIFAR10.test_list, (CIFAR10.meta["filename"], CIFAR10.meta["md5"])])
    from torchvision.datasets.utils import check_integrity

    for path in paths:  # torchvision looks at the same sums, but does not say which file is at fault
        name = path.name.removesuffix(".xz")
        if not check_integrity(str(root / CIFAR10.base_folder / name), sums[name]):
            raise damaged(path, "not the original file (its MD5 differs); remove it: hill-sim data fetch cifar10")
    try:
        train, test = CIFAR10(str(root), train=True), CIFAR10(str(root), train=False)
    except Exception as error:
        raise InvalidInput(f"{paths[0].parent}: torchvision cannot read it: {type(error).__name__}: {error}") from error
    return {
        "train_x": np.ascontiguousarray(train.data.transpose(0, 3, 1, 2)),
        "train_y": np.array(train.targets, dtype=np.int64),
        "test_x": np.ascontiguousarray(test.data.transpose(0, 3, 1, 2)),
        "test_y": np.array(test.targets, dtype=np.int64),
    }


def _statistics(images: Array, rows: Array) -> tuple[Array, Array]:
    """Mean and deviation [3] of the pixels of images [rows,3,32,32] in 0..255, exact, from counts of the values."""
    counts = np.zeros((3, 256))
    for start in range(0, len(rows), 2048):
        block = images[rows[start : start + 2048]]
        for colour in range(3):
            counts[colour] += np.bincount(block[:, colour].ravel(), minlength=256)
    values, total = np.arange(256.0), counts.sum(axis=1)
    mean = counts @ values / total
    return mean, np.sqrt(counts @ values**2 / total - mean**2)


def _standardised(images: Array, rows: Array, mean: Array, deviation: Array) -> Tensor:
    """[n,3,32,32] float32, in blocks: beside the result only a block is held."""
    result = torch.empty((len(rows), 3, 32, 32))
    shift = torch.from_numpy(mean).float().view(3, 1, 1)
    scale = torch.from_numpy(np.maximum(deviation, 1e-3)).float().view(3, 1, 1)
    for start in range(0, len(rows), 2048):
        block = torch.from_numpy(images[rows[start : start + 2048]])
        torch.sub(block, shift, out=result[start : start + 2048]).div_(scale)
    return result
