"""What is known about a data set before it is loaded: where it comes from, under which terms, whom to cite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hill_sim.errors import InvalidInput


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

_CARDS: dict[object, tuple[Card, Fetch | None]] = {}


def described(card: Card, fetch: Fetch | None = None) -> Callable[[Loader], Loader]:
    """Decorate a task's loader with its card, and with the function that downloads its data.

    Example:
        >>> @described(Card(title="Two moons", input="2 numbers"))
        ... def load(noise: float = 0.1) -> Task: ...
    """

    def decorate(loader: Loader) -> Loader:
        _CARDS[loader] = (card, fetch)
        return loader

    return decorate


def card_of(loader: object) -> Card | None:
    """The card of a decorated loader, else None."""
    return _CARDS[loader][0] if loader in _CARDS else None


def fetch_of(loader: object) -> Fetch | None:
    """The download of a decorated loader, else None: its data cannot be fetched, or come with a package."""
    return _CARDS[loader][1] if loader in _CARDS else None
