"""The cache, the data root, downloads: nothing partial is ever taken for whole."""

from __future__ import annotations

import hashlib
import lzma
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from hill_sim.errors import InvalidInput, Unavailable
from hill_sim.tasks import cache, files
from hill_sim.tasks.cache import cached
from hill_sim.tasks.card import Card
from hill_sim.tasks.fetch import download, unpack_zip

CARD = Card(title="Mine", input="numbers", source="https://example.org/mine")


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HILL_SIM_DATA", raising=False)


def test_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert files.data_root() == tmp_path / "cache" / "hill-sim" / "data"
    monkeypatch.setenv("HILL_SIM_DATA", "~/here")
    assert files.data_root() == Path("~/here").expanduser()
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert files.cache_root() == Path("~/.cache/hill-sim").expanduser()


def test_missing_says_what_from_where_to_which_folder(tmp_path: Path) -> None:
    message = str(files.missing("mine", "a.dat", ["one", "two"], CARD))
    for part in ("task mine", "a.dat", str(tmp_path / "cache/hill-sim/data/one"), "hill-sim data fetch mine",
                 "https://example.org/mine", "--data-root", "HILL_SIM_DATA"):  # fmt: skip
        assert part in message
    assert "\n" not in message


def test_locate_prefers_the_plain_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HILL_SIM_DATA", str(tmp_path))
    assert files.locate(["a", "b"], "x.dat") is None
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.dat.xz").write_bytes(lzma.compress(b"packed"))
    assert files.locate(["a", "b"], "x.dat") == tmp_path / "b" / "x.dat.xz"
    (tmp_path / "b" / "x.dat").write_bytes(b"plain")
    assert files.locate(["a", "b"], "x.dat") == tmp_path / "b" / "x.dat"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lzma.compress(b"x" * 1000)[:-20], "x.xz: truncated"),
        (lzma.compress(bytes(range(256)) * 40)[:40], "x.xz: truncated"),
        (b"something else altogether", "x.xz: not a whole .xz file"),
        (lzma.compress(b"x" * 1000)[:30] + b"????" + lzma.compress(b"x" * 1000)[34:], "x.xz: not a whole .xz file"),
    ],
)
def test_damaged_xz(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.xz").write_bytes(content)
    with pytest.raises(InvalidInput) as caught:
        files.read_bytes(tmp_path / "x.xz")
    assert message in str(caught.value)


def test_text_that_is_not_utf8_is_named_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"one\ntwo\nthr\xe9e\n")
    with pytest.raises(InvalidInput, match="line 3: byte 0xe9 is not UTF-8"):
        files.read_text(tmp_path / "x.csv")


def make(calls: list[int]) -> dict[str, np.ndarray]:
    calls.append(1)
    return {"x": np.arange(1000.0), "y": np.arange(10)}


def test_cache_parses_once_per_content_options_and_version(tmp_path: Path) -> None:
    calls: list[int] = []
    for _ in range(3):
        found = cached("mine", 1, {"files": "abc"}, lambda: make(calls))
    assert len(calls) == 1
    assert np.array_equal(found["x"], np.arange(1000.0))
    assert isinstance(found["x"], np.memmap)
    assert not found["x"].flags.writeable
    cached("mine", 2, {"files": "abc"}, lambda: make(calls))
    cached("mine", 1, {"files": "abd"}, lambda: make(calls))
    cached("other", 1, {"files": "abc"}, lambda: make(calls))
    assert len(calls) == 4
    folder = tmp_path / "cache" / "hill-sim" / "parsed"
    assert len(list(folder.iterdir())) == 4, "nothing temporary is left"


@pytest.mark.parametrize("damage", ["cut", "gone", "manifest", "garbage"])
def test_a_damaged_cache_is_made_again(tmp_path: Path, damage: str) -> None:
    calls: list[int] = []
    cached("mine", 1, {}, lambda: make(calls))
    [folder] = (tmp_path / "cache" / "hill-sim" / "parsed").iterdir()
    if damage == "cut":
        (folder / "x.npy").write_bytes((folder / "x.npy").read_bytes()[:-8])
    elif damage == "gone":
        (folder / "y.npy").unlink()
    elif damage == "manifest":
        (folder / "manifest.json").unlink()
    else:
        (folder / "y.npy").write_bytes(b"?" * (folder / "y.npy").stat().st_size)
    assert np.array_equal(cached("mine", 1, {}, lambda: make(calls))["x"], np.arange(1000.0))
    assert len(calls) == 2
    cached("mine", 1, {}, lambda: make(calls))
    assert len(calls) == 2, "and it is whole afterwards"


def test_a_crash_while_caching_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cache.os, "rename", crash)
        with pytest.raises(KeyboardInterrupt):
            cached("mine", 1, {}, lambda: make([]))
    assert list((tmp_path / "cache" / "hill-sim" / "parsed").iterdir()) == []


def test_without_a_place_to_cache_it_still_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cached("mine", 1, {}, lambda: make([]))["y"].tolist() == list(range(10))


class Server(BaseHTTPRequestHandler):
    """Serves `content`; hangs up after `stop` bytes of an answer; knows Range unless `ranges` is off."""

    content = bytes(range(256)) * 4000
    stop: int | None = None
    ranges = True
    asked: list[str | None] = []  # noqa: RUF012

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        type(self).asked.append(wanted)
        if self.path == "/gone":
            self.send_error(404)
            return
        start = int(wanted[6:-1]) if wanted and self.ranges else 0
        if start >= len(self.content):
            self.send_error(416)
            return
        body = self.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.stop is None else body[: self.stop])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Server.stop, Server.ranges, Server.asked = None, True, []
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()
        thread.join()


HASH = f"sha256:{hashlib.sha256(Server.content).hexdigest()}"


def test_download_once(server: str, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "a.bin"
    for _ in range(2):
        assert download(f"{server}/a.bin", target, HASH) == target
    assert target.read_bytes() == Server.content
    assert len(Server.asked) == 1
    assert [p.name for p in target.parent.iterdir()] == ["a.bin"]


@pytest.mark.parametrize("ranges", [True, False])
def test_an_interrupted_download_goes_on(server: str, tmp_path: Path, ranges: bool) -> None:
    target = tmp_path / "a.bin"
    Server.stop, Server.ranges = 600_000, ranges
    with pytest.raises(Unavailable) as caught:
        download(f"{server}/a.bin", target, HASH)
    assert not target.exists(), "a partial download never bears the whole one's name"
    kept = (tmp_path / "a.bin.part").stat().st_size
    assert 0 < kept <= 600_000
    assert f"{kept:,} bytes kept" in str(caught.value)
    assert str(target) in str(caught.value)
    Server.stop = None
    download(f"{server}/a.bin", target, HASH)
    assert target.read_bytes() == Server.content
    assert Server.asked == [None, f"bytes={kept}-"]
    assert [p.name for p in tmp_path.glob("a.bin*")] == ["a.bin"]


def test_the_part_may_be_whole_already(server: str, tmp_path: Path) -> None:
    (tmp_path / "a.bin.part").write_bytes(Server.content)
    assert download(f"{server}/a.bin", tmp_path / "a.bin", HASH).read_bytes() == Server.content


def test_other_bytes_are_not_kept(server: str, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="what came is not the published file"):
        download(f"{server}/a.bin", tmp_path / "a.bin", "sha256:" + "0" * 64)
    assert not list(tmp_path.glob("a.bin*"))


def test_a_damaged_file_of_the_right_name_is_fetched_again(server: str, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(Server.content[:1000])
    assert download(f"{server}/a.bin", tmp_path / "a.bin", HASH).read_bytes() == Server.content


@pytest.mark.parametrize(("path", "reason"), [("/gone", "the server says 404 Not Found"), (None, "no connection")])
def test_offline_is_one_line(server: str, tmp_path: Path, path: str | None, reason: str) -> None:
    url = f"{server}{path}" if path else "http://127.0.0.1:9/a.bin"
    with pytest.raises(Unavailable) as caught:
        download(url, tmp_path / "a.bin", HASH)
    assert str(caught.value) == f"cannot fetch {url} ({reason}); or put it by hand at {tmp_path / 'a.bin'}"


def test_unpacking(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "inner.zip", "w") as inner:
        inner.writestr("Protocol/subject101.dat", "1 2 3")
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as outer:
        outer.write(tmp_path / "inner.zip", "inner.zip")
        outer.writestr("readme.txt", "hello")
        outer.writestr("../escape.txt", "no")
    written = unpack_zip(tmp_path / "outer.zip", tmp_path / "root")
    assert (tmp_path / "root" / "Protocol" / "subject101.dat").read_text() == "1 2 3"
    assert (tmp_path / "root" / "Protocol" / "subject101.dat").resolve() in written
    assert not (tmp_path / "escape.txt").exists()
    assert not (tmp_path / "root" / "inner.zip").exists()


def test_a_damaged_archive_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "x" * 1000)
    content = bytearray(path.read_bytes())
    content[200] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(Unavailable, match="damaged"):
        unpack_zip(path, tmp_path / "root")
    assert not (tmp_path / "root" / "a.txt").exists()
    assert not path.exists()
    path.write_bytes(bytes(content[:300]))
    with pytest.raises(Unavailable, match="damaged"):
        unpack_zip(path, tmp_path / "root")
