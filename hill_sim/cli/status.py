"""`hill-sim status`: how a sweep stands, from another shell, while it runs or after."""

from __future__ import annotations

from dataclasses import asdict

from hill_sim.cli.arguments import Status as Arguments
from hill_sim.cli.text import strict_json
from hill_sim.sweep.progress import duration
from hill_sim.sweep.status import Status, status


def main(given: Arguments) -> int:
    found = status(given.folder)
    print(strict_json(asdict(found)) if given.json else as_text(found))
    return 0


def as_text(found: Status) -> str:
    """A few lines of name and value."""
    state = "running" if found.driver else "finished" if not found.left else "stopped"
    pruned = f"{found.pruned:,} pruned, " if found.pruned else ""
    rows = [
        ("sweep", f"{found.folder}, {state}" + (f" (process {found.driver})" if found.driver else "")),
        ("trials", f"{found.done:,} done, {found.failed:,} failed, {pruned}{found.left:,} left, of {found.trials:,}"),
    ]
    if found.per_minute:
        ends = f", {duration(found.seconds_left)} left" if found.driver and found.seconds_left else ""
        rows.append(("rate", f"{found.per_minute:,.0f} trials/min{ends}"))
    if found.epochs_saved is not None:
        rows.append(("epochs", f"{found.epochs_saved:.0%} saved by sharing"))
    if found.best:
        rows.append(
            ("best gain", f"{100 * found.best['gain']:+.1f} points, {found.best['policy']} (one trial, not a mean)")
        )
    if found.last_batch:
        batch = found.last_batch
        rows.append(
            ("last batch", f"{batch['finished']} UTC, {batch['trials']} trials in {duration(batch['seconds'])}")
        )
    if found.pinned:
        backends = "+".join(sorted(set(found.pinned["backends"].values())))
        at = f", commit {found.commit}" if found.commit else ""
        rows.append(("pinned", f"{found.pinned['device']}, {backends}, torch {found.pinned['torch']}{at}"))
    if found.storage:
        rows.append(("shared at", found.storage))
    if found.resume:
        rows.append(("to go on", found.resume))
    return "\n".join(f"{name:<11} {value}" for name, value in rows)
