"""The latent space before an edit, as the user wanted it, and as the model then went: one row a user."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hill_sim.engine.results import Interaction
from hill_sim.report.style import INK, MUTED, RULE, WIDTH, class_colors, figure
from hill_sim.report.words import short
from hill_sim.types import Array, layout_of

MOST_LABELS = 12
ROW = 2.62
_HALO = {"boxstyle": "round,pad=0.12", "fc": "white", "ec": "none", "alpha": 0.7}


@dataclass(frozen=True)
class Scene:
    """One user's interaction: title and what the user does, in words."""

    user: str
    says: str
    interaction: Interaction


def latents(scenes: Sequence[Scene], class_names: Sequence[str], until: Sequence[int]) -> Figure:
    """Three views a user, all of one trial's same points, with arrows for what was moved.

    Args:
        until: per scene the epoch at which `achieved` was taken.
    """
    made = figure(WIDTH, ROW * max(len(scenes), 1) + 0.6)
    grid = made.subplots(len(scenes), 4, squeeze=False, width_ratios=[0.7, 1, 1, 1])
    colors = class_colors(len(class_names))
    for row, (scene, end) in enumerate(zip(scenes, until, strict=True)):
        item = scene.interaction
        _words(grid[row, 0], scene)
        before, asked, went = grid[row, 1:]
        for ax in (before, asked, went):
            _frame(ax, *_window(item))
        wrong = item.predictions != item.labels
        _scatter(before, item.before, item.labels, colors, wrong)
        _arrows(before, item, colors)
        _centers(before, item.before, item, class_names, "+")
        _scatter(asked, item.after, item.labels, colors, wrong)
        _centers(asked, item.after, item, class_names, "+")
        _scatter(went, item.achieved, item.labels, colors, None)
        _misses(went, item)
        _centers(went, item.achieved, item, class_names, "+")
        when = "" if row else f"epoch {item.epoch}: "
        for ax, title in ((before, f"{when}what the user saw"), (asked, "what the user asked for"),
                          (went, f"the model at epoch {end}")):  # fmt: skip
            ax.set_title(title, fontsize=10.5, fontweight="bold" if row == 0 else "normal",
                         color=INK if row == 0 else MUTED)  # fmt: skip
    _legend(made)
    return made


def _words(ax: Axes, scene: Scene) -> None:
    ax.set_axis_off()
    name = textwrap.wrap(scene.user, 18)[:3]
    ax.text(0, 0.98, "\n".join(name), transform=ax.transAxes, va="top", fontsize=12, fontweight="bold")
    ax.text(0, 0.98 - 0.105 * len(name), textwrap.fill(scene.says, 24), transform=ax.transAxes, va="top", fontsize=9.5,
            color=MUTED, linespacing=1.35)  # fmt: skip


def _window(item: Interaction) -> tuple[Array, float]:
    """Center and half width of the square that shows 99 % of the points of all three views."""
    points = np.concatenate([item.before, item.after, item.achieved])
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) == 0:
        return np.zeros(2), 1.0
    low, high = np.quantile(points, [0.005, 0.995], axis=0)
    return (low + high) / 2, 0.56 * float(max((high - low).max(), 1e-6))


def _frame(ax: Axes, center: Array, half: float) -> None:
    ax.set_xlim(center[0] - half, center[0] + half)
    ax.set_ylim(center[1] - half, center[1] + half)
    ax.set_aspect("equal")
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_color(RULE)


def _scatter(ax: Axes, points: Array, labels: Array, colors: Sequence, wrong: Array | None) -> None:
    shade = np.array(colors)[labels]
    ax.scatter(points[:, 0], points[:, 1], s=17, c=shade, alpha=0.85, linewidths=0, zorder=2)
    if wrong is not None and wrong.any():
        ax.scatter(
            points[wrong][:, 0], points[wrong][:, 1], s=30, facecolors="none", edgecolors=INK, linewidths=1.0, zorder=3
        )


def _arrows(ax: Axes, item: Interaction, colors: Sequence) -> None:
    """A hair line for each moved point, a bold arrow for each center that moved visibly."""
    shift = item.after - item.before
    moved = np.hypot(*shift.T) > 1e-9
    if moved.any():
        ax.quiver(*item.before[moved].T, *shift[moved].T, color=np.array(colors)[item.labels[moved]], angles="xy",
                  scale_units="xy", scale=1, width=0.004, headwidth=3.5, headlength=4, alpha=0.5, zorder=3)  # fmt: skip
    starts, _ = layout_of(item.before, item.labels, len(item.centers))
    drags = item.centers - starts
    far = np.hypot(*np.nan_to_num(drags).T) > 0.08
    if far.any():
        ax.quiver(*starts[far].T, *drags[far].T, color=INK, angles="xy", scale_units="xy", scale=1, width=0.012,
                  headwidth=3.2, headlength=3.6, headaxislength=3.2, zorder=5)  # fmt: skip


def _misses(ax: Axes, item: Interaction) -> None:
    """Hollow squares where the user wanted the touched centers."""
    wanted = item.centers[item.touched]
    ax.scatter(
        wanted[:, 0], wanted[:, 1], s=52, marker="s", facecolors="none", edgecolors=INK, linewidths=1.1, zorder=4
    )


def _centers(ax: Axes, points: Array, item: Interaction, names: Sequence[str], marker: str) -> None:
    centers, _ = layout_of(points, item.labels, len(item.centers))
    shown = np.flatnonzero(np.isfinite(centers).all(axis=1))
    ax.scatter(centers[shown][:, 0], centers[shown][:, 1], s=70, marker=marker, color="white", linewidths=3.6, zorder=6)
    ax.scatter(centers[shown][:, 0], centers[shown][:, 1], s=60, marker=marker, color=INK, linewidths=1.6, zorder=7)
    labelled = shown if len(shown) <= MOST_LABELS else shown[item.touched[shown]][:MOST_LABELS]
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    for c in labelled:
        x, y = centers[c]
        if left < x < right and low < y < high:
            ax.annotate(short(str(names[c]), 10), (x, y), xytext=(5, 4), textcoords="offset points", fontsize=10,
                        fontweight="bold", bbox=_HALO, zorder=8)  # fmt: skip


def _legend(made: Figure) -> None:
    handles = [
        Line2D([], [], linestyle="", marker="o", color=MUTED, label="training sample, coloured by its label"),
        Line2D([], [], linestyle="", marker="o", markerfacecolor="none", markeredgecolor=INK, label="mispredicted"),
        Line2D([], [], linestyle="", marker="+", color=INK, markersize=9, markeredgewidth=1.6, label="class center"),
        Line2D([], [], color=INK, linewidth=2.5, marker=">", label="center dragged"),
        Line2D([], [], linestyle="", marker="s", markerfacecolor="none", markeredgecolor=INK, markersize=7,
               label="where it was wanted"),
    ]  # fmt: skip
    made.legend(handles=handles, loc="outside upper left", ncols=5, fontsize=9.5, columnspacing=1.3, handletextpad=0.5,
                borderaxespad=0.2)  # fmt: skip
