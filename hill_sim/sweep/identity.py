"""Whose results a file holds: of which sweep, and of which version of the user's own policies, models and tasks.

A results file put into another folder, a `sweep.yaml` edited by hand, a policy changed between two calls: each would
mix results of two sweeps in one table, and nobody would see it there.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import re
import shutil
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hill_sim.config import validated
from hill_sim.errors import InvalidInput
from hill_sim.sweep.extend import only_adds
from hill_sim.sweep.folder import PREFIXES, first_difference
from hill_sim.sweep.pinned import Agree
from hill_sim.sweep.spec import SweepSpec
from hill_sim.sweep.store import ResultStore

log = logging.getLogger(__name__)


def confirm(store: ResultStore, spec: SweepSpec, *, mended: bool = False) -> None:
    """Raise unless the results are of this sweep, or of a part of it, and of the code that it names; note both.

    Args:
        mended: code may have changed: what failed under the old one is to run again under the new.
    """
    here = spec.resolved()
    there = json.loads(store.meta("sweep") or "null") or here
    if (difference := first_difference(there, here)) and not only_adds(
        validated(SweepSpec, there, str(store.path)), spec
    ):
        raise InvalidInput(
            f"{store.path}: holds the results of another sweep: {difference}; bring back what belongs in this folder, "
            "or choose another --out"
        )
    code = fingerprints(strings(here))
    before = json.loads(store.meta("code") or "{}")
    if changed := next((name for name in code if before.get(name, code[name]) != code[name]), None):
        if not mended:
            raise InvalidInput(
                f"{changed}: its code has changed since this sweep began, and one table would hold results of both; "
                "bring it back, choose another --out, or run what failed again with the new code: --retry-failed"
            )
        log.warning("%s: its code has changed since this sweep began; trials that ended well are of the old", changed)
        shutil.rmtree(store.path.parent / PREFIXES, ignore_errors=True)  # of a model, they hold the old one's states
    store.set_meta({"sweep": json.dumps(here), "code": json.dumps({**before, **code})})


def agreed_code(store: ResultStore, agree: Agree) -> None:
    """Raise InvalidInput unless all drivers of the sweep run the same code, as `confirm` has noted it."""
    here = store.meta("code") or "{}"
    there = json.loads(agree("code", lambda: here))
    if other := next((name for name, print_ in json.loads(here).items() if there.get(name, print_) != print_), None):
        raise InvalidInput(f"storage: {other}: the sweep's other drivers run another version of it; bring that here")


def fingerprints(names: Iterable[str]) -> dict[str, str]:
    """Hashes of the files behind `path.py:attr` and `module:attr` that are neither installed nor part of hill_sim."""
    found = {}
    for name in names:
        module, _, attribute = name.rpartition(":")
        if attribute.isidentifier() and (path := _file(module)) is not None:
            found[module] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return found


def strings(values: Any) -> Iterator[str]:
    """All strings in nested lists and mappings."""
    if isinstance(values, str):
        yield values
    elif isinstance(values, dict | list):
        for value in values.values() if isinstance(values, dict) else values:
            yield from strings(value)


def _file(module: str) -> Path | None:
    if module.endswith(".py"):
        path = Path(module).expanduser().resolve()
        return path if path.is_file() else None
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", module) or module.partition(".")[0] == "hill_sim":
        return None
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    path = Path(spec.origin).resolve()
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")}
    return None if any(path.is_relative_to(place) for place in installed) else path
