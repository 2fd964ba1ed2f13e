"""What the user asked for, and what came of it: imprint, and the conflict of successive edits.

K interactions, n shown points (the same ones at each interaction), C classes. Positions are in the coordinates of the
view at that interaction: centred on the shown points as they stood then, 1 their rms radius.
"""

from __future__ import annotations

import numpy as np

from hill_sim.types import Array

MOVED = 1e-9
"""View units: what moves by less was not asked for, it is rounding."""


def layouts(points: Array, labels: Array, n_classes: int) -> Array:
    """[M,C,3] center (x, y) and spread of each class in M layouts of the same points [M,n,2]; NaN where none is shown.

    As `hill_sim.types.layout_of`, for many layouts at once.
    """
    m = len(points)
    index = (np.arange(m)[:, None] * n_classes + labels).ravel()
    counts = np.bincount(labels, minlength=n_classes).astype(np.float64)
    counts[counts == 0] = np.nan

    def means(values: Array) -> Array:
        return np.bincount(index, values.ravel(), m * n_classes).reshape(m, n_classes) / counts

    x, y = means(points[..., 0]), means(points[..., 1])
    spread = means(np.hypot(points[..., 0] - x[:, labels], points[..., 1] - y[:, labels]))
    return np.stack([x, y, spread], axis=-1)


def imprint(before: Array, asked: Array, achieved: Array, unedited: Array, labels: Array, n_classes: int) -> float:
    """How far the classes went towards where the user wanted them, as a share of the way, net of the twin.

        imprint = sum_kc <a_kc, g_kc - u_kc> / sum_kc |a_kc|^2

    over interactions k and shown classes c, of vectors (x, y, spread), which is all that reaches the objective: a the
    change that the edit asks for, g the change until the next interaction or the end, u the twin's change in the same
    time. 1: on top of what would have happened anyway, all that was asked for; 0: nothing of it; below 0: the opposite.
    Any real number; neither direction is worse (a bad edit with a large imprint is worse than one with a small one).
    NaN where nothing was asked for or the twin is not known.

    Args:
        before, asked, achieved: [K,n,2] the shown points when the user came, as the user left them, and at the next
            interaction or the end. unedited: [K,n,2] the twin's at that time too, in the same coordinates.
        labels: [n] of the shown points.
    """
    if len(before) == 0 or not np.isfinite(unedited).all():
        return float("nan")
    # The twin when the user came: at first it is the trial itself; later, where it stood at the end of the interaction
    # before, carried over into the new view, which is centred and scaled by the points that stand in `achieved` there.
    start = before.copy()
    center = achieved[:-1].mean(axis=1, keepdims=True)
    radius = np.sqrt(((achieved[:-1] - center) ** 2).sum(axis=2).mean(axis=1))
    start[1:] = (unedited[:-1] - center) / np.where(radius > 0, radius, 1.0)[:, None, None]
    stacked = layouts(np.concatenate([before, asked, achieved, unedited, start]), labels, n_classes)
    b, a, g, u, s = stacked.reshape(5, len(before), n_classes, 3)
    wanted = np.nan_to_num(a - b)
    wanted[np.abs(wanted).max(axis=2) <= MOVED] = 0.0
    total = float((wanted**2).sum())
    if total == 0.0:
        return float("nan")
    return float((wanted * np.nan_to_num((g - b) - (u - s))).sum() / total)


def conflict_index(before: Array, asked: Array) -> float:
    """How much a user takes back of what the same user asked before: mean over successive edits of

        - cos(d_k-1, d_k) = - sum_i <d_k-1,i , d_k,i> / (|d_k-1| |d_k|)

    in [-1,1]; more is worse: -1 asks for the same again, 0 for something unrelated, 1 for the exact opposite. d_k,i is
    the displacement that edit k asks of shown point i, and the sums run over the points that both edits move. NaN for
    pairs of edits that move no point in common; they are left out of the mean, and NaN if all are.

    Args:
        before, asked: [K,n,2] the shown points when the user came and as the user left them.
    """
    fields = asked - before
    moved = np.hypot(fields[..., 0], fields[..., 1]) > MOVED
    both = moved[:-1] & moved[1:]
    one, other = np.where(both[..., None], fields[:-1], 0.0), np.where(both[..., None], fields[1:], 0.0)
    size = np.sqrt((one**2).sum(axis=(1, 2)) * (other**2).sum(axis=(1, 2)))
    twice = size > 0
    if not twice.any():
        return float("nan")
    cosines = (one * other).sum(axis=(1, 2))[twice] / size[twice]
    return -float(np.clip(cosines, -1.0, 1.0).mean())
