"""What is known about a data set before it is loaded: where it comes from, under which terms, whom to cite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hill_sim.errors import InvalidInput, Unavailable


@dataclass(frozen=True)
class Card:
    """A data set's title page.

    Attributes:
        title: the data set's name, in a few words.
        input: one sample, e.g. `colour image, 3 x 32 x 32`.
        source: the public page that the data come from.
        licence: as its authors state it.
        citation: whom to cite, one line.
        groups: what its samples are grouped by (`subject`, `speaker`), or empty.
        note: what one must know before concluding anything from it, or empty.
    """

    title: str
    input: str
    source: str = ""
    licence: str = ""
    citation: str = ""
    groups: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        for name in ("title", "input"):
            if not getattr(self, name):
                raise InvalidInput(f"card.{name}: empty; allowed: a few words")


Loader = TypeVar("Loader", bound=Callable[..., object])
Fetch = Callable[[Path], list[Path]]
"""Download what a task needs below a data root; the paths that are there afterwards. Done already: returns at once."""
Find = Callable[[], object]
"""Look for a task's files, without reading them; raises Unavailable if some are missing."""


@dataclass(frozen=True)
class Description:
    """What `described` has noted of a loader. No `find`: nothing that could be missing."""

    card: Card
    fetch: Fetch | None = None
    find: Find | None = None

    @property
    def is_here(self) -> bool:
        """True unless files are missing."""
        try:
            if self.find is not None:
                self.find()
        except Unavailable:
            return False
        return True


_DESCRIPTIONS: dict[object, Description] = {}


def described(card: Card, fetch: Fetch | None = None, find: Find | None = None) -> Callable[[Loader], Loader]:
    """Decorate a task's loader with its card, and with the functions that download its data, and look for them.

    Example:
        >>> @described(Card(title="Two moons", input="2 numbers"))
        ... def load(noise: float = 0.1) -> Task: ...
    """

    def decorate(loader: Loader) -> Loader:
        _DESCRIPTIONS[loader] = Description(card, fetch, find)
        return loader

    return decorate


def description_of(loader: object) -> Description | None:
    """What a decorated loader was decorated with, else None."""
    return _DESCRIPTIONS.get(loader)
