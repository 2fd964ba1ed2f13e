"""What people confuse: the matrix from counts, matrices of one's own, and the users who see through it."""

from __future__ import annotations

import copy
import lzma
from pathlib import Path

import miniature
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from hill_sim.engine import plan
from hill_sim.errors import HillError, InvalidInput, Unavailable
from hill_sim.policy import HumanLimits, build_policy
from hill_sim.policy.limits import Misperception
from hill_sim.tasks import cifar10, human_confusion
from hill_sim.tasks.human_confusion import Confusion, class_confusion, load_confusion
from hill_sim.testing import PolicyContract, check_policy, example_views
from hill_sim.trial import Trial
from hill_sim.types import CollapseClass, Edit, LatentView, MoveCenter, MovePoint

VIEWS = example_views()
VIEW = VIEWS["ordinary"]


def ring(n: int, off: float) -> np.ndarray:
    """Each class is taken for the next one with probability `off`."""
    return (1 - off) * np.eye(n) + off * np.roll(np.eye(n), 1, axis=1)


def confusion(matrix: np.ndarray) -> Confusion:
    return Confusion(matrix, (), "ours")


class Looks:
    """Notes what it is shown, and makes one gesture."""

    def __init__(self, gesture: MoveCenter | MovePoint | CollapseClass | None = None) -> None:
        self.seen: list[LatentView] = []
        self.edit_to_make = Edit([] if gesture is None else [gesture])

    def edit(self, view: LatentView, rng: np.random.Generator) -> Edit:
        self.seen.append(view)
        return self.edit_to_make


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(6, 40))
def test_class_confusion_against_a_plain_loop(seed: int, classes: int, images: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 30, size=(images, classes)) + 1
    labels = np.arange(images) % classes
    expected = np.zeros((classes, classes))
    for c in range(classes):
        rows = [i for i in range(images) if labels[i] == c]
        for k in range(classes):
            expected[c, k] = sum(counts[i][k] / sum(counts[i]) for i in rows) / len(rows)
    found = class_confusion(counts, labels)
    assert_allclose(found, expected)
    assert_allclose(found.sum(axis=1), 1)


def test_how_often_what_is_taken_for_what() -> None:
    matrix = np.full((10, 10), 0.02) + 0.8 * np.eye(10)
    matrix[3, 3], matrix[3, 5] = 0.42, 0.42
    looks = Looks()
    for seed in range(500):
        Misperception(looks, confusion(matrix)).edit(VIEW, np.random.default_rng(seed))
    counted = np.zeros((10, 10))
    for view in looks.seen:
        np.add.at(counted, (VIEW.labels, view.labels), 1)
    error = 4 * np.sqrt(matrix * (1 - matrix) / 5000)
    assert (np.abs(counted / 5000 - matrix) <= error).all()


def test_only_the_labels_are_misperceived() -> None:
    looks = Looks()
    Misperception(looks, confusion(ring(10, 0.5))).edit(VIEW, np.random.default_rng(0))
    [seen] = looks.seen
    assert (seen.labels != VIEW.labels).any()
    for name in ("points", "predictions", "confidences", "sample_ids"):
        assert_array_equal(getattr(seen, name), getattr(VIEW, name))
    assert (seen.class_names, seen.epoch, seen.history) == (VIEW.class_names, VIEW.epoch, VIEW.history)


@pytest.mark.parametrize("name", ["compactness", "separation", "fix_outliers", "merge_similar"])
def test_without_confusion_nothing_changes(name: str) -> None:
    policy, matrix = build_policy(name), confusion(ring(10, 0.9))
    drawn = np.random.default_rng(3)
    drawn.random(len(VIEW.labels))  # the eye's own draws come first
    for limited in (Misperception(policy, confusion(np.eye(10))), Misperception(policy, matrix, 0.0)):
        rng = np.random.default_rng(3)
        assert limited.edit(VIEW, rng) == policy.edit(VIEW, copy.deepcopy(drawn))


def test_scale() -> None:
    names = VIEW.class_names
    twice = Misperception(Looks(), confusion(ring(10, 0.1)), 2.0).chances(names)
    assert_allclose(twice, ring(10, 0.2))
    beyond = Misperception(Looks(), confusion(np.full((10, 10), 0.1)), 50.0).chances(names)
    assert_allclose(beyond, (1 - np.eye(10)) / 9, atol=1e-15)


def test_what_is_done_to_a_perceived_class_is_done_to_the_class() -> None:
    everybody = confusion(ring(10, 1.0))  # every point is taken for one of the next class
    point = int(np.flatnonzero(VIEW.labels == 4)[0])
    # The user drags what they take for class 5: it looks as if its center were that of class 4.
    looks = Looks(MoveCenter(5, tuple((VIEW.centers[4] + [0.5, -0.25]).tolist())))
    layout = Misperception(looks, everybody).edit(VIEW, np.random.default_rng(0)).apply(VIEW)
    assert_allclose(layout.centers[5] - VIEW.centers[5], [0.5, -0.25], atol=1e-12)
    assert layout.touched.tolist() == [c == 5 for c in range(10)]
    # A single point is the point that it is.
    layout = (
        Misperception(Looks(MovePoint(point, (2.0, 2.0))), everybody).edit(VIEW, np.random.default_rng(0)).apply(VIEW)
    )
    assert_allclose(layout.points[point], [2.0, 2.0], atol=1e-12)
    assert layout.touched[4]


def test_gestures_on_classes_that_are_not_shown_are_lost() -> None:
    view = VIEWS["classes that are not shown"]  # 1, 4 and 7
    everybody = confusion(ring(10, 1.0))
    edit = Misperception(Looks(CollapseClass(2)), everybody).edit(view, np.random.default_rng(0))
    assert edit == Edit()


def test_confused_classes_look_closer() -> None:
    looks = Looks()
    matrix = np.eye(10)
    matrix[:2, :2] = 0.5
    for seed in range(50):
        Misperception(looks, confusion(matrix)).edit(VIEW, np.random.default_rng(seed))
    apart = [np.linalg.norm(view.centers[0] - view.centers[1]) for view in looks.seen]
    assert np.mean(apart) < 0.6 * np.linalg.norm(VIEW.centers[0] - VIEW.centers[1])
    others = [np.linalg.norm(view.centers[2] - view.centers[3]) for view in looks.seen]
    assert_allclose(others, np.linalg.norm(VIEW.centers[2] - VIEW.centers[3]))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HILL_SIM_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Labels(Confusion):
    """A confusion of as many classes as there are, so that one matrix serves all example views."""

    def of(self, class_names: object) -> np.ndarray:
        return ring(len(class_names), 0.3)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["compactness", "separation", "fix_outliers", "merge_similar", "resolve_overlap", "random"]
)
def test_contract(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(human_confusion, "load_confusion", lambda name: Labels(np.eye(2)))
    check_policy(name, user={"confusion": "ours", "confusion_scale": 2.0})
    few = {view: VIEWS[view] for view in ("ordinary", "third interaction", "one point", "coincident classes")}
    limits = {"confusion": "ours", "perception": 20, "motor_noise": 0.1, "mistakes": 0.2, "effort": 5}
    check_policy(name, user=limits, views=few)


class TestBySubclass(PolicyContract):
    """With a matrix from a file, as a user writes it."""

    policy = "compactness"

    @pytest.fixture(autouse=True)
    def _matrix(self, tmp_path: Path) -> None:
        np.save(tmp_path / "m.npy", ring(10, 0.4))
        type(self).user = {"confusion": str(tmp_path / "m.npy")}

    def views(self) -> dict[str, LatentView]:
        return {name: view for name, view in VIEWS.items() if view.n_classes == 10}


def test_order_of_the_limits(root: Path) -> None:
    np.save(root / "m.npy", ring(10, 0.4))
    policy = HumanLimits(perception=5, confusion="m.npy", skipping=0.5).wrap(build_policy("hold"))
    order = []
    while hasattr(policy, "policy"):
        order.append(type(policy).__name__)
        policy = policy.policy
    assert order == ["Skipping", "Perception", "Misperception", "Checked"]


def test_no_confusion_is_no_limit() -> None:
    policy = build_policy("hold")
    assert HumanLimits().wrap(policy) is policy
    assert HumanLimits(confusion="nowhere.npy", confusion_scale=0.0).wrap(policy) is policy


def counts_file(root: Path, counts: np.ndarray) -> None:
    (root / "cifar10").mkdir(exist_ok=True)
    np.save(root / "counts.npy", counts)
    (root / "cifar10" / "cifar10h-counts.npy.xz").write_bytes(lzma.compress((root / "counts.npy").read_bytes()))


@pytest.fixture
def cifar10h(root: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    sums = miniature.cifar10(root / "cifar-10-batches-py")
    miniature.accept_cifar10(monkeypatch, sums)
    counts = np.full((50, 10), 1) + 41 * np.eye(10, dtype=np.int64)[np.arange(50) % 10]
    counts_file(root, counts)
    return counts


def test_cifar10h(cifar10h: np.ndarray) -> None:
    found = load_confusion("cifar10h")
    assert found.class_names == cifar10.CLASSES
    assert_allclose(found.matrix, (np.full((10, 10), 1) + 41 * np.eye(10)) / 51)
    assert not found.matrix.flags.writeable
    shuffled = cifar10.CLASSES[::-1]
    assert_allclose(found.of(shuffled), found.matrix[::-1, ::-1])


def test_cifar10h_is_about_cifar10(cifar10h: np.ndarray) -> None:
    policy = build_policy("compactness", user={"confusion": "cifar10h"})
    with pytest.raises(
        InvalidInput, match=r"cifar10h is about airplane, automobile, bird, cat, ...; the task's classes are"
    ):
        policy.edit(VIEW, np.random.default_rng(0))


@pytest.mark.parametrize(
    "counts", [np.ones((49, 10), dtype=np.int64), np.zeros((50, 10), dtype=np.int64), np.ones((50, 10))]
)
def test_counts_that_are_something_else(root: Path, cifar10h: np.ndarray, counts: np.ndarray) -> None:
    human_confusion._cifar10h.cache_clear()
    counts_file(root, counts)
    with pytest.raises(InvalidInput, match=r"cifar10h-counts.npy.xz: shape .* allowed: counts \[50, 10\]"):
        load_confusion("cifar10h")


def test_without_the_counts(root: Path) -> None:
    with pytest.raises(Unavailable, match=r"no cifar10h-counts.npy in .*hill-sim data fetch cifar10h"):
        load_confusion("cifar10h")


NAMED = "class,ant,bee\nant,9,1\nbee,0,2\n"


def test_matrices_of_ones_own(root: Path) -> None:
    (root / "m.csv").write_text(NAMED)
    found = load_confusion("m.csv")
    assert_allclose(found.of(("ant", "bee")), [[0.9, 0.1], [0.0, 1.0]])
    assert_allclose(found.of(("bee", "ant")), [[1.0, 0.0], [0.1, 0.9]])
    (root / "plain.csv").write_text("3,1\n1,1\n")
    assert_allclose(load_confusion("plain.csv").of(("x", "y")), [[0.75, 0.25], [0.5, 0.5]])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.csv", "class,ant,bee\nant,9,1\nbee,0\n", "row 2: 1 fields, allowed: 2 numbers"),
        ("m.csv", "class,ant,bee\nbee,9,1\nant,0,1\n", "rows are bee, ant, columns ant, bee"),
        ("m.csv", "3,1\n1,x\n", "row 2: 2 fields, allowed: 2 numbers"),
        ("m.csv", "3,-1\n1,1\n", "row 1, column 2: -1.0 is not a number >= 0"),
        ("m.csv", "3,1\n0,0\n", "row 2 is all 0"),
        ("m.csv", "3,nan\n1,1\n", "row 1, column 2: nan is not a number >= 0"),
        ("m.csv", "", "allowed: numbers [C, C]"),
        ("m.npy", np.ones((2, 3)), "float64 [2, 3], allowed: numbers [C, C]"),
        ("m.npy", np.array([["a"]]), "allowed: numbers [C, C]"),
        ("m.npy", "no array", "m.npy: not a whole .npy of numbers"),
        ("m.txt", "1", "kind '.txt', allowed: .npy, .csv"),
        ("none.npy", None, "no file"),
    ],
)
def test_matrices_that_are_something_else(
    root: Path, name: str, content: str | np.ndarray | None, message: str
) -> None:
    if isinstance(content, np.ndarray):
        np.save(root / name, content)
    elif content is not None:
        (root / name).write_text(content)
    with pytest.raises(HillError) as caught:
        build_policy("hold", user={"confusion": name})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_matrix_of_another_size() -> None:
    with pytest.raises(InvalidInput, match="ours is 3 x 3, the task has 10 classes"):
        Misperception(Looks(), confusion(np.eye(3))).edit(VIEW, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"confusion": 3}, "user.confusion: 3"),
        ({"confusion": ""}, "user.confusion: ''"),
        ({"confusion_scale": -1}, "user.confusion_scale: -1"),
    ],
)
def test_options(given: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        HumanLimits.from_options(given)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [("three.npy", "is 3 x 3, the task has 10 classes"), ("none.npy", "user.confusion: no file none.npy nor ")],
)
def test_a_matrix_that_does_not_fit_is_found_before_anything_runs(root: Path, matrix: str, message: str) -> None:
    np.save(root / "three.npy", np.eye(3))
    with pytest.raises(InvalidInput) as caught:
        plan([Trial(user={"confusion": matrix}, epochs=2, interactions=(1,))])
    assert message in str(caught.value)
