"""`log.txt` in the run folder: what the driver and its workers had to say, with times."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

LOG = "log.txt"
_LARGEST, _OLDER = 10_000_000, 3  # bytes of one file; files kept besides


@contextmanager
def logbook(folder: Path) -> Iterator[None]:
    """Within it, everything from INFO up that hill_sim and its workers log goes into the folder's log too."""
    handler = _Quiet(folder / LOG, maxBytes=_LARGEST, backupCount=_OLDER, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    logger = logging.getLogger("hill_sim")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
        handler.close()


class _Quiet(RotatingFileHandler):
    """A full disk ends the sweep in one line of its own; each log line need not say so as well."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass
