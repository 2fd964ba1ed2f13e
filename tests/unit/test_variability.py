"""Components of variance: a plain-loop oracle, simulated data with known components, and tables with holes."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest

from hill_sim.errors import InvalidInput
from hill_sim.risk.variability import variability


def simulated(sizes: tuple[int, int, int], sd: dict[str, float], rng: np.random.Generator) -> pd.DataFrame:
    """Crossed random effects with these standard deviations."""
    axes = {"strategy": (0,), "person": (1,), "seed": (2,), "strategy x person": (0, 1), "strategy x seed": (0, 2),
            "person x seed": (1, 2), "rest": (0, 1, 2)}  # fmt: skip
    cells = np.full(sizes, 0.01)
    for name, along in axes.items():
        shape = [size if axis in along else 1 for axis, size in enumerate(sizes)]
        cells = cells + sd.get(name, 0.0) * rng.normal(size=shape)
    rows = [(*place, cells[place]) for place in product(*map(range, sizes))]
    return pd.DataFrame(rows, columns=["strategy", "person", "seed", "gain"])


def by_loops(table: pd.DataFrame) -> dict[str, float]:
    """Two factors, written out: Searle, Casella and McCulloch 1992, section 4.3."""
    people, seeds = sorted(set(table["person"])), sorted(set(table["seed"]))
    y = {(r.person, r.seed): r.gain for r in table.itertuples()}
    grand = sum(y.values()) / len(y)
    person = {p: sum(y[p, s] for s in seeds) / len(seeds) for p in people}
    seed = {s: sum(y[p, s] for p in people) / len(people) for s in seeds}
    a, b = len(people), len(seeds)
    ms_person = b * sum((person[p] - grand) ** 2 for p in people) / (a - 1)
    ms_seed = a * sum((seed[s] - grand) ** 2 for s in seeds) / (b - 1)
    rest = sum((y[p, s] - person[p] - seed[s] + grand) ** 2 for p in people for s in seeds) / ((a - 1) * (b - 1))
    return {"person": (ms_person - rest) / b, "seed": (ms_seed - rest) / a, "rest": rest}


def test_two_factors_are_the_textbooks() -> None:
    table = simulated((1, 6, 5), {"person": 1.0, "seed": 0.5, "rest": 0.3}, np.random.default_rng(0))
    found = variability(table).table.set_index("component")
    assert list(found.index) == ["person", "seed", "rest"]
    for name, value in by_loops(table).items():
        assert found.loc[name, "variance"] == pytest.approx(value)
    assert found["share"].sum() == pytest.approx(1)
    assert found["df"].tolist() == [5, 4, 20]


TRUTH = {"strategy": 1.0, "person": 0.6, "seed": 0.8, "strategy x person": 0.4, "strategy x seed": 0.3,
         "person x seed": 0.5, "rest": 0.7}  # fmt: skip


@pytest.mark.slow
def test_known_components_come_out_on_average() -> None:
    rng = np.random.default_rng(1)
    runs = [variability(simulated((4, 8, 7), TRUTH, rng), draws=10).table for _ in range(200)]
    mean = pd.concat(runs).groupby("component", sort=False)["variance"].mean()
    for name, sd in TRUTH.items():
        assert mean[name] == pytest.approx(sd**2, rel=0.3), name


@pytest.mark.slow
def test_intervals_cover_the_truth() -> None:
    rng = np.random.default_rng(2)
    hits = dict.fromkeys(TRUTH, 0)
    runs = 300
    for _ in range(runs):
        table = variability(simulated((4, 8, 7), TRUTH, rng), draws=1000).table.set_index("component")
        for name, sd in TRUTH.items():
            hits[name] += table.loc[name, "low"] <= sd**2 <= table.loc[name, "high"]
    for name, count in hits.items():
        assert 0.91 <= count / runs <= 1.0, f"{name}: {count} of {runs}"


def test_nothing_is_zero_and_says_so() -> None:
    rng = np.random.default_rng(3)
    tables = [variability(simulated((1, 10, 10), {"rest": 1.0}, rng)).table.set_index("component") for _ in range(40)]
    negative = [t for t in tables if t.loc["person", "negative"]]
    assert 5 < len(negative) < 35, "without an effect, estimates fall on both sides of 0"
    for table in negative:
        assert table.loc["person", "variance"] == 0
        assert table.loc["person", "low"] == 0
    assert np.mean([table.loc["person", "high"] > 0 for table in negative]) > 0.7, "0 is not certain"


def test_a_hole_costs_its_worst_level() -> None:
    table = simulated((2, 5, 6), {"person": 1.0, "rest": 0.5}, np.random.default_rng(4))
    person = table["person"] == 3
    table.loc[person & (table["seed"] > 1), "gain"] = np.nan
    found = variability(table)
    assert found.lost == ("person 3",)
    assert found.n == 2 * 4 * 6
    pd.testing.assert_frame_equal(found.table, variability(table[~person]).table)
    one = table[~(person | ((table["person"] == 0) & (table["seed"] == 2) & (table["strategy"] == 1)))]
    assert variability(one).n in (2 * 3 * 6, 2 * 4 * 5, 1 * 4 * 6)


def test_what_cannot_be_told_is_refused() -> None:
    table = simulated((1, 1, 6), {"rest": 1.0}, np.random.default_rng(5))
    with pytest.raises(InvalidInput, match="1 of strategy, 1 of person, 6 of seed; at least two factors"):
        variability(table)
    with pytest.raises(InvalidInput, match="several in one cell"):
        variability(pd.concat([table, table]))
    with pytest.raises(InvalidInput, match="no column 'gian'"):
        variability(table, "gian")


def test_constant_outcomes_have_no_variance() -> None:
    table = simulated((2, 3, 4), {}, np.random.default_rng(6))
    found = variability(table).table
    np.testing.assert_allclose(found["variance"], 0, atol=1e-30)
    assert found["share"].between(0, 1).all()
