"""`hill-sim list`: names and one line about each, read from the source without importing it."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from pathlib import Path

import hill_sim
from hill_sim import registry
from hill_sim.cli.arguments import List
from hill_sim.config import load_yaml
from hill_sim.errors import HillError

PACKAGE = Path(hill_sim.__file__).parent
EXPERIMENTS = PACKAGE / "experiments"

_POLICIES = {"strategies": registry.STRATEGIES, "controls": registry.CONTROLS, "conflicts": registry.CONFLICTS}
_CONTROLS = {  # one class serves both: what they are is the trial's doing
    "ce_only": "No edit and no human term: the twin.",
    "ce_scaled": "No human term, cross-entropy weighted as alpha would: what turning it down does by itself.",
}


def main(given: List) -> int:
    chapters: dict[str, dict[str, str]] = {}
    if given.what in ("all", "tasks"):
        chapters["tasks"] = _about(registry.TASKS)
    if given.what in ("all", "models"):
        chapters["models"] = _about(registry.MODELS)
    if given.what in ("all", "policies"):
        chapters |= {name: _about(names) for name, names in _POLICIES.items()}
    if given.what in ("all", "experiments"):
        chapters["experiments"] = experiments()
    if given.json:
        print(json.dumps(chapters, indent=2))
        return 0
    width = max(len(name) for names in chapters.values() for name in names)
    for number, (title, names) in enumerate(chapters.items()):
        print(("\n" if number else "") + title)
        for name, about in names.items():
            print(f"  {name:<{width}}  {about}".rstrip())
        if title == "models":
            print("  how a task trains them (its recipes: batch, optimizer, rates): hill-sim data check TASK")
    return 0


def experiments() -> dict[str, str]:
    """The bundled sweeps, each with its question."""
    found = {}
    for path in sorted(EXPERIMENTS.glob("*.yaml")):
        try:
            content = load_yaml(path)
        except HillError as error:
            found[path.stem] = f"cannot be read: {error}"
            continue
        found[path.stem] = str(content.get("question", "")) if isinstance(content, dict) else ""
    return found


def _about(names: Mapping[str, str]) -> dict[str, str]:
    return {name: _CONTROLS.get(name) or first_line(target) for name, target in names.items()}


def first_line(target: str) -> str:
    """First line of the docstring of `hill_sim.module:attr`, or else of its module."""
    module, _, attribute = target.partition(":")
    source = PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py")
    if not source.is_file():
        return "(not installed)"
    tree = ast.parse(source.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == attribute and ast.get_docstring(node):
            return _first(node)
    return _first(tree)


def _first(node: ast.ClassDef | ast.FunctionDef | ast.Module) -> str:
    return (ast.get_docstring(node) or "").strip().partition("\n\n")[0].replace("\n", " ")
