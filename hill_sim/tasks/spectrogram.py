"""Log-mel spectrograms: power in bands that are evenly spaced in pitch as heard, on a logarithmic scale.

The mel scale is that of O'Shaughnessy (1987), 2595 log10(1 + f / 700); bands are triangles that overlap by half.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import fft
from scipy.signal import get_window

from hill_sim.types import Array

WINDOW = 0.032  # s
HOP = 0.0125  # s
FLOOR = 1e-6  # of full scale, as power: silence, some 60 dB below a loud voice


def log_mel(samples: Array, rate: int, bands: int, frames: int) -> Array:
    """[bands, frames] float32: natural log of the mean power in each band and frame, less the recording's mean.

    The frames are centred on the recording; what is beyond it is silence. Subtracting the mean takes out how loud and
    how near somebody spoke.

    Args:
        samples: [S] float, full scale is 1. rate: in Hz.
    """
    size, hop = round(WINDOW * rate), round(HOP * rate)
    needed = size + hop * (frames - 1)
    spare = needed - len(samples)
    left = spare // 2
    padded = np.pad(samples, (max(left, 0), max(spare - left, 0)))
    start = max(-left, 0)
    padded = padded[start : start + needed]
    window, filters = _tables(size, rate, bands)
    pieces = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    power = np.abs(fft.rfft(pieces * window, axis=1)) ** 2 / np.sum(window**2)
    spectrum = np.log(power @ filters + FLOOR).T
    result: Array = (spectrum - spectrum.mean()).astype(np.float32)
    return result


@lru_cache(maxsize=8)
def _tables(size: int, rate: int, bands: int) -> tuple[Array, Array]:
    """Hann window [size] and band weights [size // 2 + 1, bands], each band's weights with sum 1."""
    edges = _hertz(np.linspace(_mel(50.0), _mel(rate / 2), bands + 2))
    bins = np.arange(size // 2 + 1) * rate / size
    rising = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0.0, np.minimum(rising, falling))
    for band in np.flatnonzero(weights.sum(axis=0) == 0):  # narrower than a bin: take the nearest
        weights[np.abs(bins - edges[band + 1]).argmin(), band] = 1.0
    return get_window("hann", size), weights / weights.sum(axis=0)


def _mel(hertz: float) -> float:
    return float(2595.0 * np.log10(1.0 + hertz / 700.0))


def _hertz(mel: Array) -> Array:
    result: Array = 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    return result
