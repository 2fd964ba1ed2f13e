"""Data: what is trained on. Add a task with one file and one line in `hill_sim.registry.TASKS`."""

from hill_sim.tasks.base import Recipe, Split, Task, fingerprints_of, load_task, notes_of, resolve
from hill_sim.tasks.card import Card, described

__all__ = ["Card", "Recipe", "Split", "Task", "described", "fingerprints_of", "load_task", "notes_of", "resolve"]
