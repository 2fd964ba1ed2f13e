"""Downloads: verified, resumable, with a progress bar; nothing unfinished ever bears the name of a finished file.

Pooch decides what is there and checks it; the bytes come through `Resuming`, which keeps what has arrived in a `.part`
file and asks the server for the rest next time.
"""

from __future__ import annotations

import logging
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import pooch
import requests
from tqdm import tqdm

from hill_sim.errors import Unavailable

_log = logging.getLogger(__name__)
_TIMEOUT = 30.0  # seconds without a byte
_BLOCK = 1 << 18


def download(url: str, path: Path, known_hash: str | None) -> Path:
    """Fetch `url` to `path`, unless it is there already and right.

    Args:
        known_hash: `md5:...` or `sha256:...`; None where the publisher gives none and changes the packing at will:
            then the content is checked after unpacking.

    Raises:
        Unavailable: no connection, a refusal, or bytes that are not the ones expected; one line that says what to
            fetch by hand, from where, to which folder.
    """
    pooch.get_logger().setLevel(logging.ERROR)  # one line in our own words instead of two in pooch's
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fetched = pooch.retrieve(url, known_hash, fname=path.name, path=path.parent, downloader=Resuming(path))
    except ValueError as error:
        part = _part(path)
        part.unlink(missing_ok=True)  # whole, and wrong: nothing to go on from
        raise Unavailable(f"{url}: what came is not the published file ({_first_line(error)}); nothing kept") from None
    except (requests.RequestException, OSError) as error:
        kept = (
            f"; {_part(path).stat().st_size:,} bytes kept, go on with the same command" if _part(path).exists() else ""
        )
        reason = _reason(error)
        raise Unavailable(f"cannot fetch {url} ({reason}); or put it by hand at {path}{kept}") from None
    return Path(fetched)


class Resuming:
    """A downloader for pooch: goes on from `PATH.part`, and hands over only what arrived whole."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, url: str, output_file: Any, pooch_: Any, check_only: bool = False) -> None:
        part = _part(self.path)
        have = part.stat().st_size if part.exists() else 0
        headers = (
            {"Range": f"bytes={have}-", "Accept-Encoding": "identity"} if have else {"Accept-Encoding": "identity"}
        )
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
            if have and answer.status_code == 416:  # nothing beyond what we have
                os.replace(part, output_file)
                return
            answer.raise_for_status()
            goes_on = answer.status_code == 206
            length = int(answer.headers.get("Content-Length", 0)) or None
            start = have if goes_on else 0
            total = start + length if length else None
            with (
                part.open("ab" if goes_on else "wb") as stream,
                tqdm(
                    total=total, initial=start, unit="B", unit_scale=True, unit_divisor=1024,
                    desc=self.path.name, disable=not sys.stderr.isatty(),
                ) as bar,
            ):  # fmt: skip
                for block in answer.iter_content(_BLOCK):
                    stream.write(block)
                    bar.update(len(block))
        size = part.stat().st_size
        if total is not None and size < total:
            raise OSError(f"the connection ended after {size:,} of {total:,} bytes")
        os.replace(part, output_file)


def unpack_zip(archive: Path, folder: Path) -> list[Path]:
    """Unpack a .zip whose members' CRCs are right, inner .zip files too; each file appears whole or not at all.

    Raises:
        Unavailable: the archive is damaged; it is removed, so that the next try fetches it again.
    """
    written: list[Path] = []
    try:
        with zipfile.ZipFile(archive) as zipped:
            for member in zipped.infolist():
                target = (folder / member.filename).resolve()
                if member.is_dir() or not target.is_relative_to(folder.resolve()):
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                beside = _part(target)
                with zipped.open(member) as source, beside.open("wb") as copy:
                    while block := source.read(1 << 20):  # raises at the end if the CRC is wrong
                        copy.write(block)
                os.replace(beside, target)
                written.append(target)
    except zipfile.BadZipFile as error:
        archive.unlink()
        raise Unavailable(f"{archive}: damaged ({error}); removed, fetch it again") from None
    for inner in [path for path in written if path.suffix == ".zip"]:
        written += unpack_zip(inner, folder)
        inner.unlink()
    return written


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _reason(error: Exception) -> str:
    """Why a download failed, without the inner workings of the HTTP library."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server says {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return "the server does not answer"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection ended before the file did"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return _first_line(error)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0]
