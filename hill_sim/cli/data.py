"""`hill-sim data`: which data there are, what is in them, and how to get them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from hill_sim import registry
from hill_sim.cli.arguments import Data
from hill_sim.cli.text import percent, strict_json, table
from hill_sim.config import parse_yaml
from hill_sim.errors import HillError, InvalidInput, Unavailable, unknown
from hill_sim.sweep.places import put
from hill_sim.tasks import Task
from hill_sim.tasks import human_confusion as confusion
from hill_sim.tasks.base import load_anew
from hill_sim.tasks.card import Fetch, description_of
from hill_sim.tasks.files import data_root
from hill_sim.tasks.floor import linear_floor
from hill_sim.trial import plain


def main(given: Data) -> int:
    if given.what == "list":
        if given.task or given.set:
            raise InvalidInput("data list: takes no task; did you mean `hill-sim data check TASK`?")
        return _list(given.json)
    if not given.task:
        raise InvalidInput(f"data {given.what}: which task? (allowed: {', '.join(registry.TASKS)})")
    return _check(given) if given.what == "check" else _fetch(given.task)


def _list(as_json: bool) -> int:
    """All registered tasks; whether their data are there is found out by looking, not by loading."""
    rows = []
    for name in registry.TASKS:
        found = description_of(registry.load("task", name))
        assert found is not None  # ours are described, a test sees to that
        fetchable = found.fetch is not None
        rows.append({"task": name, **vars(found.card), "here": found.is_here, "fetchable": fetchable})
    if as_json:
        print(strict_json({"data_root": str(data_root()), "tasks": rows}))
        return 0
    cells = [[str(row["task"]), _here(row), str(row["groups"] or "-"), str(row["title"])] for row in rows]
    print(_left(["task", "here", "groups", "what"], cells))
    print(f"\ndata root: {data_root()} (HILL_SIM_DATA or --data-root; files may be plain or .xz)")
    print("hill-sim data check TASK loads one and says what is in it")
    return 0


def _here(row: dict[str, Any]) -> str:
    if row["here"]:
        return "yes" if row["source"] else "own"
    return "fetch" if row["fetchable"] else "no"


def _check(given: Data) -> int:
    options: dict[str, Any] = {}
    for override in given.set:
        place, equals, text = override.partition("=")
        if not equals:
            raise InvalidInput(f"--set: {override!r} is not of the form option=value")
        options = put(options, place.removeprefix("task_options."), parse_yaml(text, f"--set {place}"))
    start = time.perf_counter()
    task = load_anew(given.task, options)
    found = _described(task, time.perf_counter() - start)
    if given.floor:
        found["floor"] = linear_floor(task)
    if given.json:
        print(strict_json(found))
        return 0
    rows = []
    for index, (label, name) in enumerate(zip(task.label_mapping, task.class_names, strict=True)):
        sizes = [f"{part['classes'][index]:,}" for part in found["splits"].values()]
        rows.append([f"{index} {name}" + (f" ({label})" if label != name else ""), *sizes])
    rows.append(["all", *(f"{part['samples']:,}" for part in found["splits"].values())])
    print(f"{task.name}: input {' x '.join(map(str, task.input_shape))}, {task.n_classes} classes\n")
    print(table(["class (label in the data)", *found["splits"]], rows))
    if task.group_names:
        rows = [[name, *(f"{part['groups'][i]:,}" for part in found["splits"].values())]
                for i, name in enumerate(task.group_names)]  # fmt: skip
        print("\n" + table([task.card.groups if task.card and task.card.groups else "group", *found["splits"]], rows))
    print("\n" + _recipes(found["recipes"]))
    print(f"\nloaded in {found['seconds']:.1f} s, {found['megabytes']:,.0f} MB, fingerprint {task.fingerprint}")
    if "floor" in found:
        print(f"floor: a linear model reaches {percent(found['floor'])} on the test split")
    for field in ("source", "licence", "citation", "note"):
        if found.get(field):
            print(f"{field}: {found[field]}")
    return 0


def _recipes(recipes: list[dict[str, Any]]) -> str:
    """What each model is trained with; the first is the task's own choice."""
    rows = []
    for recipe in recipes:
        options = ", ".join(f"{name} {value}" for name, value in recipe["model_options"].items())
        rows.append([recipe["model"], options or "-", str(recipe["batch_size"]), recipe["optimizer"],
                     f"{recipe['lr']:g}", f"{recipe['weight_decay']:g}", recipe["augment"] or "-"])  # fmt: skip
    return _left(["model", "options", "batch", "optimizer", "lr", "decay", "augment"], rows)


def _described(task: Task, seconds: float) -> dict[str, Any]:
    splits = {}
    for name, split in task.splits.items():
        splits[name] = {
            "samples": len(split),
            "classes": np.bincount(split.y.numpy(), minlength=task.n_classes).tolist(),
            "groups": []
            if split.groups is None
            else np.bincount(split.groups.numpy(), minlength=len(task.group_names)).tolist(),
        }
    size = sum(split.x.numel() * split.x.element_size() for split in task.splits.values())
    return {
        "task": task.name,
        "input_shape": list(task.input_shape),
        "class_names": list(task.class_names),
        "label_mapping": task.label_mapping,
        "group_names": list(task.group_names),
        "groups_apart": task.groups_apart,
        "splits": splits,
        "recipes": [plain(vars(recipe)) for recipe in (task.recipe, *task.other_recipes)],
        "fingerprint": task.fingerprint,
        "seconds": seconds,
        "megabytes": size / 1e6,
        **(vars(task.card) if task.card else {}),
    }


def _fetch(name: str) -> int:
    fetch: Fetch | None
    if name == confusion.CIFAR10H:
        card, fetch = confusion.CARD, confusion.fetch
    else:
        if name not in registry.TASKS:
            raise unknown("data fetch", name, [*registry.TASKS, confusion.CIFAR10H])
        found = description_of(registry.load("task", name))
        assert found is not None
        card, fetch = found.card, found.fetch
    if fetch is None:
        where = f"; see {card.source}" if card.source else ": its files are your own"
        raise Unavailable(f"data fetch: {name} has nothing to download{where}")
    print(f"{card.title}\nlicence: {card.licence}\ncite: {card.citation}")
    for path in _fetched(fetch, name, card.source):
        print(f"there: {path}")
    return 0


def _fetched(fetch: Fetch, name: str, source: str) -> list[Path]:
    try:
        return fetch(data_root())
    except HillError as error:
        raise Unavailable(f"data fetch {name}: {error}; its own page: {source}") from None
    except OSError as error:
        raise Unavailable(f"data fetch {name}: {data_root()}: {error.strerror or error}") from None


def _left(header: list[str], rows: list[list[str]]) -> str:
    """A table of words: every column aligned left."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [header, *rows]]
    return "\n".join(line.rstrip() for line in lines)
