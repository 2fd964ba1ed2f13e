"""Conflicts: from which alpha on does the model stop shrugging a user off, and does the user contradict himself?"""

from __future__ import annotations

from hill_sim.report import tables
from hill_sim.report.figure_thresholds import conflict
from hill_sim.report.section import Section
from hill_sim.report.study import EPS_POINTS, POINTS, Study, in_points
from hill_sim.report.words import alphas
from hill_sim.risk.downside import downside


def shrugging_off(study: Study) -> Section:
    """For runs of several alphas."""
    found = downside(study.trials, ["setting", "kind", "user"])
    percent = {name: POINTS * found[name] for name in ("risk", "risk_low", "risk_high")}
    risk = found.assign(**percent, iqm=percent["risk"], low=percent["risk_low"], high=percent["risk_high"])
    shortfall = found.assign(iqm=found["shortfall"], low=found["shortfall_low"], high=found["shortfall_high"], note="")
    table = in_points(shortfall).assign(**percent)
    index = study.change("conflict_index", 1.0)
    return Section(
        "conflict",
        "When does the model stop shrugging it off?",
        f"Left: the alpha from which on more than {EPS_POINTS:g} point of test accuracy is lost against the twin "
        f"(hollow: never up to alpha {study.loudest:g}; an arrow: the interval reaches into never). Middle: how often "
        f"a trial loses that much, over {alphas(study.alphas)}. Right: whether a user's next edit asks for the "
        "same again or takes it back; none where no point is moved twice.",
        f"Thresholds in alpha, chance of loss and conflict index of {len(study.users)} users, with intervals.",
        lambda: conflict(study.thresholds, risk, index, study.users, study.kinds, study.drawn, EPS_POINTS),
        details=[("Every number with its interval", [tables.shrugging_off(study, s, table, index)
                                                     for s in study.drawn])],
    )  # fmt: skip
