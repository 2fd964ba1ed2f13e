"""Parse the arguments, call the command, turn what a user can mend into one line."""

from __future__ import annotations

import errno
import importlib
import logging
import os
import select
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, get_type_hints

import tyro

import hill_sim
from hill_sim.cli import arguments
from hill_sim.errors import HillError

DESCRIPTION = """Simulated users who reshape a classifier's latent space while it trains: when does that help, whom does
it harm? Start with: hill-sim sweep quickstart"""

_HANDLERS = {
    arguments.Run: "run",
    arguments.Sweep: "sweep",
    arguments.Status: "status",
    arguments.Report: "report",
    arguments.Replay: "replay",
    arguments.List: "listing",
    arguments.Data: "data",
    arguments.Doctor: "doctor",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0 done; 1 done, and something failed or differs (it is named); 2 bad input, in one line on stderr;
        130 interrupted.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv == ["--version"]:
        print(f"hill-sim {hill_sim.__version__}")
        return 0
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # so that `--policy mine:User` finds mine.py here
    try:
        with _log_on_stderr():
            if argv[:1] == ["bench"] and argv[1:2] in (["kernels"], ["engine"], ["sweep"]):
                return _bench(argv[1], argv[2:])
            return _call(argv)
    except HillError as error:
        print(f"hill-sim: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("hill-sim: interrupted; a sweep goes on with the same command", file=sys.stderr)
        return 130
    except OSError as error:
        if not (isinstance(error, BrokenPipeError) or (error.errno == errno.EIO and _terminal_is_gone())):
            raise
        # `hill-sim list | head`, or a terminal that was closed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _terminal_is_gone() -> bool:
    """Whether stdout is a terminal that was closed; a disk that fails says EIO too."""
    try:
        asked = select.poll()
        asked.register(sys.stdout.fileno(), 0)
    except (AttributeError, OSError, ValueError):  # no stdout, or none that is a file
        return False
    return any(events & select.POLLHUP for _, events in asked.poll(0))


def _call(argv: Sequence[str]) -> int:
    given: Any = tyro.cli(arguments.Command, prog="hill-sim", description=DESCRIPTION, args=argv)
    if getattr(given, "data_root", None) is not None:
        os.environ["HILL_SIM_DATA"] = str(given.data_root.expanduser().resolve())  # so that workers look there too
    command = importlib.import_module(f"hill_sim.cli.{_HANDLERS[type(given)]}")
    return int(command.main(given))


def _bench(what: str, argv: Sequence[str]) -> int:
    """A benchmark's arguments are those of its `main`; it imports torch, so only when it is called."""
    run = importlib.import_module(f"hill_sim.bench.{what}").main
    (arguments_class, *_) = get_type_hints(run).values()
    run(tyro.cli(arguments_class, prog=f"hill-sim bench {what}", args=argv))
    return 0


@contextmanager
def _log_on_stderr() -> Iterator[None]:
    """Warnings of hill_sim as lines on stderr, while the command runs."""
    logger, handler = logging.getLogger("hill_sim"), logging.StreamHandler()
    handler.setLevel(logging.WARNING)  # a sweep's log takes more
    handler.setFormatter(logging.Formatter("hill-sim: %(message)s"))
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
