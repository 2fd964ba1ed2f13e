"""A file that the user names: from here, or below the data root."""

from __future__ import annotations

from pathlib import Path

from hill_sim.errors import InvalidInput
from hill_sim.tasks import options
from hill_sim.tasks.files import data_root


def user_file(task: str, given: str, option: str = "path") -> Path:
    """The file, looked for from the working directory and then below the data root.

    Raises:
        InvalidInput: no such file; the message names both places.
    """
    path = Path(options.text(option, given)).expanduser()
    below = data_root() / path
    for candidate in (path, below):
        if candidate.is_file():
            return candidate
    also = "" if path.is_absolute() else f" nor {below}"
    raise InvalidInput(f"task {task}: task_options.{option}: no file {path}{also}")
