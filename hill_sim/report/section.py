"""What a section of the page is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from hill_sim.report.tables import Table


@dataclass(frozen=True)
class Section:
    """One section.

    Attributes:
        name: of the figure's files and of the anchor.
        question: the heading.
        caption: how to read the figure, in one sentence or two.
        alt: what the figure shows, for those who cannot see it.
        draw: makes the figure.
        raster: PNG in the page too, for figures of many points.
        details: tables under a fold, with the words on the fold; `tables`: those in plain sight.
    """

    name: str
    question: str
    caption: str
    alt: str
    draw: Callable[[], Figure]
    raster: bool = False
    tables: Sequence[Table] = ()
    details: Sequence[tuple[str, Sequence[Table]]] = field(default=())
