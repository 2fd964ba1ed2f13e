"""One's own samples as arrays: .npz, a pair of .npy, CSV, TSV or Parquet, with labels of any kind.

Labels become 0..C-1 in ascending order, which is logged and shown by `hill-sim data check`. Optional columns say whom a
sample is from (group) and where it belongs (split).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hill_sim.errors import InvalidInput, unknown
from hill_sim.tasks import options
from hill_sim.tasks.array_files import Samples, kind_of, read_npy, read_npz, read_table
from hill_sim.tasks.base import Recipe, Split, Task
from hill_sim.tasks.card import Card, described
from hill_sim.tasks.labels import mapped
from hill_sim.tasks.splitting import by_group, stratified, subset, with_noise
from hill_sim.tasks.user_file import user_file
from hill_sim.trial import Options
from hill_sim.types import Array

SPLITS = ("train", "validation", "test")
CARD = Card(title="Arrays or tables of one's own", input="any shape")


@described(CARD)
def load(
    path: str,
    label: str | None = None,
    group: str | None = None,
    split: str | None = None,
    features: str | Sequence[str] | None = None,
    validation: float = 0.2,
    test: float = 0.2,
    hold_out: str = "samples",
    standardise: bool = True,
    train_per_class: int | None = None,
    label_noise: float = 0.0,
) -> Task:
    """Arrays or tables of one's own: .npz, .npy, CSV, TSV (plain or .xz), Parquet; labels of any kind.

    Args:
        path: the file, from here or below the data root.
        label: in a table the column of labels (default `label`), in an .npz the array (default `y`), beside an .npy
            the file (default: the same name with x replaced by y, e.g. `train_x.npy` and `train_y.npy`).
        group: likewise, whom each sample is from; optional.
        split: likewise, `train`, `validation` or `test` of each sample; optional. Without `validation` among them, the
            share `validation` is carved from the training samples.
        features: in a table the columns to use (default: all others), in an .npz the array (default `x`).
        validation, test: share in (0,1) that is held out for each, of each class.
        hold_out: `samples`, or `groups`: then no group is in two splits, and the shares are of the groups.
        standardise: with the training samples' mean and deviation: of each feature, or of each channel of [N,C,...].
        train_per_class: keep only this many training samples of each class.
        label_noise: share in [0,1) of the training labels that are replaced by a wrong class.
    """
    given = _read(path, label, group, split, features)
    y, names = mapped("arrays", given.labels)
    groups, group_names = _groups(given)
    rows = _rows(given, y, groups, path, validation, test, hold_out)
    rows["train"] = subset(rows["train"], y, train_per_class, "train_per_class", "arrays")
    labels = with_noise(y[rows["train"]], label_noise, len(names), "arrays")
    tensors = {part: _tensor(given.x, rows[part]) for part in SPLITS}
    if options.flag("standardise", standardise):
        _standardise(tensors)

    def part(which: str) -> Split:
        chosen = labels if which == "train" else y[rows[which]]
        owners = None if groups is None else torch.from_numpy(groups[rows[which]])
        return Split(tensors[which], torch.from_numpy(chosen), owners)

    return Task(
        name="arrays",
        train=part("train"),
        validation=part("validation"),
        test=part("test"),
        class_names=names,
        recipe=Recipe(model_options=Options(hidden=(128, 64)), batch_size=64, lr=1e-3),
        group_names=group_names,
        groups_apart=hold_out == "groups",
        card=CARD,
    )


def _read(
    path: str, label: str | None, group: str | None, split: str | None, features: str | Sequence[str] | None
) -> Samples:
    for option, value in (("label", label), ("group", group), ("split", split)):
        if value is not None:
            options.text(option, value)
    file = user_file(path, "task_options.path")
    kind = kind_of(file)
    if kind == ".npy":
        if label is None and "x" not in file.stem:
            raise InvalidInput(f"task arrays: task_options.label: needed beside {path}, the .npy file of the labels")
        beside = (
            str(file.with_name(file.stem[::-1].replace("x", "y", 1)[::-1] + file.suffix)) if label is None else label
        )
        others = [None if name is None else user_file(name, f"task_options.{option}")
                  for option, name in (("label", beside), ("group", group), ("split", split))]  # fmt: skip
        assert others[0] is not None
        return read_npy(file, others[0], others[1], others[2])
    if kind == ".npz":
        name = "x" if features is None else features
        return read_npz(file, options.text("features", name), label or "y", group, split)
    columns = (
        features if features is None or isinstance(features, list | tuple) else [options.text("features", features)]
    )
    return read_table(file, label or "label", group, split, columns)


def _groups(given: Samples) -> tuple[Array | None, tuple[str, ...]]:
    """Group ids [N] int64 and the groups' names, sorted."""
    if given.groups is None:
        return None, ()
    names, ids = np.unique(np.array(given.groups), return_inverse=True)
    return ids.astype(np.int64), tuple(str(name) for name in names)


def _rows(
    given: Samples, y: Array, groups: Array | None, path: str, validation: float, test: float, hold_out: str
) -> dict[str, Array]:
    shares = [options.share("validation", validation), options.share("test", test)]
    options.choice("hold_out", hold_out, ("samples", "groups"))
    if hold_out == "groups" and groups is None:
        raise InvalidInput("task arrays: task_options.hold_out: 'groups' needs the option group")

    def carve(among: Array, wanted: list[float]) -> list[Array]:
        if hold_out == "groups" and groups is not None:
            return [among[part] for part in by_group(groups[among], wanted, "arrays")]
        return [among[part] for part in stratified(y[among], wanted, "arrays")]

    if given.splits is None:
        return dict(zip(("validation", "test", "train"), carve(np.arange(len(y)), shares), strict=True))
    for row, name in enumerate(given.splits):
        if name not in SPLITS:
            raise InvalidInput(f"{path}: row {row + 1}: {unknown('split', name, SPLITS)}")
    where = np.array(given.splits)
    rows = {part: np.flatnonzero(where == part) for part in SPLITS}
    for part in ("train", "test"):
        if not len(rows[part]):
            raise InvalidInput(f"{path}: no sample has the split {part!r}")
    if not len(rows["validation"]):
        rows["validation"], rows["train"] = carve(rows["train"], shares[:1])
    if hold_out == "groups":
        _check_apart(given, rows, path)
    return rows


def _check_apart(given: Samples, rows: dict[str, Array], path: str) -> None:
    seen: dict[str, str] = {}
    for part, chosen in rows.items():
        for row in chosen:
            group = (given.groups or ())[row]
            if seen.setdefault(group, part) != part:
                both = f"group {group!r} is in {seen[group]} and in {part}"
                raise InvalidInput(f"{path}: row {row + 1}: {both}; allowed under hold_out=groups: one split")


def _tensor(x: Array, rows: Array) -> Tensor:
    """[n, ...] float32, in blocks: beside the result only a block is held."""
    result = torch.empty((len(rows), *x.shape[1:]))
    for start in range(0, len(rows), 4096):
        result[start : start + 4096] = torch.from_numpy(x[rows[start : start + 4096]].astype(np.float32))
    return result


def _standardise(tensors: dict[str, Tensor]) -> None:
    """In place, with the training samples' mean and deviation; a constant becomes 0."""
    train = tensors["train"]
    others = [0, *range(2, train.ndim)]
    mean = train.mean(dim=others, keepdim=True)
    deviation = train.std(dim=others, keepdim=True, correction=0)
    deviation[deviation < 1e-6 * (mean.abs() + 1e-6)] = 1.0
    for tensor in tensors.values():
        tensor.sub_(mean).div_(deviation)
