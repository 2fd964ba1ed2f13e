"""`hill-sim bench kernels`: the loss kernels against eager PyTorch, an expert's eager form, torch.compile and each
other.

Times are of one pinned thread; providers take turns within a case, so that a busy neighbour hits all alike, and the
minimum of many is what counts. Every provider runs in each mode that it has:

    value            the loss alone, nothing recorded for a gradient
    value_and_grad   both, without the autograd engine (what the training engine uses)
    autograd         the loss through autograd, and its backward pass

Losses to a baseline are printed as plainly as wins.
"""

import contextlib
import ctypes
import datetime
import gc
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from hill_sim import kernels
from hill_sim.bench.kernel_problems import Problem, Regime, make_problem
from hill_sim.bench.kernel_providers import COMPILED, EXPERTS, FORMS
from hill_sim.kernels import StructureTerms, dispatch

Run = Callable[[], object]
PAIR, STRUCTURE, CENTER = "pair_separation", "structure_loss", "center_loss"


@dataclass(frozen=True)
class KernelBench:
    """Benchmark the loss kernels.

    Attributes:
        cases: `issue`: every size that a target is set for; `quick`: a minute of them; `tiny`: to see that it works.
        seconds: for each case, provider and mode, at most (a slow one runs at least five times).
        out: CSV file to write (its folder is made).
        chart: PNG file to write.
        compile: run torch.compile as well (it compiles each case for some seconds).
        device: `cpu`, `cuda`, or `auto` for a GPU where there is one.
        dtype: `float32` or `float64`.
    """

    cases: Literal["issue", "quick", "tiny"] = "quick"
    seconds: float = 0.3
    out: Path | None = None
    chart: Path | None = None
    compile: bool = True
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["float32", "float64"] = "float32"


class Case(NamedTuple):
    """One row of the comparison."""

    loss: str
    replicas: int
    batch: int
    coordinates: int = 2
    classes: int = 10
    regime: Regime = "dense"

    @property
    def label(self) -> str:
        size = f"{self.replicas}x{self.batch}" if self.replicas > 1 else f"{self.batch}"
        return f"{size} D={self.coordinates} {self.regime}"


CASES: dict[str, list[Case]] = {
    "tiny": [Case(PAIR, 2, 32), Case(STRUCTURE, 2, 32), Case(CENTER, 1, 32)],
    "quick": [
        Case(PAIR, 1, 128),
        Case(PAIR, 1, 512),
        Case(PAIR, 64, 128),
        Case(STRUCTURE, 1, 128),
        Case(CENTER, 1, 128),
    ],
    "issue": [
        *(Case(PAIR, 1, b) for b in (128, 512, 2048)),
        *(Case(PAIR, 1, 2048, regime=r) for r in ("mixed", "separated")),
        *(Case(PAIR, p, b) for p, b in ((64, 128), (256, 64))),
        *(Case(PAIR, 1, 512, d) for d in (3, 64, 512)),
        Case(PAIR, 1, 32768),
        *(Case(STRUCTURE, 1, b) for b in (128, 512, 2048)),
        Case(STRUCTURE, 256, 64),
        *(Case(CENTER, p, b) for p, b in ((1, 128), (1, 2048), (256, 64))),
    ],
}
GPU_CASES = [Case(PAIR, 1, 65536), Case(PAIR, 256, 128), Case(STRUCTURE, 256, 128), Case(CENTER, 256, 128)]
EAGER_LIMIT = 300e6  # numbers that an eager form may hold at once; 32,768^2 would need 30 GB


class Calls(NamedTuple):
    """One backend's functions on one problem."""

    value: Run
    both: Callable[[], tuple[Any, Tensor]]
    autograd: Run


def calls(name: str, q: Problem, backend: str) -> Calls:
    """The public functions, as a user calls them."""
    function, raw = getattr(kernels, name), getattr(kernels, f"{name}_and_grad")
    targets = {PAIR: (q.margins,), STRUCTURE: (q.centers, q.spreads), CENTER: (q.centers,)}[name]
    options: dict[str, Any] = {"backend": backend}
    if name == STRUCTURE:
        options["touched"] = q.touched
    leaf = q.z.clone().requires_grad_()

    def through_autograd() -> object:
        value = function(leaf, q.y, *targets, **options)
        total = value.total if isinstance(value, StructureTerms) else value
        return torch.autograd.grad(total.sum(), leaf)

    return Calls(
        lambda: function(q.z, q.y, *targets, **options), lambda: raw(q.z, q.y, *targets, **options), through_autograd
    )


def providers(name: str, q: Problem, *, compile: bool) -> dict[str, dict[str, Run]]:
    """provider -> mode -> a call. The eager forms appear as eager:cdist and so on; "eager" is the fastest of them."""
    result: dict[str, dict[str, Run]] = {}
    names = ("cuda",) if q.z.is_cuda else ("cpp", "numba")
    for backend in (b for b in names if dispatch.named(b)[0] is not None):
        c = calls(name, q, backend)
        result[backend] = {"value": c.value, "value_and_grad": c.both, "autograd": c.autograd}
    result["expert"] = {"value_and_grad": lambda: EXPERTS[name](q)}
    if q.z.shape[0] * q.z.shape[1] ** 2 > EAGER_LIMIT and name == PAIR:
        return result
    forms = {f"eager:{form}": function for form, function in FORMS[name].items()}
    if name == PAIR and len(q.z) > 1:
        del forms["eager:pdist"]  # one call a replica: never the fastest
    if name == PAIR and q.z.numel() * q.z.shape[1] > EAGER_LIMIT:
        del forms["eager:broadcast"]
    for form, function in forms.items():
        result[form] = _through_autograd(function, q)
    if compile and (name != PAIR or q.z.shape[2] <= 3):
        torch._dynamo.reset()
        result["compile"] = _through_autograd(torch.compile(COMPILED[name], dynamic=False), q)
    quick = min(forms, key=lambda form: best_of(result[form]["autograd"], 3))
    result["eager"] = result[quick]
    return result


def _through_autograd(function: Callable[[Tensor, Problem], Tensor], q: Problem) -> dict[str, Run]:
    leaf = q.z.clone().requires_grad_()

    def value() -> object:
        with torch.no_grad():
            return function(q.z, q)

    return {"value": value, "autograd": lambda: torch.autograd.grad(function(leaf, q).sum(), leaf)}


def seconds_of(run: Run, cuda: bool = False) -> float:
    """One call. A long one on the CPU is taken in the thread's own time: a scheduler's slice ends within it, and what a
    neighbour used meanwhile is not its own. (Everything measured here runs in the calling thread.)"""
    if not cuda:
        own, start = time.thread_time(), time.perf_counter()
        run()
        taken = time.perf_counter() - start
        return taken if taken < 2e-3 else time.thread_time() - own
    before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    before.record()
    run()
    after.record()
    after.synchronize()
    return before.elapsed_time(after) / 1e3


def best_of(run: Run, times: int) -> float:
    return min(seconds_of(run) for _ in range(times + 1))


def measure(runs: dict[tuple[str, str], Run], seconds: float, cuda: bool) -> dict[tuple[str, str], list[float]]:
    """Seconds of every run, in turns: a few calls of each, round after round, until each has used its time."""
    taken: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    first = {key: min(seconds_of(run, cuda) for _ in range(2)) for key, run in runs.items()}  # warm
    open_ = set(runs)
    while open_:
        for key in list(open_):
            calls_now = max(1, min(100, int(seconds / 10 / max(first[key], 1e-7))))
            taken[key] += [seconds_of(runs[key], cuda) for _ in range(calls_now)]
            if len(taken[key]) >= 5 and sum(taken[key]) >= seconds:
                open_.discard(key)
    return taken


def peak_megabytes(run: Run) -> float:
    """How far a call raises this process's memory above where it was, outputs included (Linux: the kernel's own
    high-water
    mark, so that scratch memory which torch does not know of counts as well). NaN where it cannot be read."""
    try:
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        before = _status_kilobytes("VmRSS")
        run()
        return max(0, _status_kilobytes("VmHWM") - before) / 1024
    except OSError:
        return float("nan")


def _status_kilobytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    raise OSError(field)


def environment(device: torch.device) -> dict[str, object]:
    """What a figure depends on, for the table."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        cpu = Path("/proc/cpuinfo")
        models = [
            line.split(":", 1)[1].strip() for line in cpu.read_text().splitlines() if line.startswith("model name")
        ]
        name = models[0] if models else platform.processor()
    here = Path(__file__).resolve().parent
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=False
    )
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numba": metadata.version("numba"),
        "hill_sim": metadata.version("hill-sim") if _installed() else "source",
        "commit": commit.stdout.strip(),
        "date": datetime.date.today().isoformat(),
    }


def _installed() -> bool:
    try:
        metadata.version("hill-sim")
    except metadata.PackageNotFoundError:
        return False
    return True


@contextlib.contextmanager
def one_pinned_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    torch.set_num_threads(1)
    if cores:
        os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if cores:
            os.sched_setaffinity(0, cores)


def run_case(case: Case, args: KernelBench, device: torch.device) -> list[dict[str, object]]:
    dtype = getattr(torch, args.dtype)
    q = make_problem(*case[1:5], regime=case.regime, dtype=dtype, device=str(device))
    found = providers(case.loss, q, compile=args.compile)
    runs = {(p, mode): run for p, modes in found.items() if p != "eager" for mode, run in modes.items()}
    taken = measure(runs, args.seconds, device.type == "cuda")
    rows = []
    for (provider, mode), run in runs.items():
        times = pd.Series(taken[provider, mode]) * 1e6
        row = {**case._asdict(), "dtype": args.dtype, "provider": provider, "mode": mode}
        row |= {f"p{round(100 * f)}_us": times.quantile(f) for f in (0.2, 0.5, 0.8)}
        row |= {"min_us": times.min(), "calls": len(times)}
        row["peak_mb"] = _gpu_megabytes(run) if device.type == "cuda" else peak_megabytes(run)
        rows.append(row)
    return rows


def _gpu_megabytes(run: Run) -> float:
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def main(args: KernelBench) -> pd.DataFrame:
    """Runs the cases, prints them, writes the table and the chart, and returns the table (one measurement a row)."""
    from hill_sim.bench.kernel_report import draw, summary

    wanted = {"auto": "cuda" if torch.cuda.is_available() else "cpu"}.get(args.device, args.device)
    device = torch.device(wanted)
    rows: list[dict[str, object]] = []
    cases = [*CASES[args.cases], *(GPU_CASES if device.type == "cuda" else [])]
    with one_pinned_thread():
        facts = environment(device)
        for case in cases:
            new = run_case(case, args, device)
            print(summary(pd.DataFrame(new)), flush=True)
            rows += [row | facts for row in new]
    table = pd.DataFrame(rows)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(args.out, index=False, float_format="%.3f")
        print(f"wrote {args.out}")
    if args.chart is not None:
        args.chart.parent.mkdir(parents=True, exist_ok=True)
        draw(table, args.chart)
        print(f"wrote {args.chart}")
    return table
