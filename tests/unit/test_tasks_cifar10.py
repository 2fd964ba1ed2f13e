"""CIFAR-10 through torchvision's reader, on generated batches: layout, splits, statistics, damage."""

from __future__ import annotations

import lzma
import pickle
from collections.abc import Iterator
from pathlib import Path

import miniature
import numpy as np
import pytest
from numpy.testing import assert_allclose

from hill_sim.errors import HillError, InvalidInput, Unavailable
from hill_sim.tasks import cifar10

BATCHES = [f"data_batch_{i}" for i in range(1, 6)]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    sums = miniature.cifar10(tmp_path / "cifar-10-batches-py")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HILL_SIM_DATA", str(tmp_path))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        miniature.accept_cifar10(patch, sums)
        yield tmp_path


def images(root: Path, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    batches = [pickle.loads((root / "cifar-10-batches-py" / name).read_bytes()) for name in names]
    data = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
    return data, np.concatenate([batch["labels"] for batch in batches])


def pack(root: Path) -> None:
    """As the files lie in a folder of .xz, with the index plain."""
    (root / "cifar10").mkdir()
    for path in (root / "cifar-10-batches-py").iterdir():
        if path.name == "batches.meta":
            path.rename(root / "cifar10" / path.name)
        else:
            (root / "cifar10" / f"{path.name}.xz").write_bytes(lzma.compress(path.read_bytes(), preset=0))
            path.unlink()


def test_splits(root: Path) -> None:
    task = cifar10.load(validation=10_000)  # a fifth of the training images
    train_x, train_y = images(root, BATCHES)
    test_x, test_y = images(root, ["test_batch"])
    assert [len(s) for s in task.splits.values()] == [200, 50, 50]
    assert task.test.y.tolist() == test_y.tolist(), "the official test split, whole and in its order"
    assert np.bincount(task.validation.y.numpy()).tolist() == [5] * 10
    assert task.class_names[3] == "cat"
    assert task.recipe.augment == "crop-flip"
    assert task.input_shape == (3, 32, 32)
    used = np.concatenate([task.train.x.numpy(), task.validation.x.numpy()])
    assert_allclose(task.train.x.mean(dim=(0, 2, 3)).numpy(), 0, atol=1e-5)
    assert_allclose(task.train.x.std(dim=(0, 2, 3), correction=0).numpy(), 1, atol=1e-5)
    # Undo the standardisation by two pixels of known value: every image is there, once.
    for colour in range(3):
        x, y = test_x[:, colour].astype(float).ravel(), task.test.x[:, colour].double().numpy().ravel()
        slope, shift = np.polyfit(y, x, 1)
        assert_allclose(slope * y + shift, x, atol=1e-3)
        back = np.rint(slope * used[:, colour] + shift).astype(int)
        assert sorted(map(bytes, back.astype(np.uint8))) == sorted(map(bytes, train_x[:, colour]))
    assert len(train_y) == 250


def test_packed_and_plain_are_the_same(root: Path) -> None:
    plain = cifar10.load(validation=10_000).fingerprint
    pack(root)
    assert cifar10.load(validation=10_000).fingerprint == plain


def test_subsets_and_noise(root: Path) -> None:
    task = cifar10.load(validation=10_000, train_per_class=7, validation_per_class=2, test_per_class=3, label_noise=0.5)
    assert [len(s) for s in task.splits.values()] == [70, 20, 30]
    clean = cifar10.load(validation=10_000, train_per_class=7)
    assert np.array_equal(task.train.x.numpy(), clean.train.x.numpy())
    assert (task.train.y != clean.train.y).sum() == 35


def test_read_from_the_cache_the_second_time(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cifar10.load_small(5).fingerprint
    monkeypatch.setattr(cifar10, "CIFAR10", type("Reader", (cifar10.CIFAR10,), {"__init__": None}))
    assert cifar10.load_small(5).fingerprint == first


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["flip", "cut", "foreign"])
@pytest.mark.parametrize("packed", [False, True])
def test_damage_is_named(root: Path, damage: str, packed: bool) -> None:
    if packed:
        pack(root)
    path = root / ("cifar10/data_batch_3.xz" if packed else "cifar-10-batches-py/data_batch_3")
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    path.write_bytes({"flip": content, "cut": content[:-100], "foreign": b"\x80\x04K\x03."}[damage])
    with pytest.raises(InvalidInput) as caught:
        cifar10.load_small(5)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_pickle_is_opened_unchecked(root: Path) -> None:
    """A file that is not the published one is never unpickled: pickles can run code."""
    path = root / "cifar-10-batches-py" / "test_batch"
    path.write_bytes(b"cos\nsystem\n(S'touch " + bytes(root / "owned") + b"'\ntR.")
    with pytest.raises(InvalidInput, match="not the original file"):
        cifar10.load_small(5)
    assert not (root / "owned").exists()


def test_missing(root: Path) -> None:
    (root / "cifar-10-batches-py" / "data_batch_2").unlink()
    with pytest.raises(
        Unavailable, match=r"no file data_batch_2 in .*cifar-10-batches-py.*hill-sim data fetch cifar10"
    ):
        cifar10.load()
    for path in (root / "cifar-10-batches-py").iterdir():
        path.unlink()
    with pytest.raises(Unavailable, match="no CIFAR-10 batches in"):
        cifar10.load()


@pytest.mark.parametrize(
    "options", [{"validation": 5}, {"train_per_class": 0}, {"label_noise": 1.0}, {"train_per_class": 1}]
)
def test_options(root: Path, options: dict[str, float]) -> None:
    with pytest.raises(HillError):
        cifar10.load(**{"validation": 10_000, **options})  # type: ignore[arg-type]
