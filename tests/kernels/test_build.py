"""The build: what HILL_SIM_BUILD does; a wheel works far from its sources; one build serves several torches."""

import json
import os
import runpy
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from hill_sim.kernels import library

ROOT = Path(__file__).parents[2]
TESTS = ("__init__.py", "conftest.py", "helpers.py", "oracles.py", "test_formulas.py")


def run(command, where, **environment):
    """Runs a command that must succeed, without this checkout on its path."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "HILL_SIM_DISABLE")}
    done = subprocess.run(
        [str(c) for c in command], cwd=where, env=env | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the sources, without anything that was built."""
    copy = tmp_path_factory.mktemp("source") / "hill-sim"
    listed = run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], ROOT)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists() or (ROOT / name).is_symlink():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)
    return copy


def install(source, folder, mode, **environment):
    """Builds a wheel and unpacks it into folder/site; returns that."""
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, source]
    run(command, folder, HILL_SIM_BUILD=mode, **environment)
    (wheel,) = folder.glob("hill_sim-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run_kernel_tests(site, folder, disable):
    """The formula tests from a folder of their own, against the installed package alone."""
    (folder / "elsewhere" / "kernels").mkdir(parents=True)
    for name in TESTS:
        shutil.copy(ROOT / "tests" / "kernels" / name, folder / "elsewhere" / "kernels")
    where = folder / "elsewhere"
    code = "import hill_sim.kernels as k; print(k.__file__)"
    assert run([sys.executable, "-P", "-c", code], where, PYTHONPATH=str(site)).startswith(str(site))
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rs", "--rootdir", where, where]
    return run(command, where, PYTHONPATH=str(site), HILL_SIM_DISABLE=disable)


@pytest.mark.slow
def test_a_compiled_wheel_passes_the_kernel_tests_elsewhere(source, tmp_path):
    if shutil.which("g++") is None:
        pytest.skip("no g++")
    site = install(source, tmp_path, "cpu")
    assert json.loads((site / "hill_sim/kernels/_build.json").read_text())["cpu"] == "built"
    assert "cpp:" not in run_kernel_tests(site, tmp_path, disable="numba,torch")  # not skipped


@pytest.mark.slow
def test_without_anything_compiled_everything_still_works(source, tmp_path):
    site = install(source, tmp_path, "none")
    assert not list(site.rglob("*.so"))
    assert next(tmp_path.glob("*.whl")).name.endswith("py3-none-any.whl")
    output = run_kernel_tests(site, tmp_path, disable="torch")
    assert "cpp: not built" in output
    assert "numba:" not in output


@pytest.mark.slow
def test_a_compiler_that_fails_costs_only_the_compiled_kernels(source, tmp_path):
    """In auto. The wheel says why they are missing."""
    site = install(source, tmp_path, "auto", CC="/bin/false", CXX="/bin/false", PATH="/usr/bin:/bin")
    record = json.loads((site / "hill_sim/kernels/_build.json").read_text())
    assert "failed" in record["cpu"]
    assert not list(site.rglob("_ops*.so"))
    code = "from hill_sim.kernels.status import status; print(status().backends[1].reason)"
    assert "not built: command '/bin/false' failed" in run(
        [sys.executable, "-P", "-c", code], tmp_path, PYTHONPATH=str(site)
    )


@pytest.mark.slow
def test_the_build_loads_on_another_torch():
    """This checkout's build under HILL_SIM_OTHER_PYTHON, an interpreter with another torch (and numba and pytest)."""
    other = os.environ.get("HILL_SIM_OTHER_PYTHON")
    if other is None:
        pytest.skip("HILL_SIM_OTHER_PYTHON names no interpreter with another torch")
    if not library.load_cpu().ok:
        pytest.skip(library.load_cpu().reason)
    version = run([other, "-c", "import torch; print(torch.__version__)"], ROOT).strip()
    command = [other, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "default", "-k", "cpp or opcheck"]
    names = ("formulas", "edges", "bits", "autograd", "errors")
    output = run([*command, *(f"tests/kernels/test_{n}.py" for n in names)], ROOT, PYTHONPATH=str(ROOT))
    print(f"built with this torch, tested with {version}: {output.splitlines()[-1]}")


@pytest.fixture
def build():
    return runpy.run_path(str(ROOT / "setup.py"), run_name="test")


def fake_nvcc(folder, text):
    nvcc = folder / "bin" / "nvcc"
    nvcc.parent.mkdir(parents=True)
    nvcc.write_text(f"#!/bin/sh\n{text}\n")
    nvcc.chmod(nvcc.stat().st_mode | stat.S_IXUSR)
    return folder


def toolkit(folder, lib="lib64"):
    for name in ("include/cuda_runtime.h", f"{lib}/libcudart_static.a"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_the_toolkit_behind_a_wrapper_is_found(build, tmp_path, monkeypatch):
    real = toolkit(tmp_path / "cuda-99")
    (real / "bin").mkdir()
    wrapper = fake_nvcc(tmp_path / "usr", f"echo '#$ TOP={real}/bin/..' >&2")
    monkeypatch.setenv("CUDA_HOME", str(wrapper))
    nvcc, root = build["cuda_toolkit"]()
    assert root == real
    assert nvcc == wrapper / "bin" / "nvcc"


def test_a_link_to_the_toolkit_is_followed(build, tmp_path, monkeypatch):
    real = toolkit(fake_nvcc(tmp_path / "cuda-99", "exit 1"), "targets/x86_64-linux/lib")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nvcc").symlink_to(real / "bin" / "nvcc")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    assert build["cuda_toolkit"]()[1] == real


def test_a_compiler_without_headers_does_not_count(build, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_HOME", str(fake_nvcc(tmp_path / "usr", "exit 0")))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(build["Path"], "is_file", lambda self: self.is_relative_to(tmp_path) and os.path.isfile(self))
    with pytest.raises(build["Missing"], match=r"no usable CUDA toolkit: .*no cuda_runtime.h and libcudart under"):
        build["cuda_toolkit"]()


def test_an_unknown_mode_is_refused():
    done = subprocess.run(
        [sys.executable, "setup.py", "--name"],
        cwd=ROOT,
        env=os.environ | {"HILL_SIM_BUILD": "gpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "HILL_SIM_BUILD must be one of auto, cpu, cuda, none, not 'gpu'" in done.stderr
