"""Spoken digits: the spectrogram against plain sums, the splits, and recordings that are something else."""

from __future__ import annotations

import io
import lzma
import tarfile
from collections.abc import Iterator
from pathlib import Path

import miniature
import numpy as np
import pytest
from numpy.testing import assert_allclose

from hill_sim.errors import InvalidInput
from hill_sim.tasks import spoken_digits
from hill_sim.tasks.spectrogram import FLOOR, _tables, log_mel

RATE = 8_000


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fsdd") / "fsdd" / "recordings.tar.xz"
    miniature.recordings(path)
    return path


@pytest.fixture
def root(packed: Path, tmp_path: Path) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HILL_SIM_DATA", str(packed.parent.parent))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        yield packed.parent.parent


def test_spectrogram_against_a_plain_sum() -> None:
    rng = np.random.default_rng(0)
    samples = rng.normal(size=256 + 100 * 3)
    found = log_mel(samples, RATE, bands=12, frames=4)
    window, filters = _tables(256, RATE, 12)
    expected = np.empty((12, 4))
    for frame in range(4):
        piece = samples[100 * frame : 100 * frame + 256] * window
        power = np.empty(129)
        for k in range(129):
            angle = 2 * np.pi * k * np.arange(256) / 256
            power[k] = ((piece * np.cos(angle)).sum() ** 2 + (piece * np.sin(angle)).sum() ** 2) / (window**2).sum()
        expected[:, frame] = np.log(power @ filters + FLOOR)
    assert_allclose(found, expected - expected.mean(), rtol=1e-4, atol=1e-4)


def test_a_tone_is_in_its_band_and_loudness_is_taken_out() -> None:
    t = np.arange(RATE) / RATE
    peaks = [
        int(log_mel(np.sin(2 * np.pi * f * t), RATE, 40, 64).mean(axis=1).argmax()) for f in (200, 500, 1000, 3000)
    ]
    assert peaks == sorted(set(peaks))
    noise = np.random.default_rng(0).normal(size=RATE)
    assert_allclose(log_mel(0.1 * noise, RATE, 40, 64), log_mel(0.2 * noise, RATE, 40, 64), atol=0.01)


@pytest.mark.parametrize("samples", [1, 255, 2000, 6555, 6556, 6557, 20_001])
def test_any_length_is_centred(samples: int) -> None:
    sound = np.zeros(samples)
    sound[samples // 2] = 1.0
    found = log_mel(sound, RATE, 40, 64)
    assert found.shape == (40, 64)
    assert abs(int(found.mean(axis=0).argmax()) - 31.5) <= 1.5


def test_bands_cover_all_that_is_heard() -> None:
    for bands in (4, 40, 64):
        _, filters = _tables(256, RATE, bands)
        assert_allclose(filters.sum(axis=0), 1)
        assert (filters >= 0).all()


@pytest.mark.slow
def test_official_split(root: Path) -> None:
    task = spoken_digits.load()
    assert [len(s) for s in task.splits.values()] == [120, 300, 300]
    assert task.input_shape == (40, 64)
    for part in task.splits.values():
        assert part.groups is not None
        assert np.bincount(part.groups.numpy()).tolist() == [len(part) // 6] * 6
    assert_allclose(task.train.x.mean(dim=(0, 2)).numpy(), 0, atol=1e-4)
    centers = np.stack([task.train.x[task.train.y == c].mean(dim=0).numpy().ravel() for c in range(10)])
    nearest = ((task.test.x.flatten(1).numpy()[:, None] - centers) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == task.test.y.numpy()).mean() > 0.9, "tones are told apart by pitch"


@pytest.mark.slow
def test_speakers_are_held_out(root: Path) -> None:
    task = spoken_digits.load(split="speakers", test_speakers=["theo"])
    heard = [{task.group_names[g] for g in s.groups.tolist()} for s in task.splits.values()]  # type: ignore[union-attr]
    assert heard == [{"george", "jackson", "lucas", "nicolas"}, {"yweweler"}, {"theo"}]
    assert task.groups_apart


@pytest.mark.slow
def test_files_and_archive_are_the_same(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from_archive = spoken_digits.load()
    with tarfile.open(root / "fsdd" / "recordings.tar.xz") as tar:
        tar.extractall(tmp_path / "fsdd", filter="data")
    monkeypatch.setenv("HILL_SIM_DATA", str(tmp_path))
    assert spoken_digits.load().fingerprint == from_archive.fingerprint
    assert spoken_digits.content_hash(sorted((tmp_path / "fsdd/recordings").iterdir())) == spoken_digits.content_hash(
        [root / "fsdd" / "recordings.tar.xz"]
    )


GOOD = miniature.tone(0, 0, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("3_george_4.wav", None, "3_george_4.wav is missing"),
        ("3_george_4.wav", b"RIFF, or not", "3_george_4.wav: not a .wav file"),
        ("3_george_4.wav", GOOD[:-100], "1150 samples where 1200 are promised; truncated"),
        ("3_george_4.wav", b"", "3_george_4.wav: not a .wav file (it ends too early)"),
        (
            "3_george_4.wav",
            miniature.wav(np.zeros(200), rate=16_000),
            "1 channels, 16 bit, 16000 Hz; allowed: 1 channel",
        ),
        ("3_george_4.wav", miniature.wav(np.zeros(200), channels=2), "2 channels, 16 bit, 8000 Hz"),
        ("3_gorge_4.wav", GOOD, "3_gorge_4.wav: not named digit_speaker_index.wav"),
        ("extra.wav", GOOD, "extra.wav: not named digit_speaker_index.wav"),
        ("3_george_12.wav", GOOD, "0_george_12.wav is missing"),
    ],
)
def test_recordings_that_are_something_else(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes | None, message: str
) -> None:
    with tarfile.open(root / "fsdd" / "recordings.tar.xz") as tar:
        tar.extractall(tmp_path / "fsdd", filter="data")
    path = tmp_path / "fsdd" / "recordings" / name
    path.unlink() if content is None else path.write_bytes(content)
    monkeypatch.setenv("HILL_SIM_DATA", str(tmp_path))
    with pytest.raises(InvalidInput) as caught:
        spoken_digits.load()
    assert message in str(caught.value)
    assert str(tmp_path / "fsdd" / "recordings") in str(caught.value)


@pytest.mark.slow
def test_archives_that_are_something_else(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HILL_SIM_DATA", str(tmp_path))
    path = tmp_path / "fsdd" / "recordings.tar.xz"
    path.parent.mkdir()
    whole = (root / "fsdd" / "recordings.tar.xz").read_bytes()
    for content, message in (
        (whole[:-1000], "truncated"),
        (lzma.compress(lzma.decompress(whole)[:200_000], preset=0), "not a whole archive|missing"),
        (lzma.compress(b"no tar"), "not a whole archive"),
        (lzma.compress(_tar_of_nothing()), "no .wav file in it"),
    ):
        path.write_bytes(content)
        with pytest.raises(InvalidInput, match=message) as caught:
            spoken_digits.load()
        assert "recordings.tar.xz" in str(caught.value) or "is missing" in str(caught.value)


def _tar_of_nothing() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("readme.txt"))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "oficial"}, "did you mean 'official'?"),
        ({"test_speakers": ["yweweler"]}, "task_options.test_speakers: 'yweweler' is in validation_speakers already"),
        ({"test_speakers": "theo"}, "task_options.test_speakers: 'theo' is not a list"),
        ({"bands": 65}, "task_options.bands"),
        ({"frames": 2}, "task_options.frames"),
    ],
)
def test_options(root: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        spoken_digits.load(**options)  # type: ignore[arg-type]
    assert message in str(caught.value)
