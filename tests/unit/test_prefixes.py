"""The cache of prefixes: the same bits come back, limits hold, and damage costs time alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from hill_sim.engine.prefixes import Prefix, PrefixCache, prefix_name


def a_prefix(seed: int, floats: int = 64) -> Prefix:
    rng = torch.Generator().manual_seed(seed)
    rows = [torch.randn(floats, generator=rng) for _ in range(3)]
    projection = (torch.randn(2, 16, generator=rng), torch.randn(2, generator=rng))
    epochs = np.random.default_rng(seed).normal(size=(3, 8))
    epochs[:, -1] = np.nan
    return Prefix(*rows, torch.empty(0), 42 + seed, epochs, {"first-epoch": projection})


def same(a: Prefix, b: Prefix) -> bool:
    rows = all(torch.equal(getattr(a, n), getattr(b, n)) for n in ("params", "first", "second", "buffers"))
    projections = a.projections.keys() == b.projections.keys() and all(
        torch.equal(x, y)
        for kind in a.projections
        for x, y in zip(a.projections[kind], b.projections[kind], strict=True)
    )
    return rows and projections and a.steps == b.steps and np.array_equal(a.epochs, b.epochs, equal_nan=True)


def test_what_is_kept_comes_back_to_the_bit_in_another_process(tmp_path: Path) -> None:
    PrefixCache(tmp_path / "prefixes").put("a", a_prefix(1))
    found = PrefixCache(tmp_path / "prefixes").get("a")
    assert found is not None
    assert same(found, a_prefix(1))


def test_without_a_folder_it_is_kept_in_memory() -> None:
    cache = PrefixCache()
    cache.put("a", a_prefix(1))
    found = cache.get("a")
    assert found is not None
    assert same(found, a_prefix(1))
    assert cache.get("b") is None


def test_memory_keeps_to_its_limit_and_drops_what_was_used_least_recently() -> None:
    cache = PrefixCache(memory_bytes=3 * a_prefix(0).size)
    for seed in range(3):
        cache.put(str(seed), a_prefix(seed))
    cache.get("0")
    cache.put("3", a_prefix(3))
    assert [name for name in "0123" if cache.get(name) is not None] == ["0", "2", "3"]


@pytest.mark.parametrize("writers", [1, 3])
def test_the_folder_keeps_to_its_limit(tmp_path: Path, writers: int) -> None:
    limit = 64 * 1024
    caches = [PrefixCache(tmp_path, disk_bytes=limit) for _ in range(writers)]
    for seed in range(300):
        caches[seed % writers].put(str(seed), a_prefix(seed))
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= limit
    assert PrefixCache(tmp_path).get("299") is not None
    assert PrefixCache(tmp_path).get("0") is None


def test_the_folder_leaves_a_nearly_full_disk_to_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = 200 * a_prefix(0).size

    def held() -> int:
        return sum(path.stat().st_size for path in tmp_path.iterdir())

    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(room, held(), room - held()))  # type: ignore[attr-defined]
    for seed in range(50):
        PrefixCache(tmp_path).put(str(seed), a_prefix(seed))
    assert 0 < held() <= room // 10
    room = 9 * a_prefix(0).size
    PrefixCache(tmp_path).put("new", a_prefix(51))
    assert PrefixCache(tmp_path).get("new") is None


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "foreign"])
def test_a_damaged_entry_is_as_if_it_were_not_there(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    PrefixCache(tmp_path).put("a", a_prefix(1))
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle] ^= 1
    path.write_bytes(
        {"cut": content[:middle], "empty": b"", "flipped": bytes(content), "foreign": b"something else"}[damage]
    )
    assert PrefixCache(tmp_path).get("a") is None
    assert str(path) in caplog.text
    PrefixCache(tmp_path).put("a", a_prefix(1))
    assert PrefixCache(tmp_path).get("a") is not None


def test_no_damage_of_a_byte_goes_unseen(tmp_path: Path) -> None:
    """Some leave an .npz that opens, with a projection less; some make zipfile raise what nobody expects."""
    PrefixCache(tmp_path).put("a", a_prefix(1, floats=2))
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        assert PrefixCache(tmp_path).get("a") is None, place


def test_a_folder_is_made_again_but_never_its_parent(tmp_path: Path) -> None:
    cache = PrefixCache(tmp_path / "run" / "prefixes")
    (tmp_path / "run").mkdir()
    cache.put("a", a_prefix(1))
    shutil.rmtree(tmp_path / "run" / "prefixes")
    cache.put("b", a_prefix(2))
    assert PrefixCache(tmp_path / "run" / "prefixes").get("b") is not None
    shutil.rmtree(tmp_path / "run")
    cache.put("c", a_prefix(3))
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = PrefixCache(tmp_path / "file" / "prefixes")
    cache.put("a", a_prefix(1))
    assert cache.get("a") is not None
    assert cache.get("b") is None


def test_names_tell_contents_apart() -> None:
    assert prefix_name("digits", 1) == prefix_name("digits", 1)
    assert len({prefix_name("digits", 1), prefix_name("digits", 2), prefix_name("digits", 1.0)}) == 3
