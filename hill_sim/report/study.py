"""A run as the report sees it: who the users are, under which settings they were tried, and every comparison once.

*User* is a policy as the sweep's author named it (label, or policy with the options that tell it from others).
*Setting* is all that a trial fixes besides the user, alpha and the seed: the sweep's case, or the objective, with
whatever else varies (lam, task, ...). All effects are in percentage points from here on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from hill_sim.engine.results import EPOCH_COLUMNS, Outcome, RunSet, TrialResult
from hill_sim.errors import HillError
from hill_sim.registry import CONFLICTS, CONTROLS, STRATEGIES
from hill_sim.risk.comparison import COLUMNS, compare
from hill_sim.risk.groups import group_sizes
from hill_sim.risk.threshold import EPS, thresholds
from hill_sim.tasks import Task, load_task
from hill_sim.trial import TWIN, Options, Trial

KINDS = ("strategy", "own", "control", "conflict")
KIND_TITLES = {"strategy": "Strategies", "own": "Your own", "control": "Controls", "conflict": "Conflicts"}
MOST_USERS = 30
MOST_SETTINGS = 4
POINTS = 100.0
EPS_POINTS = POINTS * EPS
_PER_USER = ("policy", "policy_options", "user", "alpha", "seed", "interactions")


@dataclass(frozen=True, eq=False)
class Study:
    """The tables behind every figure and sentence of a report.

    Attributes:
        runs: what is compared; `whole` has also the points of designs and the branches of trials,
            which answer questions of their own.
        trials: one row a trial (twins left out), with the columns `case`, `user`, `kind`, `setting`; the trial's own
            field `user` stands in `user_options`.
        settings: names in the order of the run; at most `MOST_SETTINGS` are drawn (`drawn`).
        main: the setting that the headline is about: the first in which the human does not turn the data down.
    """

    runs: RunSet
    trials: pd.DataFrame
    settings: tuple[str, ...]
    main: str
    whole: RunSet

    @classmethod
    def of(cls, runs: RunSet) -> Study:
        whole, runs = runs, _compared(runs)
        table = runs.outcomes.assign(place=np.arange(len(runs.results)))
        if table.empty:
            names = [f.name for kind in (Trial, Outcome) for f in fields(kind)]
            table = pd.DataFrame(columns=[*names, "place"])
        table["user_options"] = table["user"]
        table["user"] = runs.info.get("labels") or _users(table)
        table["case"] = runs.info.get("cases") or ""
        table["setting"] = _settings(table, runs.info.get("cases"))
        trials = table[table["policy"] != TWIN].reset_index(drop=True)
        trials["kind"] = [_kind(policy) for policy in trials["policy"]]
        settings = tuple(dict.fromkeys(trials["setting"]))
        additive = [s for s in settings if _mixing(trials, runs, s) == "additive"]
        return cls(runs, trials, settings, (additive or list(settings) or [""])[0], whole)

    @property
    def drawn(self) -> tuple[str, ...]:
        """The settings that figures show: the main one first, the others in the order of the run."""
        return (self.main, *(s for s in self.settings if s != self.main))[:MOST_SETTINGS]

    @cached_property
    def done(self) -> pd.DataFrame:
        return self.trials[self.trials["status"] == "done"]

    @cached_property
    def failed(self) -> list[TrialResult]:
        return [result for result in self.runs.results if result.outcome.status == "failed"]

    @cached_property
    def seeds(self) -> list[int]:
        return sorted(int(seed) for seed in self.trials["seed"].unique())

    @cached_property
    def alphas(self) -> list[float]:
        return sorted(float(alpha) for alpha in self.trials["alpha"].unique())

    @property
    def loudest(self) -> float:
        """The largest alpha: where users show most clearly."""
        return self.alphas[-1] if self.alphas else float("nan")

    @cached_property
    def detailed(self) -> set[str]:
        """Keys of the trials of which a report shows more than the outcome: the loudest, and their twins."""
        loudest = self.trials[self.trials["alpha"] == self.loudest]
        return {*loudest["key"], *loudest["twin_key"]}

    @cached_property
    def overall(self) -> pd.DataFrame:
        """`compare` per setting and user, all alphas of a seed averaged; in points. Holm over a setting's users."""
        return in_points(compare(self.trials, ["setting", "kind", "user"], family=["setting"]))

    @cached_property
    def by_alpha(self) -> pd.DataFrame:
        return in_points(compare(self.trials, ["setting", "kind", "user", "alpha"], family=["setting", "alpha"]))

    def change(self, measure: str, scale: float = POINTS) -> pd.DataFrame:
        """Any measure that is relative to the twin, against the twin, per setting and user; times `scale`."""
        return in_points(compare(self.trials, ["setting", "kind", "user"], measure, ("twin",)), scale)

    @cached_property
    def thresholds(self) -> pd.DataFrame:
        """`risk.threshold.thresholds` of the test accuracy, per setting and user."""
        return thresholds(self.trials, ["setting", "kind", "user"])

    @cached_property
    def per_class(self) -> pd.DataFrame:
        """Change of each class's recall against the twin, by setting, user and class, in points. Holm over them all."""
        return self._per_part("class_gain", "class", self.n_classes)

    @cached_property
    def per_group(self) -> pd.DataFrame:
        """Change of each group's accuracy against the twin, likewise, with the column `group`."""
        return self._per_part("group_gain", "group", self.n_groups)

    def _per_part(self, measure: str, name: str, parts: int) -> pd.DataFrame:
        """`compare` of a measure that has one value a class or group."""
        by = ["setting", "kind", "user", name]
        if parts == 0:
            return pd.DataFrame(columns=[*by, *COLUMNS])
        columns = ["setting", "kind", "user", "policy", "seed", "alpha"]
        long = self.trials.loc[np.repeat(np.arange(len(self.trials)), parts), columns].reset_index(drop=True)
        long[name] = np.tile(np.arange(parts), len(self.trials))
        long[measure] = np.concatenate(
            [np.array(v) if len(v) == parts else np.full(parts, np.nan) for v in self.trials[measure]]
        )
        return in_points(compare(long, by, measure, ("twin",), family=["setting"]))

    @cached_property
    def n_classes(self) -> int:
        return max((len(result.outcome.class_recall) for result in self.runs.results), default=0)

    @cached_property
    def n_groups(self) -> int:
        return max((len(result.outcome.group_gain) for result in self.runs.results), default=0)

    @cached_property
    def classes(self) -> tuple[list[str], list[int | None]]:
        """Names of the classes and how many test samples each has (None where the task cannot be loaded)."""
        task = self._task
        if task is None or task.n_classes != self.n_classes:
            return [f"class {index}" for index in range(self.n_classes)], [None] * self.n_classes
        return list(task.class_names), np.bincount(task.test.y.numpy(), minlength=task.n_classes).tolist()

    @cached_property
    def groups(self) -> tuple[list[str], list[int | None]]:
        """The same of the groups; 0 samples for one that is not in the test split."""
        task = self._task
        if task is None or task.test.groups is None or len(task.group_names) != self.n_groups:
            return [f"group {index}" for index in range(self.n_groups)], [None] * self.n_groups
        return list(task.group_names), group_sizes(task.test.groups.numpy(), self.n_groups).tolist()

    @cached_property
    def _task(self) -> Task | None:
        """The one task of the run; None if there are several, or it cannot be loaded."""
        tasks = {(r.trial.task, r.trial.task_options) for r in self.runs.results}
        if len(tasks) != 1:
            return None
        name, options = tasks.pop()
        try:
            return load_task(name, Options(options))
        except HillError:  # a user's task file that has since moved: the numbers still stand
            return None

    @cached_property
    def users(self) -> list[str]:
        """Users to show, by kind, then by their gain over the twin in the main setting (best first)."""
        table = self.overall[self.overall["against"] == "twin"]
        gain = table[table["setting"] == self.main].set_index("user")["iqm"]
        elsewhere = table.drop_duplicates("user").set_index("user")["iqm"]
        kind = table.drop_duplicates("user").set_index("user")["kind"]
        gain = gain[~gain.index.duplicated()].reindex(kind.index).fillna(elsewhere).fillna(-np.inf)
        names = sorted(kind.index, key=lambda user: -gain[user])
        if len(names) > MOST_USERS:
            half = MOST_USERS // 2
            names = [*names[:half], *names[-half:]]
        return sorted(names, key=lambda user: KINDS.index(kind[user]))

    @cached_property
    def kinds(self) -> dict[str, str]:
        return dict(zip(self.trials["user"], self.trials["kind"], strict=True))

    @property
    def hidden_users(self) -> int:
        return self.trials["user"].nunique() - len(self.users)

    @cached_property
    def test_size(self) -> int:
        return max((len(result.predictions) for result in self.runs.results), default=0)

    def curves(self, alpha: float, first_epoch: int, column: str) -> pd.DataFrame:
        """One row a trial and epoch from `first_epoch` on: an epoch measure minus the twin's, in points.

        Args:
            column: one of `EPOCH_COLUMNS`, or `gap` (train minus validation accuracy).
        """
        by = ["setting", "kind", "user", "epoch"]
        of_key = {result.outcome.key: result for result in self.runs.results if result.epochs}
        rows = self.done[self.done["alpha"] == alpha]
        rows = rows[rows["key"].isin(of_key) & rows["twin_key"].isin(of_key)]
        if rows.empty:
            return pd.DataFrame(columns=[*by, *COLUMNS])
        differences = [
            (_curve(of_key[key], column) - _curve(of_key[twin], column))[first_epoch - 1 :]
            for key, twin in zip(rows["key"], rows["twin_key"], strict=True)
        ]
        lengths = [len(difference) for difference in differences]
        table = rows[["setting", "kind", "user", "policy", "seed"]].loc[rows.index.repeat(lengths)]
        epochs = np.concatenate([np.arange(first_epoch, first_epoch + length) for length in lengths])
        table = table.assign(epoch=epochs, difference=np.concatenate(differences))
        return in_points(compare(table.reset_index(drop=True), by, "difference", ("twin",), resamples=1000))


def _compared(runs: RunSet) -> RunSet:
    """The users to be compared: without the points of designs and the branches of trials."""
    roles = runs.info.get("roles")
    if not roles or set(roles) == {"user"}:
        return runs
    kept = [i for i, role in enumerate(roles) if role == "user"]
    aligned = {name: [runs.info[name][i] for i in kept] for name in ("cases", "labels", "roles")}
    return RunSet(tuple(runs.results[i] for i in kept), {**runs.info, **aligned})


def in_points(table: pd.DataFrame, scale: float = POINTS) -> pd.DataFrame:
    """Effects and their intervals as percentage points, or in another unit."""
    return table.assign(**{name: scale * table[name].astype(float) for name in ("iqm", "low", "high")})


def sure(row: Any) -> int:
    """+1 or -1 if the interval lies wholly above or below 0 and rests on at least five seeds, else 0.

    The bootstrap interval of two, three or four values is far too narrow to conclude anything from.
    """
    if row.n < ENOUGH_SEEDS:
        return 0
    return int(row.low > 0) - int(row.high < 0)


def proven(row: Any) -> int:
    """As `sure`, and the signed-rank test says so too when corrected (Holm) for all that the row is compared beside."""
    return sure(row) if row.p_holm <= SIGNIFICANT else 0


ENOUGH_SEEDS = 5
SIGNIFICANT = 0.05


def _curve(result: TrialResult, column: str) -> np.ndarray:
    if column == "gap":
        return np.array(result.epochs["train_accuracy"]) - np.array(result.epochs["validation_accuracy"])
    assert column in EPOCH_COLUMNS
    return np.array(result.epochs[column])


def _kind(policy: str) -> str:
    if policy in CONTROLS:
        return "control"
    if policy in CONFLICTS:
        return "conflict"
    return "strategy" if all(name in STRATEGIES for name in policy.split(" > ")) else "own"


def _users(table: pd.DataFrame) -> list[str]:
    """Policies as names; where one comes in several variants, with the options that tell them apart."""
    names = []
    variants = table.groupby("policy")[["policy_options", "user"]].nunique().max(axis=1)
    for policy, options, user in table[["policy", "policy_options", "user"]].itertuples(index=False):
        said = []
        if variants[policy] > 1:
            for given in (json.loads(options), json.loads(user)):
                said += [f"{k}={v}" for k, v in given.items()] if isinstance(given, dict) else [json.dumps(given)]
        names.append(f"{policy} ({', '.join(said)})" if said else policy)
    return names


def _settings(table: pd.DataFrame, cases: Sequence[str] | None) -> list[str]:
    """The case (else the objective), and every other field of the trial that varies within it."""
    first = list(cases) if cases and any(cases) else [_short(value) for value in table["objective"]]
    grouped = pd.Series(first, index=table.index, dtype=object)
    labels = grouped.tolist()
    users = table["policy"] != TWIN
    known = {*_PER_USER, *(() if cases and any(cases) else ("objective",))}
    for name in (f.name for f in fields(Trial)):
        if name in known or name not in table:
            continue
        varies = table[name][users].astype(str).groupby(grouped[users]).nunique()
        varying = grouped.map(varies).fillna(0) > 1
        for row in np.flatnonzero(varying):
            labels[row] += f" · {name} {_short(table[name].iloc[row])}"
    return labels


def _short(value: Any) -> str:
    if not isinstance(value, str):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if not value.startswith("{"):
        return value
    options = json.loads(value)
    return " ".join([str(options.pop("preset", "")), *(f"{k}={v}" for k, v in options.items())]).strip() or "default"


def _mixing(trials: pd.DataFrame, runs: RunSet, setting: str) -> str:
    place = trials.loc[trials["setting"] == setting, "place"].iloc[0]
    return runs.results[place].trial.objective_options.mixing
