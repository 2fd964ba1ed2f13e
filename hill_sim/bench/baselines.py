"""The two loops that the engine is compared with, on the same data, model, recipe and per-epoch evaluation.

`usual`: what most training scripts do: `DataLoader`, `nn.Module`, default `Adam`, an evaluation loop each epoch, crops
    and flips by torchvision's transforms of each image.
`lean`: the best plain single loop that we know: data in tensors, index gather, fused Adam, evaluation in batches that
    suit the cache, crops and flips of whole batches.

Both train with cross-entropy alone, also where the engine computes human terms: that favours them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from hill_sim.augment import PADDING, crop_flip
from hill_sim.models import build_model
from hill_sim.tasks import Task
from hill_sim.trial import Trial


class Augmented(Dataset[tuple[Tensor, Tensor]]):
    """Images with a transform that is applied to each when it is asked for."""

    def __init__(self, x: Tensor, y: Tensor, transform: Callable[[Tensor], Tensor]) -> None:
        self._x, self._y, self._transform = x, y, transform

    def __len__(self) -> int:
        return len(self._y)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self._transform(self._x[index]), self._y[index]


def _training_set(trial: Trial, task: Task) -> Dataset[tuple[Tensor, ...]]:
    if trial.augment != "crop-flip":
        return TensorDataset(task.train.x, task.train.y)
    from torchvision import transforms  # only images need it

    size = task.input_shape[-2:]
    transform = transforms.Compose([transforms.RandomCrop(size, padding=PADDING), transforms.RandomHorizontalFlip()])
    return Augmented(task.train.x, task.train.y, transform)


def usual(trial: Trial, task: Task, epochs: int) -> None:
    """Train one trial for some epochs, evaluating on validation and test after each."""
    model = build_model(trial, task)
    optimizer = torch.optim.Adam(model.parameters(), lr=trial.lr or 1e-3)
    criterion = nn.CrossEntropyLoss()
    train = DataLoader(_training_set(trial, task), batch_size=trial.batch_size, shuffle=True)
    held_out = [DataLoader(TensorDataset(s.x, s.y), batch_size=256) for s in (task.validation, task.test)]
    for _ in range(epochs):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            loss = criterion(model(x)[0], y)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for loader in held_out:
                correct = 0
                total_loss = 0.0
                for x, y in loader:
                    logits = model(x)[0]
                    total_loss += criterion(logits, y).item() * len(y)
                    correct += int((logits.argmax(1) == y).sum())


def lean(trial: Trial, task: Task, epochs: int) -> None:
    """The same work with as little around it as plain torch allows."""
    model = build_model(trial, task)
    optimizer = torch.optim.Adam(model.parameters(), lr=trial.lr or 1e-3, fused=True)
    x, y = task.train.x, task.train.y
    held_out = [(s.x, s.y) for s in (task.validation, task.test)]
    at_once = 128 if x.ndim > 2 else 2**20  # more images would send a convnet's activations through memory
    for epoch in range(epochs):
        model.train()
        for step, rows in enumerate(torch.randperm(len(y)).split(trial.batch_size or 64)):
            batch = x[rows]
            if trial.augment == "crop-flip":
                batch = crop_flip(batch.unsqueeze(0), (trial.seed,), epoch, step)[0]
            optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(model(batch)[0], y[rows]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for held_x, held_y in held_out:
                logits = torch.cat([model(part)[0] for part in held_x.split(at_once)])
                nn.functional.cross_entropy(logits, held_y).item()
                (logits.argmax(1) == held_y).float().mean().item()
