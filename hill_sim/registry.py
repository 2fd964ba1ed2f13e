"""Names that a user can write in a trial, and where each one lives. Nothing is imported until it is asked for."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hill_sim.errors import InvalidInput, unknown

TASKS = {
    "digits": "hill_sim.tasks.digits:load",
    "cifar10": "hill_sim.tasks.cifar10:load",
    "cifar10-small": "hill_sim.tasks.cifar10:load_small",
    "pamap2": "hill_sim.tasks.pamap2:load",
    "pamap2-excerpt": "hill_sim.tasks.pamap2:load_excerpt",
    "dsads": "hill_sim.tasks.dsads:load",
    "dsads-summary": "hill_sim.tasks.dsads:load_summary",
    "spoken_digits": "hill_sim.tasks.spoken_digits:load",
    "ag_news": "hill_sim.tasks.ag_news:load",
    "ag_news-full": "hill_sim.tasks.ag_news:load_full",
    "text": "hill_sim.tasks.text:load",
    "arrays": "hill_sim.tasks.arrays:load",
}

MODELS = {
    "mlp": "hill_sim.models.mlp:MLP",
    "small_cnn": "hill_sim.models.cnn:SmallCNN",
    "paper_cnn": "hill_sim.models.cnn:PaperCNN",
    "small_cnn1d": "hill_sim.models.cnn1d:SmallCNN1d",
    "paper_cnn1d": "hill_sim.models.cnn1d:PaperCNN1d",
}

STRATEGIES = {
    "compactness": "hill_sim.strategies.compactness:Compactness",
    "separation": "hill_sim.strategies.separation:Separation",
    "merge_similar": "hill_sim.strategies.merge_similar:MergeSimilar",
    "resolve_overlap": "hill_sim.strategies.resolve_overlap:ResolveOverlap",
    "fix_outliers": "hill_sim.strategies.fix_outliers:FixOutliers",
    "arrange": "hill_sim.strategies.arrange:Arrange",
}

CONTROLS = {
    "ce_only": "hill_sim.strategies.no_edit:NoEdit",
    "ce_scaled": "hill_sim.strategies.no_edit:NoEdit",
    "hold": "hill_sim.strategies.hold:Hold",
    "random": "hill_sim.strategies.random_edit:RandomEdit",
}

CONFLICTS = {
    "merge_distinct": "hill_sim.strategies.merge_distinct:MergeDistinct",
    "swap": "hill_sim.strategies.swap:Swap",
    "flip_flop": "hill_sim.strategies.flip_flop:FlipFlop",
    "switching": "hill_sim.strategies.switching:Switching",
    "committee": "hill_sim.strategies.committee:Committee",
    "adversary": "hill_sim.strategies.adversary:Adversary",
    "label_noise": "hill_sim.strategies.label_noise:LabelNoise",
}

POLICIES = {**STRATEGIES, **CONTROLS, **CONFLICTS}

_TABLES = {"task": TASKS, "model": MODELS, "policy": POLICIES}


def check(kind: str, name: str) -> None:
    """Raise InvalidInput, with the nearest name, unless `name` is registered, `module:attr` or `path.py:attr`."""
    if not isinstance(name, str) or not name:
        raise InvalidInput(f"{kind}: {name!r} is not a name")
    if name not in _TABLES[kind] and ":" not in name:
        raise unknown(kind, name, _TABLES[kind])


def load(kind: str, name: str) -> Any:
    """The object that `name` stands for: a registered name, `module:attr`, or `path/to/file.py:attr`.

    Raises:
        InvalidInput: unknown name, module or file that cannot be imported, or a missing attribute.
    """
    check(kind, name)
    module_name, _, attribute = _TABLES[kind].get(name, name).rpartition(":")
    try:
        module = (
            _load_file(kind, Path(module_name)) if module_name.endswith(".py") else importlib.import_module(module_name)
        )
    except HillImportError:
        raise
    except Exception as error:
        raise InvalidInput(f"{kind}: {name!r}: cannot import {module_name}: {type(error).__name__}: {error}") from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        public = ", ".join(n for n in vars(module) if not n.startswith("_")) or "nothing"
        raise InvalidInput(f"{kind}: {name!r}: {module_name} has no {attribute!r} (it has: {public})") from None


def check_options(where: str, factory: Callable[..., Any], options: Iterable[str], given: int = 0) -> None:
    """Raise InvalidInput, with the nearest name, for an option that `factory` does not take, or lacks.

    Args:
        where: the line begins with it.
        given: arguments that it is called with before the options.
    """
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # a builtin without a signature: calling it tells
        return
    taken = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:given]
    allowed = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p not in taken]
    names = [parameter.name for parameter in allowed]
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        for option in options:
            if not names:
                raise InvalidInput(f"{where}: takes no options, {option!r} was given")
            if option not in names:
                raise unknown(where, option, names)
    for parameter in allowed:
        if parameter.default is parameter.empty and parameter.name not in options:
            raise InvalidInput(f"{where}: needs the option {parameter.name!r}")


class HillImportError(InvalidInput):
    """A user's plug-in file that is not there."""


def _load_file(kind: str, path: Path) -> Any:
    """The module in a user's file, loaded once as long as the file does not change."""
    path = path.expanduser().resolve()
    if not path.is_file():
        raise HillImportError(f"{kind}: no file {path}")
    name = f"hill_sim_user_{path.stem}_{zlib.crc32(str(path).encode()):08x}"
    stamp = path.stat().st_mtime_ns
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__hill_sim_stamp__", None) == stamp:
        return loaded
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    vars(module)["__hill_sim_stamp__"] = stamp
    sys.modules[name] = module  # dataclasses and pickle look a class's module up by name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
