"""Whether one sweep is another with something added, so that its run folder can go on as the larger one."""

from __future__ import annotations

from typing import Any

from hill_sim.sweep.expand import expand
from hill_sim.sweep.spec import SweepSpec


def only_adds(there: SweepSpec, here: SweepSpec) -> bool:
    """Whether everything that `there` runs is run by `here` as well, and comes out the same.

    Of grids, trees and designs: every planned trial of `there` is one of `here`'s, and the first seed, whose views are
    kept, is the same. Of searches: `here` asks for more candidates, and nothing else differs.
    """
    if there.search or here.search:
        if not (there.search and here.search):
            return False
        return here.search.candidates >= there.search.candidates and _but_candidates(there) == _but_candidates(here)
    if there.seeds[0] != here.seeds[0]:
        return False
    return {item.trial for item in expand(there)} <= {item.trial for item in expand(here)}


def _but_candidates(spec: SweepSpec) -> dict[str, Any]:
    values = spec.resolved()
    return {
        **{name: value for name, value in values.items() if name not in ("name", "question")},
        "search": {name: value for name, value in values["search"].items() if name != "candidates"},
    }
