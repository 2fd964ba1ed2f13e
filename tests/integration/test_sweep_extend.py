"""A run folder goes on as a larger sweep, and ends as that sweep run from the start would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from search_support import Formula, same_table, searched
from sweep_support import tiny

from hill_sim.errors import InvalidInput
from hill_sim.sweep import run_sweep
from hill_sim.sweep.folder import SPEC
from hill_sim.sweep.search.study import read_study

LARGER: list[dict[str, Any]] = [
    {"seeds": 3},
    {"grid": {"alpha": [0.1, 0.3, 0.7]}},
    {"policies": ["hold", "compactness", "separation", "ce_only"]},
]


@pytest.mark.parametrize("changes", LARGER)
def test_what_is_new_is_run_and_the_table_is_that_of_the_whole(changes: dict[str, Any], tmp_path: Path) -> None:
    run_sweep(tiny(), tmp_path / "grown", simulate=Formula(), progress=False)
    with pytest.raises(InvalidInput, match=r"holds another sweep: .*; --extend runs what is new, or choose another"):
        run_sweep(tiny(**changes), tmp_path / "grown", simulate=Formula(calls=0), progress=False)
    later = Formula()
    run_sweep(tiny(**changes), tmp_path / "grown", simulate=later, extend=True, progress=False)
    run_sweep(tiny(**changes), tmp_path / "whole", simulate=(whole := Formula()), progress=False)
    assert same_table(tmp_path / "grown", tmp_path / "whole")
    assert 0 < len(later.trained) < len(whole.trained)
    assert (tmp_path / "grown" / SPEC).read_text() == (tmp_path / "whole" / SPEC).read_text()


@pytest.mark.parametrize(
    "changes", [{"seeds": 1}, {"grid": {"alpha": [0.3]}}, {"seeds": [1, 0]}, {"policies": ["hold"]}]
)
def test_what_takes_away_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    run_sweep(tiny(), tmp_path / "run", simulate=Formula(), progress=False)
    with pytest.raises(InvalidInput, match="it does not only add, so --extend is no way; choose another --out"):
        run_sweep(tiny(**changes), tmp_path / "run", simulate=Formula(calls=0), extend=True, progress=False)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["qmc", "tpe", "nsga2"])
def test_a_search_goes_on_with_more_candidates(sampler: str, tmp_path: Path) -> None:
    for count in (14, 25, 40):  # in the middle of a generation
        run_sweep(searched(sampler=sampler, candidates=count), tmp_path / "grown", simulate=Formula(), extend=True)
    run_sweep(searched(sampler=sampler), tmp_path / "whole", simulate=Formula())
    assert same_table(tmp_path / "grown", tmp_path / "whole")
    pairs = zip(read_study(tmp_path / "grown").trials, read_study(tmp_path / "whole").trials, strict=True)
    assert all((a.params, a.values, a.state) == (b.params, b.values, b.state) for a, b in pairs)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"seed": 1}, {"candidates": 20}, {"batch": 20}, {"seeds": 3}])
def test_a_search_that_differs_in_anything_else_is_another(changes: dict[str, Any], tmp_path: Path) -> None:
    run_sweep(searched(), tmp_path / "run", simulate=Formula())
    with pytest.raises(InvalidInput, match="it does not only add"):
        run_sweep(searched(**changes), tmp_path / "run", simulate=Formula(calls=0), extend=True)
