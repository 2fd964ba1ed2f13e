"""A file that the user names: from here, or below the data root."""

from __future__ import annotations

from pathlib import Path

from hill_sim.errors import InvalidInput
from hill_sim.tasks.files import data_root, note_read


def user_file(given: str, field: str) -> Path:
    """The file, looked for from the working directory and then below the data root.

    Args:
        field: what names it, in messages, e.g. `task_options.path`.

    Raises:
        InvalidInput: no such file; the message names both places.
    """
    if not isinstance(given, str) or not given:
        raise InvalidInput(f"{field}: {given!r} is not the path of a file")
    path = Path(given).expanduser()
    below = data_root() / path
    for candidate in (path, below):
        if candidate.is_file():
            note_read(candidate)
            return candidate
    also = "" if path.is_absolute() else f" nor {below}"
    raise InvalidInput(f"{field}: no file {path}{also}")
