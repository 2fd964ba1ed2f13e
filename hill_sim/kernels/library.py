"""Finds and loads the compiled libraries beside this file, once; says why when there is none."""

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

FOLDER = Path(__file__).parent


class Loaded(NamedTuple):
    """Whether a compiled library is in use; if not, why not, and where it was looked for or found."""

    ok: bool
    reason: str
    path: Path | None


@cache
def build_record() -> dict[str, Any]:
    """What the build wrote about itself: {"cpu": "built" or why not, "cuda": ..., "mode": ...}; empty if it never
    ran."""
    path = FOLDER / "_build.json"
    record: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return record


def _not_built(part: str) -> str:
    written = build_record().get(part, "")
    if written not in ("", "built"):
        return f"not built: {written}"
    return "not built: installed with HILL_SIM_BUILD=none, or without a compiler"


@cache
def load_cpu() -> Loaded:
    """The CPU operators (`torch.ops.hill_sim`)."""
    return _load("_ops.so", "cpu")


@cache
def load_cuda() -> Loaded:
    """The CUDA operators; needs the CPU library (which declares them), a torch with CUDA and a GPU."""
    if not (FOLDER / "_ops_cuda.so").is_file():
        return Loaded(False, _not_built("cuda"), None)
    if not load_cpu().ok:
        return Loaded(False, f"needs the CPU library: {load_cpu().reason}", None)
    if torch.version.cuda is None:
        return Loaded(False, f"this torch ({torch.__version__}) has no CUDA", None)
    if not torch.cuda.is_available():
        return Loaded(False, "no GPU that this torch can use", None)
    return _load("_ops_cuda.so", "cuda")


def _load(name: str, part: str) -> Loaded:
    path = FOLDER / name
    if not path.is_file():
        return Loaded(False, _not_built(part), None)
    try:
        torch.ops.load_library(str(path))
    except (OSError, RuntimeError) as error:
        return Loaded(False, f"does not load with torch {torch.__version__}: {str(error).splitlines()[0]}", path)
    return Loaded(True, "loaded", path)
