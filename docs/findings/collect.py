"""From run folders to small tidy tables: `python docs/findings/collect.py runs/findings/*` writes docs/findings/tables.

One table a question, one row a comparison, each with its interval and its n; `runs.csv` and `sweeps/` say what was run.
All statistics are those of `hill_sim.risk`, as the reports show them. Effects are in percentage points.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from hill_sim.config import dump_yaml
from hill_sim.engine.results import RunSet
from hill_sim.report.attribution import attribution_table
from hill_sim.report.measured import BIAS, FIT, FLIPS
from hill_sim.report.overfitting import gap_table, overfitting_thresholds
from hill_sim.report.section_trust import effects as trust_table
from hill_sim.report.sensitivity import sensitivity_table
from hill_sim.report.study import POINTS, Study
from hill_sim.report.variability import component_table, person_table, person_trials
from hill_sim.risk.downside import downside
from hill_sim.sweep import load_results

HERE = Path(__file__).resolve().parent
TABLES = HERE / "tables"
UNUSED = ["against", "note", "better", "worse", "improvement", "p"]
NAMES = ("experiment", "task")
_PINNED = ("hill_sim", "torch", "python")


def overall(study: Study) -> pd.DataFrame:
    """Every user against the twin and the controls, all alphas of a seed averaged."""
    return study.overall.assign(main=study.overall["setting"] == study.main)


def by_alpha(study: Study) -> pd.DataFrame:
    """Gain, and change of the generalisation gap, against the twin at each alpha."""
    gain = study.by_alpha[study.by_alpha["against"] == "twin"].assign(measure="gain")
    return pd.concat([gain, gap_table(study).assign(measure="generalisation_gap_change")], ignore_index=True)


def thresholds(study: Study) -> pd.DataFrame:
    """The alpha from which on more than a point of accuracy is lost, or of generalisation gap gained."""
    parts = [study.thresholds.assign(measure="gain"), overfitting_thresholds(study).assign(measure="gap")]
    return pd.concat(parts, ignore_index=True)


def measures(study: Study) -> pd.DataFrame:
    """The measures of bias, flips, fit and conflict against the twin, all alphas of a seed averaged."""
    parts = [
        study.change(name, shown.scale).assign(measure=name)
        for name, shown in {**FLIPS, **BIAS, **FIT}.items()
        if name in study.trials
    ]
    parts.append(study.change("conflict_index", 1.0).assign(measure="conflict_index"))
    return pd.concat(parts, ignore_index=True).drop(columns=UNUSED)


def risk(study: Study) -> pd.DataFrame:
    """Chance to lose more than a point, and what the worst quarter of the seeds lost."""
    found = downside(study.trials, ["setting", "kind", "user"])
    scaled = [name for name in found if name.startswith(("risk", "shortfall"))]
    return found.assign(**{name: POINTS * found[name] for name in scaled})


def parts(study: Study) -> pd.DataFrame:
    """Change of every class's recall and every group's accuracy in the main setting, with the number of test samples."""
    tables = []
    for part, table, (names, sizes) in (
        ("class", study.per_class, study.classes),
        ("group", study.per_group, study.groups),
    ):
        number = table[part].astype(int) if len(table) else table[part]
        named = {"part": part, "name": number.map(dict(enumerate(names))), "size": number.map(dict(enumerate(sizes)))}
        kept = table["setting"] == study.main
        tables.append(table.assign(**named).drop(columns=[part, *UNUSED])[kept])
    return pd.concat([table for table in tables if len(table)], ignore_index=True)


def attribution(study: Study) -> pd.DataFrame:
    """What each interaction adds to the others, and does alone."""
    table = attribution_table(study)
    return table if table.empty else table[table["measure"].isin(("gain", "negative_flips"))]


def sensitivity(study: Study) -> pd.DataFrame:
    """Sobol's indices of designs."""
    return sensitivity_table(study.whole)


def components(study: Study) -> pd.DataFrame:
    """Strategy, person or seed: components of the variance."""
    trials = person_trials(study)
    return component_table(trials) if len(trials) else pd.DataFrame()


def persons(study: Study) -> pd.DataFrame:
    """Every person's gain under every strategy."""
    trials = person_trials(study)
    return person_table(trials) if len(trials) else pd.DataFrame()


def trust(study: Study) -> pd.DataFrame:
    """Harm removed and benefit kept by each rule of trust."""
    return trust_table(study).drop(columns="task", errors="ignore")


QUESTIONS: tuple[Callable[[Study], pd.DataFrame], ...] = (
    overall, by_alpha, thresholds, measures, risk, parts, attribution, sensitivity, components, persons, trust,
)  # fmt: skip


def collect(folders: Sequence[Path], out: Path = TABLES) -> None:
    """Write the tables of these run folders into `out`; what stood there of other runs goes."""
    (out / "sweeps").mkdir(parents=True, exist_ok=True)
    for old in (*out.glob("*.csv"), *out.glob("sweeps/*.yaml")):
        old.unlink()
    runs, found = [], {question.__name__: [] for question in QUESTIONS}
    for folder in folders:
        whole = load_results(folder)
        experiment = str(whole.info["spec"]["name"])
        (out / "sweeps" / f"{folder.name}.yaml").write_text(dump_yaml(whole.info["spec"]), encoding="utf-8")
        for task, some in by_task(whole):
            study = Study.of(some)
            runs.append({"experiment": experiment, "task": task, **_run(study)})
            for question in QUESTIONS:
                if _askable(study, question) and len(table := question(study)):
                    table = table.assign(experiment=experiment, task=task)
                    found[question.__name__].append(table[[*NAMES, *table.columns.drop(list(NAMES))]])
            print(f"{experiment}, {task}: {len(some.results):,} trials", file=sys.stderr)
    pd.DataFrame(runs).to_csv(out / "runs.csv", index=False)
    for name, tables in found.items():
        if tables:
            pd.concat(tables, ignore_index=True).to_csv(out / f"{name}.csv", index=False, float_format="%.4g")


def by_task(runs: RunSet) -> Iterator[tuple[str, RunSet]]:
    """The run, or where it holds several tasks the part of each: classes and groups are a task's own."""
    for task in dict.fromkeys(result.trial.task for result in runs.results):
        kept = [i for i, result in enumerate(runs.results) if result.trial.task == task]
        aligned = {name: [runs.info[name][i] for i in kept] for name in ("cases", "labels", "roles")}
        yield task, RunSet(tuple(runs.results[i] for i in kept), {**runs.info, **aligned})


def _askable(study: Study, question: Callable[[Study], pd.DataFrame]) -> bool:
    """A run of nothing but the points of a design has no users to compare; one of several rules of trust compares them."""
    if study.trials["trust"].nunique() > 1:
        return question is trust
    return question is sensitivity or not study.done.empty


def _run(study: Study) -> dict[str, object]:
    info, whole = study.runs.info, study.whole.results
    seeds = sorted({result.trial.seed for result in whole})
    pinned = info.get("pinned", {})
    return {
        "question": info["spec"].get("question", ""),
        "trials": len(whole),
        "failed": sum(result.outcome.status != "done" for result in whole),
        "seeds": len(seeds),
        "first_seed": seeds[0],
        "last_seed": seeds[-1],
        "alphas": " ".join(f"{alpha:g}" for alpha in study.alphas),
        "twin_accuracy": POINTS * study.done["twin_test_accuracy"].mean() if len(study.done) else float("nan"),
        "test_size": study.test_size,
        **{name: pinned.get(name, "") for name in _PINNED},
        "commit": info.get("commit", ""),
    }


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(f"usage: python {Path(__file__).name} RUN_FOLDER ...")
    collect([Path(argument) for argument in sys.argv[1:]])
