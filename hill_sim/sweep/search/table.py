"""A search's candidates as one tidy table, and which of its parameters mattered."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from hill_sim.risk.comparison import summarise
from hill_sim.sweep.search.candidates import Candidate, Ended, Told, names_of
from hill_sim.sweep.search.quiet import quiet
from hill_sim.sweep.search.spec import SearchSpec
from hill_sim.sweep.search.work import Proposals
from hill_sim.sweep.spec import SweepSpec
from hill_sim.sweep.store import ResultStore

FEWEST = 20
"""Complete candidates below which nothing is said about importance: PED-ANOVA looks at the best tenth."""


def candidate_table(spec: SweepSpec, store: ResultStore) -> pd.DataFrame:
    """One row a candidate whose trials have all ended, in the order in which they were proposed.

    Returns:
        Columns candidate, generation, state (complete, pruned, failed), feasible, seeds; for each objective its value
        under its name, and the 95 % bootstrap interval of the interquartile mean of its measure over the seeds as
        `NAME low` and `NAME high`; then the parameters by place, lists as JSON. NaN where a candidate has no value.
    """
    assert spec.search is not None
    proposals, search = Proposals(spec), spec.search
    measures = names_of(search)
    ended = {key: Ended.of_outcome(outcome, measures) for key, outcome in store.outcomes()}
    rows: list[dict[str, Any]] = []
    samples: list[list[list[float]]] = []
    for candidate in proposals.stored(store):
        if all(key in ended for key in candidate.keys):
            told = proposals.maker.told(candidate, ended)
            rows.append(_row(candidate, told, search, len(spec.seeds)))
            samples.append([_per_seed(candidate, ended, o.measure, len(spec.seeds)) for o in search.objectives])
    columns = ["candidate", "generation", "state", "feasible", "seeds", *(o.name for o in search.objectives)]
    table = pd.DataFrame(rows, columns=[*columns, *search.space])
    done = (table["state"] == "complete").to_numpy(dtype=bool)
    for index, objective in enumerate(search.objectives):
        values = np.array([sample[index] for sample in samples]).reshape(len(rows), -1)
        stats = summarise(np.where(done[:, None], values, np.nan)) if rows else pd.DataFrame(columns=["low", "high"])
        at = list(table.columns).index(objective.name) + 1
        for shift, end in enumerate(("low", "high")):
            table.insert(at + shift, f"{objective.name} {end}", stats[end].to_numpy(dtype=float))
    return table


def importances(table: pd.DataFrame, search: SearchSpec) -> pd.DataFrame:
    """PED-ANOVA (Watanabe et al. 2023): how much each parameter decides whether a candidate is among the best tenth.

    Returns:
        Columns objective, parameter, importance (shares that sum to 1 per objective); empty below `FEWEST` candidates.
    """
    done = table[table["state"] == "complete"]
    rows = []
    if len(done) >= FEWEST:
        distributions = {d.place: d.distribution for d in search.dimensions}
        with quiet():
            study = optuna.create_study(directions=[o.direction for o in search.objectives])
        study.add_trials(
            [
                optuna.trial.create_trial(
                    params={place: _plain(row[place]) for place in search.space},
                    distributions=distributions,
                    values=[row[o.name] for o in search.objectives],
                )
                for row in done.to_dict("records")
            ]
        )
        for index, objective in enumerate(search.objectives):
            sign = -1.0 if objective.direction == "maximize" else 1.0
            with quiet():
                found = get_param_importances(
                    study,
                    evaluator=PedAnovaImportanceEvaluator(),
                    target=lambda trial, index=index, sign=sign: sign * trial.values[index],  # type: ignore[misc]
                )
            rows += [(objective.name, place, found.get(place, 0.0)) for place in search.space]
    return pd.DataFrame(rows, columns=["objective", "parameter", "importance"])


def best(table: pd.DataFrame, search: SearchSpec) -> pd.DataFrame:
    """The feasible candidates, best first, each once; of several objectives, those that no other beats in all."""
    done = table[(table["state"] == "complete") & table["feasible"].astype(bool)].drop_duplicates(list(search.space))
    signs = np.array([-1.0 if o.direction == "maximize" else 1.0 for o in search.objectives])
    values = done[[o.name for o in search.objectives]].to_numpy(dtype=float) * signs
    if len(signs) == 1:
        return done.iloc[np.argsort(values[:, 0], kind="stable")]
    beaten = [bool(((values <= own).all(axis=1) & (values < own).any(axis=1)).any()) for own in values]
    front = done[~np.array(beaten, dtype=bool)]
    return front.sort_values(search.objectives[0].name, ascending=search.objectives[0].direction == "minimize")


def _row(candidate: Candidate, told: Told, search: SearchSpec, seeds: int) -> dict[str, Any]:
    values = told.values or (float("nan"),) * len(search.objectives)
    return {
        "candidate": candidate.number,
        "generation": candidate.generation,
        "state": told.state,
        "feasible": told.feasible,
        "seeds": seeds,
        **dict(zip((o.name for o in search.objectives), values, strict=True)),
        **candidate.params,
    }


def _per_seed(candidate: Candidate, ended: dict[str, Ended], measure: str, seeds: int) -> list[float]:
    values = np.array([ended[item.trial.key].measures[measure] for item in candidate.planned])
    return values.reshape(-1, seeds).mean(axis=0).tolist()


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
