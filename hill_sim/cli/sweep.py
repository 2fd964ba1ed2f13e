"""`hill-sim sweep`: from YAML to a run folder, a leaderboard, and the report's path."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hill_sim.cli.arguments import Sweep
from hill_sim.cli.listing import EXPERIMENTS, experiments
from hill_sim.cli.text import strict_json
from hill_sim.errors import InvalidInput, unknown
from hill_sim.sweep.expand import expand
from hill_sim.sweep.spec import SweepSpec, read_sweep

if TYPE_CHECKING:
    from hill_sim.sweep.run import SweepSummary


def main(given: Sweep) -> int:
    spec, source, out = _find(given)
    if given.plan:
        _print_plan(spec, source)
        return 0

    from hill_sim.sweep.run import run_sweep
    from hill_sim.sweep.trackers import trackers

    summary = run_sweep(
        spec,
        out,
        workers=given.workers,
        device=given.device,
        backend=given.backend,
        retry_failed=given.retry_failed,
        extend=given.extend,
        executor=given.executor,
        ray_address=given.ray_address,
        gpus_per_worker=given.gpus_per_worker,
        storage=given.storage,
        callbacks=trackers([name for name in given.log.split(",") if name], out),
    )
    report = _report(out) if given.report and not summary.interrupted else None
    if given.json:
        print(_as_json(summary, report))
    else:
        _print(summary, report, given)
    return 130 if summary.interrupted else 1 if summary.failed else 0


def _print_plan(spec: SweepSpec, source: str) -> None:
    from hill_sim.engine import attribution_cost, plan

    if spec.search:
        from hill_sim.sweep.search.work import Proposals

        print(Proposals(spec))
        return
    try:
        planned = expand(spec)
    except InvalidInput as error:
        raise InvalidInput(f"{source}: {error}") from None
    print(plan([item.trial for item in planned]))
    if spec.attribution:
        users = spec.attribution.users
        asked = [item.trial for item in planned if item.role == "user" and (users is None or item.label in users)]
        print(attribution_cost(asked, spec.attribution.kinds))


def _find(given: Sweep) -> tuple[SweepSpec, str, Path]:
    """The spec, what to call it in messages, and the folder it runs into."""
    path = Path(given.spec)
    if path.is_dir():
        from hill_sim.sweep.folder import read_spec

        if given.set or given.budget:
            raise InvalidInput(f"{path}: a run folder goes on as it began; --set and --budget belong to a YAML file")
        return read_spec(path), str(path), given.out or path
    if not path.exists() and path.suffix not in (".yaml", ".yml"):
        bundled = experiments()
        if given.spec not in bundled:
            raise unknown("sweep", given.spec, [*bundled, "a YAML file", "a run folder"])
        path = EXPERIMENTS / f"{given.spec}.yaml"
    spec = read_sweep(path, budget=given.budget, overrides=given.set)
    default = Path("runs") / (f"{spec.name}-{given.budget}" if given.budget else spec.name)
    return spec, str(path), given.out or default


def _report(folder: Path) -> Path:
    from hill_sim.report import write_report

    return write_report(folder)


def _print(summary: SweepSummary, report: Path | None, given: Sweep) -> None:
    from hill_sim.report import leaderboard_text
    from hill_sim.sweep.folder import load_results

    print(leaderboard_text(load_results(summary.folder, details=False)), end="\n\n")
    shared = f", {1 - summary.epochs_run / summary.epochs_asked:.0%} of epochs shared" if summary.epochs_asked else ""
    finished = f"{summary.finished:,} of {summary.trials:,} trials finished"
    print(f"{finished}, {summary.ran:,} run now, in {summary.seconds:.0f} s{shared}")
    for label, key, reason in summary.failed[:10]:
        print(f"failed: {label} {key}: {reason}", file=sys.stderr)
    if len(summary.failed) > 10:
        print(f"failed: {len(summary.failed) - 10} more, see {summary.folder}/results.parquet", file=sys.stderr)
    if summary.interrupted:
        also = " --storage postgresql://..." if given.storage else ""
        print(f"interrupted; to go on: hill-sim sweep {shlex.quote(str(summary.folder))}{also}", file=sys.stderr)
    print(f"results: {summary.folder}")
    if report:
        print(f"report:  {report}")


def _as_json(summary: SweepSummary, report: Path | None) -> str:
    from hill_sim.sweep.gains import gains

    return strict_json(
        {
            "folder": str(summary.folder),
            "report": str(report) if report else None,
            "trials": summary.trials,
            "finished": summary.finished,
            "ran": summary.ran,
            "failed": [list(item) for item in summary.failed],
            "epochs_asked": summary.epochs_asked,
            "epochs_run": summary.epochs_run,
            "seconds": summary.seconds,
            "interrupted": summary.interrupted,
            "gains": gains(summary.outcomes).to_dict("records"),
        }
    )
