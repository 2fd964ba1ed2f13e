"""Whose doing is the spread of an outcome: the strategy's, the person's, or chance's.

Many people follow the same strategies on the same seeds, so that every cell (strategy, person, seed) holds one outcome.
The model is the crossed random-effects one, y = mean + strategy + person + seed + their pairs + rest, every term
independent with a variance of its own; the rest holds the triple interaction.

Estimates are by the method of moments: mean squares of the balanced analysis of variance, and the linear combinations
of them whose expectations are the components (Cornfield and Tukey 1956). The table is balanced by design, and there
this is closed, unbiased, and equal to REML wherever no component would be negative. A negative estimate says that
nothing of that component could be told from the rest; it is shown as 0, with its interval. Intervals are generalised
confidence intervals (Weerahandi 1993; for balanced components Khuri et al. 1998): each mean square over its expectation
is chi^2/df, so drawing the chi^2 draws the components, and their shares of the total as well.

A strategy's component says how much the strategies *in this table* differ. Few levels give wide intervals: with two
strategies there is one degree of freedom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from hill_sim.errors import InvalidInput
from hill_sim.seeding import generator
from hill_sim.types import Array

FACTORS = ("strategy", "person", "seed")
REST = "rest"
COLUMNS = ("component", "levels", "df", "variance", "low", "high", "share", "share_low", "share_high", "negative")


@dataclass(frozen=True)
class Variability:
    """Components of variance.

    Attributes:
        table: one row a component (factors, then pairs such as `person x seed`, then `rest`), `COLUMNS`: `variance`
            with its interval in the outcome's unit squared, `share` of the total with its interval, in [0,1]; `df`;
            `negative` if the estimate was below 0 and is shown as 0. `levels` of a factor, 0 for others.
        mean: of all outcomes.
        lost: levels left out because trials of theirs were missing or had failed, as `person 3`, `seed 7`.
    """

    table: pd.DataFrame
    mean: float
    lost: tuple[str, ...]

    @property
    def n(self) -> int:
        """Outcomes analysed."""
        return int(np.prod([levels for levels in self.table["levels"] if levels]))


def variability(
    outcomes: pd.DataFrame,
    measure: str = "gain",
    factors: Sequence[str] = FACTORS,
    *,
    level: float = 0.95,
    draws: int = 20_000,
    seed: int = 0,
) -> Variability:
    """Components of variance of a measure over crossed factors.

    Args:
        outcomes: one row a cell, with the columns `factors` and `measure`. A factor of one level is left out. A level
            with missing or NaN cells is left out, the worst first, until the table is whole.

    Raises:
        InvalidInput: no such column, two outcomes in one cell, or fewer than two factors with two levels.
    """
    for name in (*factors, measure):
        if name not in outcomes:
            raise InvalidInput(f"factors, measure: no column {name!r} in the outcomes")
    if outcomes.duplicated(list(factors)).any():
        raise InvalidInput(f"outcomes: several in one cell of {', '.join(factors)}; average them, or name what differs")
    cells, lost = _whole(outcomes, measure, factors)
    used = [axis for axis, length in enumerate(cells.shape) if length > 1]
    if len(used) < 2:
        sizes = ", ".join(f"{n} of {name}" for name, n in zip(factors, cells.shape, strict=True))
        raise InvalidInput(f"outcomes: levels are {sizes}; at least two factors need two levels each")
    cells = cells.reshape([cells.shape[axis] for axis in used])
    names = [factors[axis] for axis in used]
    return Variability(_components(cells, names, level, draws, seed), float(cells.mean()), lost)


def _whole(outcomes: pd.DataFrame, measure: str, factors: Sequence[str]) -> tuple[Array, tuple[str, ...]]:
    """The outcomes as an array with an axis a factor, without the levels that have holes."""
    kept = [list(dict.fromkeys(outcomes[name])) for name in factors]
    values = outcomes.set_index(list(factors))[measure].astype(float)
    cells = values.reindex(pd.MultiIndex.from_product(kept, names=factors)).to_numpy()
    cells = cells.reshape([len(levels) for levels in kept])
    lost = []
    while cells.size and np.isnan(cells).any():
        holes = np.isnan(cells)
        worst = max(
            (holes.mean(axis=tuple(a for a in range(cells.ndim) if a != axis))[i], axis, i)
            for axis in range(cells.ndim)
            for i in range(cells.shape[axis])
        )
        _, axis, i = worst
        lost.append(f"{factors[axis]} {kept[axis].pop(i)}")
        cells = np.delete(cells, i, axis=axis)
    return cells, tuple(lost)


def _components(cells: Array, names: Sequence[str], level: float, draws: int, seed: int) -> pd.DataFrame:
    effects = [c for size in range(1, cells.ndim + 1) for c in combinations(range(cells.ndim), size)]
    squares = {effect: _mean_square(cells, effect) for effect in effects}
    df = {effect: int(np.prod([cells.shape[axis] - 1 for axis in effect])) for effect in effects}
    rng = generator(seed, "variability")
    drawn = {effect: squares[effect] * df[effect] / rng.chisquare(df[effect], draws) for effect in effects}
    estimates = {effect: _component(squares, effect, cells.shape) for effect in effects}
    samples = {effect: np.maximum(_component(drawn, effect, cells.shape), 0.0) for effect in effects}
    total = sum(max(float(value), 0.0) for value in estimates.values())
    totals = np.sum(list(samples.values()), axis=0)
    ends = [(1 - level) / 2, (1 + level) / 2]
    rows = []
    for effect in effects:
        variance = max(float(estimates[effect]), 0.0)
        shares = np.divide(samples[effect], totals, out=np.zeros(draws), where=totals > 0)
        name = " x ".join(names[axis] for axis in effect) if len(effect) < cells.ndim else REST
        levels = cells.shape[effect[0]] if len(effect) == 1 else 0
        share = variance / total if total else 0.0
        rows.append([name, levels, df[effect], variance, *np.quantile(samples[effect], ends),
                     share, *np.quantile(shares, ends), bool(estimates[effect] < 0)])  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _mean_square(cells: Array, effect: tuple[int, ...]) -> float:
    """Of the interaction of these axes (of one axis: its main effect): sum of squares / df."""
    others = tuple(axis for axis in range(cells.ndim) if axis not in effect)
    means = cells.mean(axis=others, keepdims=True)
    for axis in effect:  # sweeping out each axis leaves the interaction alone
        means = means - means.mean(axis=axis, keepdims=True)
    repeats = cells.size / means.size
    return float((means**2).sum() * repeats / np.prod([cells.shape[axis] - 1 for axis in effect]))


def _component(squares: dict[tuple[int, ...], float] | dict[tuple[int, ...], Array], effect: tuple[int, ...],
               shape: tuple[int, ...]) -> Array:  # fmt: skip
    """The combination of mean squares whose expectation is the effect's variance.

    E[MS_e] is the sum of sigma^2_f over all f that contain e, each times the product of the sizes outside f; by
    inclusion and exclusion sigma^2_e = sum over f containing e of (-1)^(|f|-|e|) MS_f, over the sizes outside e.
    """
    outside = np.prod([size for axis, size in enumerate(shape) if axis not in effect])
    signed = [(-1) ** (len(f) - len(effect)) * np.asarray(ms) for f, ms in squares.items() if set(effect) <= set(f)]
    return np.sum(signed, axis=0) / outside
