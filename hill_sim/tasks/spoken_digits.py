"""Spoken digits: the Free Spoken Digit Dataset, six people saying zero to nine, as log-mel spectrograms.

Recordings `{digit}_{speaker}_{index}.wav`, mono, 8 kHz, 16 bit: as files, or in `recordings.tar.xz`. The official split
has index 0-4 as test, 5-49 as training; validation is carved from the training part: 5-9.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import wave
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from hill_sim.errors import InvalidInput, Unavailable
from hill_sim.tasks import options
from hill_sim.tasks.base import Recipe, Split, Task
from hill_sim.tasks.cache import cached
from hill_sim.tasks.card import Card, described
from hill_sim.tasks.fetch import download
from hill_sim.tasks.files import bytes_stream, damaged, data_root, digest_of, missing
from hill_sim.tasks.spectrogram import log_mel
from hill_sim.tasks.splitting import subset, with_noise
from hill_sim.trial import Options
from hill_sim.types import Array

PARSER_VERSION = 1
RATE = 8_000
MIN_TAKES = 12  # of each digit by each speaker: five to test, five to validate, two to train
CONTENT_SHA256 = "a2e8a660492f28d9eed6270b290d26cbc5c81d6077ce87d3c0ad5adf4d4ee696"
"""Of all recordings' names and contents (`content_hash`), so that any packing of them can be checked."""

FOLDERS = ("fsdd", "free-spoken-digit-dataset", ".")
COMMIT = "26eb9aaf76e81b692f806f9140c2d2777410d7a1"
URL = f"https://github.com/Jakobovski/free-spoken-digit-dataset/archive/{COMMIT}.tar.gz"
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_FILE = re.compile(r"(\d)_([a-z]+)_(\d+)\.wav")

CARD = Card(
    title="Free Spoken Digit Dataset",
    input="log-mel spectrogram, 40 bands x 64 frames (0.8 s)",
    source="https://github.com/Jakobovski/free-spoken-digit-dataset",
    licence="CC BY-SA 4.0",
    citation="Z. Jackson, C. Souza, J. Flaks, Y. Pan, H. Nicolas, A. Thite, Free Spoken Digit Dataset, "
    "doi 10.5281/zenodo.1342401",
    groups="speaker",
)

SMALL_CNN1D = Recipe(model="small_cnn1d", batch_size=64, lr=2e-3)
MLP = Recipe(model_options=Options(hidden=(128, 64)), batch_size=64, lr=1e-3)


def fetch(root: Path) -> list[Path]:
    """Download the repository at the commit that we know, as one archive."""
    archive = download(URL, root / "fsdd" / "recordings.tar.gz", None)  # GitHub packs anew at will: no fixed hash
    if content_hash([archive]) != CONTENT_SHA256:
        archive.unlink()
        raise Unavailable(f"{URL}: the recordings are not those of commit {COMMIT[:12]}; nothing kept")
    return [archive]


def _find() -> list[Path]:
    for folder in FOLDERS:
        for packed in ("recordings.tar.xz", "recordings.tar.gz"):
            if (path := data_root() / folder / packed).is_file():
                return [path]
        if found := sorted((data_root() / folder / "recordings").glob("*.wav")):
            return found
    raise missing("spoken_digits", "recordings.tar.xz nor recordings/*.wav", FOLDERS[:1], CARD)


@described(CARD, fetch, _find)
def load(
    split: str = "official",
    validation_speakers: Sequence[str] = ("yweweler",),
    test_speakers: Sequence[str] = ("lucas", "theo"),
    bands: int = 40,
    frames: int = 64,
    train_per_class: int | None = None,
    label_noise: float = 0.0,
) -> Task:
    """Spoken digits of six people, as log-mel spectrograms: the official split, or speakers who were never heard.

    Args:
        split: `official` (recordings 0-4 of each speaker and digit test, 5-9 validate, the others train) or `speakers`.
        validation_speakers, test_speakers: who is held out under `speakers`; the others train.
        bands: mel bands, 4..64. frames: of 12.5 ms; recordings are centred, and cut or filled with silence, 8..180.
        train_per_class: keep only this many training recordings of each digit.
        label_noise: share in [0,1) of the training labels that are replaced by a wrong digit.
    """
    options.choice("split", split, ("official", "speakers"))
    held = options.members("validation_speakers", validation_speakers, SPEAKERS)
    unheard = options.members("test_speakers", test_speakers, SPEAKERS)
    options.disjoint(validation_speakers=held, test_speakers=unheard)
    options.integer("bands", bands, 4, 64)
    options.integer("frames", frames, 8, 180)
    data = recordings(bands, frames)
    speaker, index, digit = data["speaker"], data["index"], data["digit"].astype(np.int64)
    if split == "official":
        test, validation = index < 5, (index >= 5) & (index < 10)
    else:
        test, validation = (np.isin(speaker, [SPEAKERS.index(name) for name in who]) for who in (unheard, held))
    rows = {"validation": np.flatnonzero(validation), "test": np.flatnonzero(test)}
    train = np.flatnonzero(~validation & ~test)
    train = subset(train, digit, train_per_class, "train_per_class", "spoken_digits")
    labels = with_noise(digit[train], label_noise, 10, "spoken_digits")
    spectra = data["spectra"]
    mean = spectra[train].mean(axis=(0, 2), dtype=np.float64)[:, None]
    deviation = np.maximum(spectra[train].std(axis=(0, 2), dtype=np.float64), 1e-6)[:, None]

    def part(chosen: Array, y: Array) -> Split:
        x = torch.from_numpy(((spectra[chosen] - mean) / deviation).astype(np.float32))
        return Split(x, torch.from_numpy(y), torch.from_numpy(speaker[chosen].astype(np.int64)))

    return Task(
        name="spoken_digits",
        train=part(train, labels),
        validation=part(rows["validation"], digit[rows["validation"]]),
        test=part(rows["test"], digit[rows["test"]]),
        class_names=NAMES,
        recipe=SMALL_CNN1D,
        other_recipes=(MLP,),
        source_labels=tuple(str(digit) for digit in range(10)),
        group_names=SPEAKERS,
        groups_apart=split == "speakers",
        card=CARD,
    )


def recordings(bands: int, frames: int) -> dict[str, Array]:
    """`spectra` [N,bands,frames] float32, `digit`, `speaker`, `index` [N] int16, in order of the file names.

    Raises:
        Unavailable: no recordings. InvalidInput: a recording is missing, damaged, or of another kind.
    """
    paths = _find()
    key = {"files": digest_of(paths), "bands": bands, "frames": frames}
    return cached("spoken_digits", PARSER_VERSION, key, lambda: _parse(paths, bands, frames))


def content_hash(paths: Sequence[Path]) -> str:
    """SHA-256 of all recordings, by name and content, however they are packed."""
    total = hashlib.sha256()
    for name, content in sorted((name, content) for _, name, content in _waves(paths)):
        total.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    return total.hexdigest()


def _parse(paths: Sequence[Path], bands: int, frames: int) -> dict[str, Array]:
    rows: list[tuple[str, int, int, int]] = []
    spectra = []
    for where, name, content in _waves(paths):
        named = _FILE.fullmatch(name)
        if named is None or named[2] not in SPEAKERS:
            speakers = ", ".join(SPEAKERS)
            raise InvalidInput(f"{where}: not named digit_speaker_index.wav with a speaker of {speakers}")
        rows.append((name, int(named[1]), SPEAKERS.index(named[2]), int(named[3])))
        spectra.append(log_mel(_samples(where, content), RATE, bands, frames))
    order = sorted(range(len(rows)), key=lambda i: rows[i][0])
    _check_complete(paths[0].parent, {row[1:] for row in rows})
    columns = np.array([rows[i][1:] for i in order], dtype=np.int16).T
    digit, speaker, index = np.ascontiguousarray(columns)
    return {"spectra": np.stack([spectra[i] for i in order]), "digit": digit, "speaker": speaker, "index": index}


def _check_complete(folder: Path, present: set[tuple[int, int, int]]) -> None:
    """Raise, with the first file that is missing, unless every speaker said every digit equally often."""
    takes = max((index for *_, index in present), default=0) + 1
    for digit in range(10):
        for speaker, name in enumerate(SPEAKERS):
            for index in range(max(takes, MIN_TAKES)):
                if (digit, speaker, index) not in present:
                    raise InvalidInput(f"{folder}: {digit}_{name}_{index}.wav is missing; fetch the recordings again")


def _waves(paths: Sequence[Path]) -> Iterator[tuple[str, str, bytes]]:
    """Place, file name and content of every recording."""
    if paths[0].suffix == ".wav":
        for path in paths:
            yield str(path), path.name, path.read_bytes()
        return
    [path] = paths
    found = False
    try:
        with tarfile.open(fileobj=bytes_stream(path) if path.suffix == ".xz" else io.BytesIO(path.read_bytes())) as tar:
            for member in tar:
                if member.isfile() and member.name.endswith(".wav"):
                    content = tar.extractfile(member)
                    assert content is not None  # it is a file
                    found = True
                    yield f"{path}: {member.name}", Path(member.name).name, content.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise damaged(path, f"not a whole archive ({error}); fetch it again") from None
    if not found:
        raise damaged(path, "no .wav file in it; another archive?")


def _samples(where: str, content: bytes) -> Array:
    """[S] float32 in -1..1 of a recording."""
    try:
        with wave.open(io.BytesIO(content)) as sound:
            kind = (sound.getnchannels(), sound.getsampwidth(), sound.getframerate())
            data = sound.readframes(sound.getnframes())
            promised = sound.getnframes()
    except (wave.Error, EOFError) as error:
        raise InvalidInput(f"{where}: not a .wav file ({str(error) or 'it ends too early'})") from None
    if kind != (1, 2, RATE):
        given = f"{kind[0]} channels, {8 * kind[1]} bit, {kind[2]} Hz"
        raise InvalidInput(f"{where}: {given}; allowed: 1 channel, 16 bit, {RATE} Hz")
    if len(data) < 2 * promised or not promised:
        raise InvalidInput(f"{where}: {len(data) // 2} samples where {promised} are promised; truncated")
    return np.frombuffer(data, dtype="<i2").astype(np.float32) / 32768
