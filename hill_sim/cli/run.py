"""`hill-sim run`: one user, some seeds, against the twin."""

from __future__ import annotations

import sys
from typing import Any

from hill_sim.cli.arguments import Run
from hill_sim.cli.text import percent, points, strict_json, table
from hill_sim.config import parse_yaml
from hill_sim.errors import InvalidInput
from hill_sim.sweep.places import check_place, put
from hill_sim.trial import Trial

_FIELDS = ("task", "policy", "alpha", "lam", "objective", "interactions", "epochs", "model")


def trials_of(given: Run) -> list[Trial]:
    """One trial per seed.

    Raises:
        InvalidInput: a field or value that a trial cannot have.
    """
    fields: dict[str, Any] = {name: getattr(given, name) for name in _FIELDS}
    for override in given.set:
        place, equals, text = override.partition("=")
        if not equals:
            raise InvalidInput(f"--set: {override!r} is not of the form a.b=value")
        try:
            check_place(place)
        except ValueError as error:
            raise InvalidInput(f"--set {error}") from None
        fields = put(fields, place, parse_yaml(text, f"--set {place}"))
    if given.seeds < 1:
        raise InvalidInput(f"seeds: {given.seeds} is not an integer >= 1")
    return [Trial(**fields, seed=seed) for seed in range(given.seeds)]


def main(given: Run) -> int:
    trials = trials_of(given)

    from hill_sim.engine import simulate
    from hill_sim.risk.statistics import bootstrap_interval, interquartile_mean

    runs = simulate(
        trials, device=given.device, backend=given.backend, verify=given.verify, progress=sys.stderr.isatty()
    )
    outcomes = runs.outcomes
    done = outcomes[outcomes["status"] == "done"]
    gain = done["gain"].to_numpy()
    low, high = bootstrap_interval(gain) if len(gain) > 1 else (float("nan"), float("nan"))
    middle = float(interquartile_mean(gain)) if len(gain) else float("nan")
    failures = outcomes[outcomes["status"] == "failed"]
    if given.json:
        summary = {"gain": middle, "gain_low": low, "gain_high": high, "seeds": len(gain), "failed": len(failures)}
        measures = [result.outcome.to_dict() | {"seed": result.trial.seed} for result in runs.results]
        print(strict_json({"trial": _common(trials[0]), "summary": summary, "outcomes": measures, "info": runs.info}))
        return 1 if len(failures) else 0
    trial = runs.results[0].trial
    objective = trial.objective if isinstance(trial.objective, str) else "own objective"
    print(f"{trial.task}, {trial.policy_name}, objective {objective}, alpha {trial.alpha:g}, lam {trial.lam:g}:")
    print("test accuracy against the twin (the same training without edits)\n")
    rows = [
        [str(row.seed), percent(row.test_accuracy), percent(row.twin_test_accuracy), points(row.gain),
         points(row.worst_recall_change), percent(row.churn), percent(row.negative_flips)]
        for row in outcomes.itertuples()
    ]  # fmt: skip
    print(table(["seed", "trial", "twin", "gain", "worst class", "churn", "negative flips"], rows))
    over = f"interquartile mean over {len(gain)} seeds, 95 % interval {points(low)} to {points(high)}"
    over = {0: "no seed was finished", 1: "one seed, so no interval"}.get(len(gain), over)
    print(f"\ngain {points(middle)} points ({over})")
    info = runs.info
    print(f"{info['epochs_run']:,} of {info['epochs_asked']:,} epochs run, {info['seconds']:.1f} s, {info['backend']}")
    for task, note in info["notes"].items():
        print(f"about the data of {task}: {note}")
    for row in failures.itertuples():
        print(f"seed {row.seed} failed: {_last_line(str(row.error))}", file=sys.stderr)
    return 1 if len(failures) else 0


def _common(trial: Trial) -> dict[str, Any]:
    return {name: value for name, value in trial.to_dict().items() if name != "seed"}


def _last_line(traceback: str) -> str:
    return (traceback.strip().splitlines() or ["no reason recorded"])[-1]
