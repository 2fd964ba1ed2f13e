"""`simulate`: run any list of trials, and compare each with its twin."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from tqdm import tqdm

from hill_sim.engine.outcome import trial_result
from hill_sim.engine.planning import Plan, base_of, plan
from hill_sim.engine.prefixes import PrefixCache, cache_of
from hill_sim.engine.raw import RawResult
from hill_sim.engine.recall import Settings
from hill_sim.engine.results import RunSet, TrialResult, summary
from hill_sim.engine.stopping import Thresholds
from hill_sim.engine.walk import Walker
from hill_sim.errors import HillError, InvalidInput, Unavailable, unknown
from hill_sim.kernels import dispatch
from hill_sim.kernels.terms import Backend as KernelBackend
from hill_sim.seeding import generator
from hill_sim.tasks import notes_of
from hill_sim.trial import Trial

log = logging.getLogger("hill_sim.engine")

DTYPES = {"float32": torch.float32, "float64": torch.float64}


class VerificationError(HillError):
    """A trial run alone and unshared did not come out the same: a bug of ours, never a user's."""


def simulate(
    trials: Sequence[Trial],
    *,
    pmax: int | str = "auto",
    share: bool = True,
    device: str = "auto",
    backend: str = "auto",
    kernels: KernelBackend = "auto",
    dtype: str = "float32",
    verify: int = 0,
    prefixes: PrefixCache | str | None = None,
    stop_below: Thresholds | None = None,
    progress: bool = False,
    on_result: Callable[[TrialResult], None] | None = None,
) -> RunSet:
    """Train every trial and its twin, sharing epochs and packing replicas, and compare them.

    The results do not depend on the order of the trials, on `pmax` or on `share`, bit for bit on the CPU.

    Args:
        trials: any mixture of tasks, users and recipes; twins are added by themselves.
        pmax: most replicas trained in lockstep, or "auto".
        share: train common prefixes once.
        device: "auto" (a GPU if there is one), "cpu", "cuda" or "cuda:N".
        backend: of the population: "auto", "chain", "bmm", "vmap", "loop", or "loop-bf16" for mixed precision on a GPU.
        kernels: of the losses: "auto", "cpp", "cuda", "numba" or "torch".
        dtype: "float32" or "float64".
        verify: run this many random trials again, alone and unshared, and compare.
        prefixes: states that earlier calls came by, to start from, and to which this call's are added (a cache, or
            the folder of one); the results are the same to the bit.
        stop_below: per trial key and interaction epoch, the validation accuracy below which the trial stops there, with
            status "pruned".
        progress: show a progress bar on a terminal.
        on_result: called with each trial's result as soon as it and its twin have ended; results come in the order
            in which trials end.

    Returns:
        A `RunSet` with one result per trial, in the order given. A trial whose policy raised has status "failed".

    Raises:
        InvalidInput: some trial cannot be run; nothing has been run.
        Unavailable: a named device or backend that this machine does not have.
        VerificationError: see `verify`.

    Example:
        >>> runs = simulate([Trial(policy="compactness", epochs=3, interactions=(1, 2))])
        >>> runs.outcomes["status"].tolist()
        ['done']
    """
    if dtype not in DTYPES:
        raise unknown("dtype", dtype, DTYPES)
    if isinstance(verify, bool) or not isinstance(verify, int) or verify < 0:
        raise InvalidInput(f"verify: {verify!r} is not an integer >= 0")
    began = time.perf_counter()
    planned = plan(trials, pmax=pmax, share=share)
    planning = time.perf_counter() - began
    where = _device(device)
    _check_kernels(kernels, where)
    settings = Settings(backend, kernels, where, DTYPES[dtype])
    log.info("%s", planned)
    cache = cache_of(prefixes) if isinstance(prefixes, str) else prefixes
    # The backends that need autograd switch it on for themselves.
    with torch.no_grad(), _one_thread(settings.device), _bar(planned, progress) as bar:
        walker = Walker(planned, settings, bar.update, cache, stop_below)
        results = _collect(planned, walker, bar, on_result)
    info = {
        "backend": "+".join(sorted(set(walker.backends.values()))),
        "device": str(settings.device),
        "dtype": dtype,
        "trials": len(planned.trials),
        "epochs_asked": planned.epochs_asked,
        "epochs_run": planned.epochs_to_run - walker.epochs_recalled - walker.stopper.epochs_saved,
        "pmax": planned.pmax,
        "planning_seconds": planning,
        "seconds": time.perf_counter() - began,
        "torch": torch.__version__,
        "notes": notes_of(planned.trials),
        **summary(results.values()),
    }
    if verify:
        chosen = _sample(results.values(), verify)
        for result in chosen:
            used = walker.backends[base_of(result.trial).bucket]
            _verify(result, backend=used, device=device, kernels=kernels, dtype=dtype)
        info["verified"] = len(chosen)
    return RunSet(tuple(results[trial] for trial in planned.trials), info)


def _collect(
    planned: Plan, walker: Walker, bar: tqdm, on_result: Callable[[TrialResult], None] | None
) -> dict[Trial, TrialResult]:
    """Pair each trial with its twin as both end."""
    wanted = set(planned.trials)
    is_twin = set(planned.twins)
    raw_twins: dict[int, RawResult] = {}
    orphans: dict[int, list[tuple[int, RawResult]]] = {}
    results: dict[Trial, TrialResult] = {}

    def finish(position: int, raw: RawResult) -> None:
        trial, twin = planned.unique[position], planned.twins[position]
        if trial not in wanted:
            return
        results[trial] = trial_result(trial, raw, planned.unique[twin], raw_twins[twin])
        bar.set_postfix_str(f"{len(results)} of {len(wanted)} trials", refresh=False)
        if on_result is not None:
            on_result(results[trial])

    for position, raw in walker.run():
        twin = planned.twins[position]
        if position in is_twin:
            raw_twins[position] = raw
            finish(position, raw)
            for waiting in orphans.pop(position, []):
                finish(*waiting)
        elif twin in raw_twins:
            finish(position, raw)
        else:
            orphans.setdefault(twin, []).append((position, raw))
    assert len(results) == len(wanted)
    return results


def _sample(results: Iterable[TrialResult], k: int) -> list[TrialResult]:
    """Up to k random ones of those that did not fail."""
    done = [result for result in results if result.outcome.status == "done"]
    return [done[index] for index in generator(0, "verify", len(done)).permutation(len(done))[:k]]


def _verify(expected: TrialResult, **settings: str) -> None:
    alone = simulate([expected.trial], pmax=1, share=False, **settings)  # type: ignore[arg-type]
    if not same_result(expected, alone.results[0]):
        trial = expected.trial.to_json()
        raise VerificationError(f"verify: trial {expected.outcome.key} came out differently alone: {trial}")


def same_result(a: TrialResult, b: TrialResult) -> bool:
    """Equal to the last bit in outcome, curves, predictions and edits; seconds are left out."""
    return (
        a.trial == b.trial
        and _equal(a.outcome.to_dict(), b.outcome.to_dict())
        and _equal(a.epochs, b.epochs)
        and _equal(a.predictions, b.predictions)
        and _equal(a.confidences, b.confidences)
        and len(a.interactions) == len(b.interactions)
        and all(
            _equal({**vars(x), "seconds": 0.0}, {**vars(y), "seconds": 0.0})
            for x, y in zip(a.interactions, b.interactions, strict=True)
        )
    )


def _equal(a: object, b: object) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(_equal(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    return a == b or (isinstance(a, float) and isinstance(b, float) and a != a and b != b)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        raise unknown("device", name, ["auto", "cpu", "cuda"]) from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise Unavailable(f"device: {name!r} was asked for, and torch finds no GPU")
    if device.type not in ("cpu", "cuda"):
        raise unknown("device", name, ["auto", "cpu", "cuda"])
    return device


def _check_kernels(name: str, device: torch.device) -> None:
    """Before anything runs: the losses are first needed at the first interaction."""
    if name not in dispatch.BACKENDS:
        raise unknown("kernels", name, dispatch.BACKENDS)
    try:
        dispatch.resolve(name, device.type)
    except Unavailable as error:
        raise Unavailable(f"kernels: {error}") from None


@contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    """One thread per process on the CPU: small products gain nothing from more, and a busy machine collapses."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _bar(planned: Plan, progress: bool) -> tqdm:
    # disable=None: no bar where stderr is not a terminal
    shared = 1.0 - planned.epochs_to_run / max(planned.epochs_asked, 1)
    description = f"{shared:.0%} of epochs shared" if shared else "epochs"
    return tqdm(total=planned.epochs_to_run, desc=description, unit="epoch", disable=None if progress else True)
