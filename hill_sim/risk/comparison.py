"""Users against their controls, paired over seeds: how much better, how sure, in how many seeds.

A gain counts as a user's only over four references that share everything with the trial but the user:

* `twin`: no edit at all, cross-entropy alone;
* `ce_scaled`: the cross-entropy weighed as in the trial, no human term;
* `hold`: the human term is on, the layout stays as it is;
* `random`: gestures of the same magnitude in random directions.

Every difference is taken between trials of one seed, then summarised over the seeds (Agarwal et al. 2021, rliable):
interquartile mean, percentile bootstrap interval, probability of improvement, and a signed-rank test that is corrected
for how many are compared (`significance`). A row may pool several trials of a seed (all alphas, say): they are averaged
within the seed first, because the seed is what was drawn independently.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import pandas as pd

from hill_sim.errors import InvalidInput
from hill_sim.risk.significance import holm, signed_rank
from hill_sim.risk.statistics import bootstrap_rows, interquartile_mean, iqm_weights
from hill_sim.trial import CE_SCALED, TWIN, Trial
from hill_sim.types import Array

REFERENCES = ("twin", CE_SCALED, "hold", "random")
_USER_FIELDS = ("policy", "policy_options", "user")
_SHARED = [f.name for f in fields(Trial) if f.name not in _USER_FIELDS]
COLUMNS = ("against", "iqm", "low", "high", "n", "better", "worse", "improvement", "p", "p_holm", "note")


def compare(
    outcomes: pd.DataFrame,
    by: Sequence[str],
    measure: str = "gain",
    references: Sequence[str] = REFERENCES,
    *,
    family: Sequence[str] = (),
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Paired comparisons over seeds, one row per group of `by` and reference.

    Args:
        outcomes: one row a trial, as `RunSet.outcomes`; failed trials (NaN) are left out with their whole seed.
        by: columns that make a row, e.g. ("case", "policy", "alpha"). What they do not tell apart is averaged within
            each seed; a seed counts only where all its trials ended.
        measure: a column that is already relative to the twin (`gain`, `macro_f1_change`, `churn`, ...). Against the
            other references it is the trial's value minus the reference's.
        references: some of `REFERENCES`.
        family: columns of `by` within which Holm's correction is made, e.g. ("case",): the rows that agree in them and
            in the reference are the ones that are compared. By default all rows of a reference.
        level, resamples, seed: of the bootstrap.

    Returns:
        The columns of `by`, and
            against: the reference.
            iqm: interquartile mean over seeds of the paired difference.
            low, high: its bootstrap interval; NaN for fewer than two seeds.
            n: seeds; better, worse: those with a difference above and below 0.
            improvement: probability of improvement, in [0,1]: share of seeds that are better, ties half.
            p: two-sided, of `significance.signed_rank`; NaN for fewer than two seeds.
            p_holm: the same corrected for the size of the family.
            note: why there is no number or no interval; empty otherwise.

    Raises:
        InvalidInput: unknown column or reference, or no finished trial has a twin to be compared with.
    """
    for name in (*by, measure, "seed"):
        if name not in outcomes:
            raise InvalidInput(f"by, measure: no column {name!r} (there are: {', '.join(map(str, outcomes.columns))})")
    for name in family:
        if name not in by:
            raise InvalidInput(f"family: {name!r} is not in by (allowed: {', '.join(by)})")
    check_twins(outcomes)
    for name in references:
        if name not in REFERENCES:
            raise InvalidInput(f"references: unknown {name!r} (allowed: {', '.join(REFERENCES)})")
    keys = list(by)
    tables = []
    for name in references:
        difference = outcomes[measure].astype(float) - reference_values(outcomes, measure, name)
        values = outcomes[[*keys, "seed"]].assign(difference=difference.to_numpy())
        paired = per_seed(values, keys)
        stats = summarise(paired.to_numpy(), level=level, resamples=resamples, seed=seed)
        is_reference = outcomes["policy"] == (TWIN if name == "twin" else name)
        itself = is_reference.groupby([outcomes[key] for key in keys], sort=False).all()
        stats["note"] = _notes(stats["n"].to_numpy(), itself.reindex(paired.index).to_numpy(), name)
        tables.append(paired.index.to_frame(index=False).assign(against=name).join(stats))
    if not tables:
        return pd.DataFrame(columns=[*keys, *COLUMNS])
    table = pd.concat(tables, ignore_index=True)
    families = table.groupby(["against", *family], sort=False)["p"]
    table["p_holm"] = families.transform(lambda p: holm(p.to_numpy())).to_numpy()
    return table[[*keys, *COLUMNS]]


def check_twins(outcomes: pd.DataFrame) -> None:
    """Raise InvalidInput if trials have ended and not one of them has a twin that ended: nothing can be said then.

    Single missing twins are no reason: their pairs are left out and n says so.
    """
    if not {"status", "policy", "twin_test_accuracy"} <= set(outcomes):
        return  # a table of somebody's own differences
    done = outcomes[(outcomes["status"] == "done") & (outcomes["policy"] != TWIN)]
    if len(done) and done["twin_test_accuracy"].isna().all():
        given = f"none of the {len(done)} finished trials has a twin that finished"
        raise InvalidInput(
            f"twins: {given}; every measure is relative to it. Run one to see why: hill-sim run --policy {TWIN} "
            f"--seeds 1, with the task and recipe of the trials, or Trial.twin() in Python"
        )


def reference_values(outcomes: pd.DataFrame, measure: str, reference: str) -> Array:
    """[rows] the reference's value of `measure` for each trial: same seed, and equal in everything but the user.

    0 for `twin`, since the measure is relative to it. NaN where there is no such trial, and for the reference itself.
    For `random` the one that is matched to the trial's own policy, and where there is none the first one given.
    """
    if reference == "twin":
        return np.where(outcomes["policy"] == TWIN, np.nan, 0.0)
    shared = [name for name in _SHARED if name in outcomes]
    index = pd.MultiIndex.from_frame(outcomes[shared].astype(str))
    rows = (outcomes["policy"] == reference).to_numpy()
    found = pd.Series(outcomes[measure].to_numpy(dtype=float)[rows], index=index[rows])
    first = found[~found.index.duplicated()].reindex(index).to_numpy()
    if reference == "random" and rows.any():
        matched = [json.loads(text or "{}").get("match", "compactness") for text in outcomes["policy_options"][rows]]
        own = found.set_axis(_with(index[rows], matched))
        exact = own[~own.index.duplicated()].reindex(_with(index, outcomes["policy"])).to_numpy()
        first = np.where(np.isnan(exact), first, exact)
    return np.where(rows | (outcomes["policy"] == TWIN).to_numpy(), np.nan, first)


def summarise(values: Array, *, level: float = 0.95, resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Interquartile mean, bootstrap interval, counts and p-value of each row of paired differences.

    Args:
        values: [G, n] one column a seed, NaN where a seed has no pair.

    Returns:
        G rows: iqm, low, high, n, better, worse, improvement, p (see `compare`). The intervals are those of
        `statistics.bootstrap_interval` of each row's values in ascending order, all rows at once.
    """
    given = np.asarray(values, dtype=np.float64)
    values = np.sort(given, axis=1)  # NaN go last
    counts = (~np.isnan(values)).sum(axis=1)
    iqm, low, high = np.full((3, len(values)), np.nan)
    for n in np.unique(counts[counts > 0]):
        rows = np.flatnonzero(counts == n)
        some = values[rows, :n]
        iqm[rows] = interquartile_mean(some, axis=1)
        if n > 1:
            low[rows], high[rows] = bootstrap_rows(
                some, iqm_weights(int(n)), level=level, resamples=resamples, seed=seed
            )
    tiny = 1e-12  # what averaging within a seed leaves of a difference of exactly 0
    better, worse = (values > tiny).sum(axis=1), (values < -tiny).sum(axis=1)
    share = np.divide(
        better + 0.5 * (counts - better - worse), counts, out=np.full(len(values), np.nan), where=counts > 0
    )
    p = np.array([signed_rank(row) for row in given], dtype=np.float64)
    return pd.DataFrame({"iqm": iqm, "low": low, "high": high, "n": counts, "better": better, "worse": worse,
                         "improvement": share, "p": p})  # fmt: skip


def per_seed(values: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """[groups x seeds] mean of the column `difference` in each seed; NaN for a seed in which some trial is missing."""
    groups = values.groupby([*keys, "seed"], sort=False)["difference"].agg(["mean", "count", "size"])
    expected = groups["size"].groupby(level=list(range(len(keys))), sort=False).transform("max")
    return groups["mean"].where(groups["count"] == expected).unstack("seed", sort=False)


def _notes(counts: Array, itself: Array, reference: str) -> list[str]:
    def note(n: int, same: bool) -> str:
        if same and n == 0:
            return f"is {reference} itself"
        if n == 0:
            return f"no finished pair with {reference}"
        return "no interval: one seed" if n == 1 else ""

    return [note(int(n), bool(same)) for n, same in zip(counts, itself, strict=True)]


def _with(index: pd.MultiIndex, more: Sequence[str] | pd.Series) -> pd.MultiIndex:
    return pd.MultiIndex.from_arrays([*(index.get_level_values(i) for i in range(index.nlevels)), list(more)])
