"""The convnets: what they compute, that they fork bit for bit, and the recipes that tasks offer for them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from engine_support import differences
from torch import Tensor

from hill_sim.engine import plan, simulate
from hill_sim.engine.arena import Arena, Recipe
from hill_sim.engine.backends import LoopBackend
from hill_sim.engine.backends.modules import EVALUATED
from hill_sim.engine.simulation import same_result
from hill_sim.errors import InvalidInput
from hill_sim.models.base import activation_floats, build_model
from hill_sim.models.cnn import PaperCNN, SmallCNN
from hill_sim.models.cnn1d import PaperCNN1d, SmallCNN1d
from hill_sim.models.layout import channels_last
from hill_sim.tasks import Recipe as TaskRecipe
from hill_sim.tasks import Split, Task, load_task, resolve
from hill_sim.trial import Options, Trial

NAME = "plugin_of_the_convnets"


def load(shape: tuple[int, ...], model: str = "small_cnn") -> Task:
    """60 samples of three classes that differ in brightness; not a multiple of the batch."""
    g = torch.Generator().manual_seed(0)

    def split(n: int) -> Split:
        y = torch.arange(n) % 3
        return Split(torch.randn(n, *shape, generator=g) + y.view(-1, *[1] * len(shape)), y)

    augment = "crop-flip" if len(shape) == 3 else None
    recipe = TaskRecipe(model, Options(widths=(8, 8, 8)), batch_size=16, lr=1e-2, augment=augment)
    others = (TaskRecipe("mlp", Options(hidden=(7, 5)), batch_size=8, optimizer="sgd", weight_decay=0.1),)
    return Task("blots", split(60), split(EVALUATED + 7), split(30), ("a", "b", "c"), recipe, others)


@pytest.fixture(autouse=True)
def module() -> Iterator[None]:
    made = ModuleType(NAME)
    made.load = load  # type: ignore[attr-defined]
    sys.modules[NAME] = made
    yield
    del sys.modules[NAME]


def blots(**changes: Any) -> Trial:
    fields: dict[str, Any] = {"task": f"{NAME}:load", "task_options": {"shape": (3, 8, 8)}, "epochs": 4}
    return Trial(**{**fields, "interactions": (1, 3), "alpha": 0.8, **changes})


def group_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Over each eighth of the channels and all positions."""
    parts = x.reshape(len(x), 8, -1)
    centred = parts - parts.mean(-1, keepdim=True)
    normed = centred / (parts.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()
    shape = (1, -1, *[1] * (x.ndim - 2))
    return normed.reshape(x.shape) * weight.view(shape) + bias.view(shape)


def test_the_small_convnet_spelt_out() -> None:
    torch.manual_seed(1)
    model = SmallCNN((3, 8, 8), 4, (8, 16, 24)).double()
    x = torch.randn(5, 3, 8, 8, dtype=torch.float64)
    h = x
    layers = list(model.features)
    for depth, at in enumerate((0, 4, 8)):
        h = F.conv2d(h, layers[at].weight, padding=1)
        if depth < 2:
            h = F.max_pool2d(h, 2)
        norm = layers[at + (2 if depth < 2 else 1)]
        h = group_norm(h, norm.weight, norm.bias).clamp_min(0)
    logits, latents = model(x)
    torch.testing.assert_close(latents, h.mean((2, 3)))
    torch.testing.assert_close(logits, latents @ model.head.weight.T + model.head.bias)


def test_the_small_convnet_over_time_spelt_out() -> None:
    """Two-dimensional convolutions over windows one sample high are the convolutions over time."""
    torch.manual_seed(1)
    model = SmallCNN1d((5, 33), 4, (8, 16, 24)).double()
    x = torch.randn(6, 5, 33, dtype=torch.float64)
    h = x
    for conv, pool, norm, _ in zip(*[iter(model.features)] * 4, strict=True):
        assert pool.kernel_size == (1, 2)
        h = F.max_pool1d(F.conv1d(h, conv.weight.squeeze(2), padding=conv.kernel_size[1] // 2), 2)
        h = group_norm(h, norm.weight, norm.bias).clamp_min(0)
    logits, latents = model(x)
    torch.testing.assert_close(latents, h.amax(2))
    torch.testing.assert_close(logits, latents @ model.head.weight.T + model.head.bias)


@pytest.mark.parametrize(
    ("model", "most"),
    [(SmallCNN((3, 32, 32), 10), 150_000), (SmallCNN1d((27, 200), 19), 150_000), (SmallCNN1d((40, 64), 10), 150_000)],
    ids=["images", "windows", "spectra"],
)
def test_the_small_ones_are_small(model: torch.nn.Module, most: int) -> None:
    assert sum(p.numel() for p in model.parameters()) < most


def test_the_papers_networks_have_the_papers_shapes() -> None:
    model = PaperCNN((3, 32, 32), 10)
    convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [128, 256, 512, 512, 256]
    with torch.no_grad():
        logits, latents = model.eval()(torch.randn(2, 3, 32, 32))
    assert (tuple(logits.shape), tuple(latents.shape)) == ((2, 10), (2, 4096))
    windows = PaperCNN1d((27, 200), 12).eval()
    assert tuple(windows(torch.randn(2, 27, 200))[1].shape) == (2, 1024)


def test_images_of_one_channel_may_leave_it_out() -> None:
    torch.manual_seed(0)
    flat = SmallCNN((8, 16), 3)
    torch.manual_seed(0)
    deep = SmallCNN((1, 8, 16), 3)
    x = torch.randn(4, 8, 16)
    for a, b in zip(flat(x), deep(x.unsqueeze(1)), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 1, 4, 5), (1, 3, 1, 7)], ids=str)
def test_channels_last_changes_the_memory_only(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    changed = channels_last(x)
    assert torch.equal(changed, x)
    assert changed.stride(1) == 1
    assert changed.data_ptr() != x.data_ptr()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SmallCNN((3, 30, 32), 10), r"samples of shape \[3, 30, 32\].*multiples of 8"),
        (lambda: SmallCNN((64,), 10), r"samples of shape \[64\]"),
        (lambda: SmallCNN((3, 32, 32), 10, (16,)), r"model_options\.widths: \[16\] are not 2 to 8 multiples of 8"),
        (lambda: SmallCNN((3, 32, 32), 10, (16, 12)), r"model_options\.widths: \[16, 12\]"),
        (lambda: SmallCNN1d((27, 8), 10), r"samples of shape \[27, 8\].*time >= 16"),
        (lambda: SmallCNN1d((27, 99), 10, (8, 8)), r"model_options\.widths: \[8, 8\] are not three"),
        (lambda: PaperCNN((3, 20, 32), 10), r"samples of shape \[3, 20, 32\]"),
        (lambda: PaperCNN1d((27, 45), 10), r"samples of shape \[27, 45\].*time >= 46"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(make: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "model"), [((3, 8, 8), "small_cnn"), ((8, 16), "small_cnn"), ((5, 20), "small_cnn1d")], ids=str
)
def test_convnets_fork_bit_for_bit(shape: tuple[int, ...], model: str) -> None:
    """With augmentation on images; shared and packed in any way they come out as alone."""
    trials = [
        blots(task_options={"shape": shape, "model": model}, seed=seed, policy=policy, interactions=schedule)
        for seed, policy, schedule in ((0, "compactness", (1, 3)), (0, "hold", (3,)), (1, "separation", (1,)))
    ]
    alone = simulate(trials, pmax=1, share=False).results
    assert simulate(trials[:1]).info["backend"] == "loop"
    for pmax in (2, 64):
        for a, b in zip(simulate(trials, pmax=pmax).results, alone, strict=True):
            assert same_result(a, b), differences(a, b)


def test_evaluation_in_parts_is_evaluation() -> None:
    task = load((3, 8, 8))
    model = build_model(resolve(blots()), task)
    arena = Arena.create([list(model.named_parameters())], [[]], [Recipe("adam", 1e-3, 0.0)], torch.float32,
                         torch.device("cpu"))  # fmt: skip
    x = task.validation.x
    logits, latents = LoopBackend(model).evaluate(arena.part(slice(0, 1)), 0, x)
    assert (len(x), len(logits)) == (EVALUATED + 7, EVALUATED + 7)
    with torch.no_grad():
        expected = model.eval()(x)
    torch.testing.assert_close(logits, expected[0])
    torch.testing.assert_close(latents, expected[1])


def test_a_model_that_is_named_gets_its_recipe() -> None:
    """And named or by default, it is the same trial."""
    default = resolve(blots())
    assert (default.model, default.batch_size, default.lr, default.augment) == ("small_cnn", 16, 1e-2, "crop-flip")
    assert resolve(blots(model="small_cnn")) == default
    other = resolve(blots(model="mlp"))
    assert (other.model_options, other.batch_size, other.optimizer) == ({"hidden": (7, 5)}, 8, "sgd")
    assert (other.weight_decay, other.augment) == (0.1, "none")
    own = resolve(blots(model="mlp", model_options={"hidden": [3]}, lr=0.5))
    assert (own.model_options, own.lr, own.batch_size) == ({"hidden": (3,)}, 0.5, 8)
    assert resolve(own) == own
    strange = resolve(blots(model="torchvision:resnet18"))
    assert (strange.model_options, strange.batch_size, strange.augment) == ({}, 16, "crop-flip")
    assert resolve(strange) == strange
    task = load_task(f"{NAME}:load", Options(shape=(3, 8, 8)))
    assert task.recipe_for(None) == task.recipe
    assert replace(task, other_recipes=()).recipe_for("mlp").batch_size == 16


def test_what_a_step_keeps_of_a_sample_is_counted() -> None:
    """A chain keeps its input and each hidden activation; the plan multiplies it by batch, replicas and gradients."""
    task = load((4, 4), "mlp")
    trial = resolve(Trial(task=f"{NAME}:load", task_options={"shape": (4, 4), "model": "mlp"}, model="mlp",
                          model_options={"hidden": (7, 5)}))  # fmt: skip
    assert activation_floats(build_model(trial, task), task) == 16 + 7 + 5
    convnet, chain = (plan([blots(model=m)], pmax=4).memory_bytes for m in ("small_cnn", "mlp"))
    model = build_model(resolve(blots()), load((3, 8, 8)))
    assert convnet > 8 * 16 * activation_floats(model, load((3, 8, 8))) > chain / 4
