"""The commit of the checkout that hill-sim runs from."""

from __future__ import annotations

import subprocess
from pathlib import Path

import hill_sim


def commit() -> str:
    """Of the checkout that hill-sim runs from, and whether it was changed since; empty outside a checkout."""
    home = Path(hill_sim.__file__).resolve().parent
    if not (home.parent / ".git").exists():
        return ""

    def git(*arguments: str) -> str:
        found = subprocess.run(["git", "-C", str(home), *arguments], capture_output=True, text=True, timeout=10)
        return found.stdout.strip() if found.returncode == 0 else ""

    try:
        name = git("rev-parse", "--short=12", "HEAD")
        return f"{name} with uncommitted changes" if name and git("status", "--porcelain", "-uno") else name
    except (OSError, subprocess.TimeoutExpired):  # no git, or a checkout that it does not answer for
        return ""
