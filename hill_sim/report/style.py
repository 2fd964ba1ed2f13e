"""How figures look: one theme, one palette that colour-blind readers can use, and the way to SVG and PNG.

Figures are plain `Figure` objects: pyplot, its windows and its global state are never touched.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK, MUTED, RULE, PAPER = "#1b2430", "#5b6675", "#d9dee5", "#ffffff"
GOOD, BAD = "#0072b2", "#c44e00"
SETTING_COLORS = ("#0072b2", "#e08a00", "#009e73", "#8a3ffc")
SETTING_MARKERS = ("o", "s", "D", "^")
WIDTH = 10.0
"""Inches. The page shows a figure 1,150 pixels wide, so 10 pt come out as 16 pixels, and as 10 on a narrow screen."""


@contextmanager
def theme() -> Iterator[None]:
    """Within it figures are made and saved."""
    style = {
        **sns.axes_style("white"),
        **sns.plotting_context("notebook"),
        "axes.edgecolor": "#9aa4b1",
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "axes.titlelocation": "left",
        "axes.titlesize": 11.5,
        "axes.titleweight": "bold",
        "axes.labelsize": 10.5,
        "axes.linewidth": 0.8,
        "axes.unicode_minus": True,
        "figure.facecolor": PAPER,
        "font.family": ["DejaVu Sans"],
        "font.size": 10.5,
        "text.color": INK,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelsize": 10,
        "ytick.labelsize": 10,
        "legend.frameon": False,
        "svg.fonttype": "path",
        "svg.hashsalt": "hill-sim",
        "savefig.facecolor": PAPER,
    }
    with mpl.rc_context(style):
        yield


def figure(width: float, height: float) -> Figure:
    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    return made


def class_colors(n: int) -> list[Any]:
    """One colour a class: seaborn's colour-blind palette; past its ten, evenly spaced hues (labels tell them apart)."""
    return list(sns.color_palette("colorblind", n) if n <= 10 else sns.husl_palette(n, s=0.8, l=0.55))


def setting_colors(settings: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each drawn setting."""
    return dict(zip(settings, zip(SETTING_COLORS, SETTING_MARKERS, strict=True), strict=False))


def zero_line(axes: Axes, vertical: bool) -> None:
    (axes.axvline if vertical else axes.axhline)(0, color=INK, linewidth=1.0, zorder=1)


def png(made: Figure, path: Path, dpi: int = 144) -> bytes:
    """Write a figure as PNG; returns the bytes."""
    made.savefig(path, format="png", dpi=dpi)
    made.set_layout_engine("none")  # laid out now; doing it again for the SVG would only cost time
    return path.read_bytes()


def svg(made: Figure) -> bytes:
    stream = io.BytesIO()
    made.savefig(stream, format="svg", metadata={"Date": None, "Creator": "hill-sim"})
    return stream.getvalue()


def data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
