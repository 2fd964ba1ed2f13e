"""The two loops that the engine is compared with, on the same data, model, recipe and per-epoch evaluation.

`usual`: what most training scripts do: `DataLoader`, `nn.Module`, default `Adam`, an evaluation loop each epoch.
`lean`: the best plain single loop that we know: data in tensors, index gather, fused Adam, evaluation in one batch.

Both train with cross-entropy alone, also where the engine computes human terms: that favours them.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from hill_sim.models import build_model
from hill_sim.tasks import Task
from hill_sim.trial import Trial


def usual(trial: Trial, task: Task, epochs: int) -> None:
    """Train one trial for some epochs, evaluating on validation and test after each."""
    model = build_model(trial, task)
    optimizer = torch.optim.Adam(model.parameters(), lr=trial.lr or 1e-3)
    criterion = nn.CrossEntropyLoss()
    train = DataLoader(TensorDataset(task.train.x, task.train.y), batch_size=trial.batch_size, shuffle=True)
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
    for _ in range(epochs):
        for rows in torch.randperm(len(y)).split(trial.batch_size or 64):
            optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(model(x[rows])[0], y[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            for held_x, held_y in held_out:
                logits = model(held_x)[0]
                nn.functional.cross_entropy(logits, held_y).item()
                (logits.argmax(1) == held_y).float().mean().item()
