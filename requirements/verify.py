"""Is this interpreter's environment the pinned one, and whole? Prints one `name==version` per pin that is not.

An installation that was interrupted leaves distributions that look installed: their metadata is there, their files
are not. So every file that a distribution's RECORD lists is looked for, with its size.

    .venv/bin/python requirements/verify.py requirements/dev.txt      exit code 1 if anything is missing
"""

from __future__ import annotations

import csv
import os
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path


def pins(path: Path) -> list[tuple[str, str]]:
    """Name and version of every pin in a requirements file that applies to this platform, `-r` followed."""
    found: list[tuple[str, str]] = []
    for raw in path.read_text().splitlines():
        line, _, marker = (part.strip() for part in raw.split("#")[0].partition(";"))
        if line.startswith("-r"):
            found += pins(path.parent / line[2:].strip())
        elif line and applies(marker):
            name, _, version = line.partition("==")
            found.append((name, version))
    return found


def applies(marker: str) -> bool:
    """The one marker the pin files use; anything else is a mistake in them."""
    if marker not in ("", 'sys_platform == "linux" and platform_machine == "x86_64"'):
        raise SystemExit(f"verify.py: cannot read the marker {marker!r}")
    return not marker or (sys.platform == "linux" and os.uname().machine == "x86_64")


def whole(name: str, version: str) -> bool:
    """True if the distribution is installed at this version with every file that it lists, at the listed size."""
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return False
    record = found.read_text("RECORD")
    if record is None or found.version.partition("+")[0] != version:
        return False
    for path, _, size in csv.reader(record.splitlines()):
        if path.endswith(".pyc"):  # written, and rewritten, by whoever imports
            continue
        try:
            if size and os.stat(found.locate_file(path)).st_size != int(size):
                return False
        except OSError:
            return False
    return True


def main() -> int:
    missing = [f"{name}=={version}" for name, version in pins(Path(sys.argv[1])) if not whole(name, version)]
    print("\n".join(missing), end="\n" if missing else "")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
