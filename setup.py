"""Builds the compiled kernels; everything else about the package is in pyproject.toml.

HILL_SIM_BUILD (environment) says what to build:
    auto   (default) what this machine can: never fails, and records why a part is missing
    cpu    the CPU kernels, or fail
    cuda   the CPU and the CUDA kernels, or fail; needs nvcc, no GPU
    none   nothing: the package is pure Python (numba and torch kernels)
HILL_SIM_CUDA_ARCHS: compute capabilities, default "80;90" and PTX of the last one for newer GPUs.

The torch operators use torch's stable ABI, so one build serves every torch from 2.10 on; nothing here is tied to the
processor (the C++ picks its vector instructions when it is loaded) or to a GPU being present.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

MODE = os.environ.get("HILL_SIM_BUILD", "auto")
TORCH_TARGET = "0x020a000000000000"  # 2.10.0: the oldest torch that the operators load on
ARCHS = os.environ.get("HILL_SIM_CUDA_ARCHS", "80;90").split(";")
FLAGS = ["-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd", "-fvisibility=hidden", "-g0"]
WARNINGS = ["-Wall", "-Wextra", "-Wno-psabi"]
KERNELS = ["csrc/cpu/pair_separation.cpp", "csrc/cpu/structure_loss.cpp", "csrc/cpu/center_loss.cpp"]
ENGINE = ["csrc/torch_chain.cpp", "csrc/cpu/chain.cpp", "csrc/cpu/human.cpp"]  # the training step of the populations
CUDA = [
    "csrc/cuda/pair_separation.cu",
    "csrc/cuda/structure_loss.cu",
    "csrc/cuda/center_loss.cu",
    "csrc/cuda/torch_ops.cu",
]
HEADERS = [str(p) for p in sorted(Path("csrc").rglob("*.h")) + sorted(Path("csrc").rglob("*.cuh"))]


class Missing(Exception):
    """Why a part cannot be built here."""


def package_folder(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise Missing(f"{name} is not installed in the build environment (build with --no-build-isolation?)")
    return Path(next(iter(spec.submodule_search_locations)))


def cuda_toolkit() -> tuple[Path, Path]:
    """(nvcc, root of its toolkit). nvcc may be a wrapper or a link, and CUDA_HOME may point at one: nvcc itself is
    asked where it lives, and the answer counts only when headers and runtime library are there."""
    homes = [os.environ.get(name) for name in ("CUDA_HOME", "CUDA_PATH")]
    found = [str(Path(home) / "bin" / "nvcc") for home in homes if home] + [
        shutil.which("nvcc"),
        "/usr/local/cuda/bin/nvcc",
    ]
    tried = []
    for nvcc in dict.fromkeys(path for path in found if path and Path(path).is_file()):
        roots = [Path(nvcc).resolve().parent.parent]
        answer = subprocess.run([nvcc, "--dryrun", "-c", "x.cu"], capture_output=True, text=True, check=False)
        roots[:0] = [Path(top).resolve() for top in re.findall(r"#\$ TOP=(\S+)", answer.stdout + answer.stderr)]
        for root in roots:
            headers = [root / "include", root / "targets" / "x86_64-linux" / "include"]
            if any((folder / "cuda_runtime.h").is_file() for folder in headers) and cudart(root) is not None:
                return Path(nvcc), root
        tried.append(f"{nvcc} (no cuda_runtime.h and libcudart under {', '.join(map(str, roots))})")
    raise Missing("no usable CUDA toolkit: " + ("; ".join(tried) if tried else "nvcc not found"))


def cudart(root: Path) -> Path | None:
    for folder in ("lib64", "lib", "targets/x86_64-linux/lib"):
        if (root / folder / "libcudart_static.a").is_file():
            return root / folder
    return None


def nvcc_command(nvcc: Path, source: str, target: str, include: list[str]) -> list[str]:
    archs = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in ARCHS]
    archs.append(f"-gencode=arch=compute_{ARCHS[-1]},code=compute_{ARCHS[-1]}")
    host = ["-Xcompiler", "-fPIC,-fvisibility=hidden", f"-DTORCH_TARGET_VERSION={TORCH_TARGET}ULL", "-DUSE_CUDA"]
    folders = [f"-isystem={folder}" for folder in include]
    return [str(nvcc), "-std=c++17", "-O3", *archs, *host, *folders, "-c", source, "-o", target]


def reason(error: Exception) -> str:
    """One short line. A compiler's failure comes as its whole command; its name and exit status are what matters."""
    text = " ".join(str(error).split())
    command = re.match(r"[Cc]ommand .?'?\[?'?([^ ',]+).*?((?:non-zero )?exit (?:status|code) -?\d+)?$", text)
    if command:
        return f"command '{command[1]}' failed" + (f" with {command[2]}" if command[2] else "")
    return text[:300] or type(error).__name__


class Build(build_ext):
    """Compiles part by part, so that in `auto` a part that fails costs only itself, and writes `_build.json`."""

    def build_extensions(self) -> None:
        kernels: list[str] | None = None  # compiled once, linked twice
        record = {"mode": MODE, "cpu": "not asked for", "numpy": "not asked for", "cuda": "not asked for"}
        for part in self.extensions:
            try:
                part.resolve()
                if part.part == "cuda":
                    self.build_cuda(part)
                else:
                    kernels = kernels or self.compiler.compile(
                        KERNELS, output_dir=self.build_temp, extra_postargs=part.extra_compile_args, depends=HEADERS
                    )
                    part.extra_objects = kernels
                    self.build_extension(part)
                record[part.part] = "built"
            except Exception as error:
                if MODE != "auto":
                    raise
                record[part.part] = reason(error)
                print(f"hill-sim: {part.part} kernels not built: {record[part.part]}", file=sys.stderr)
        for part in self.extensions:
            if record[part.part] != "built":  # an older build may have left one, which would be packed
                Path(self.get_ext_fullpath(part.name)).unlink(missing_ok=True)
        self.extensions = [part for part in self.extensions if record[part.part] == "built"]
        folder = Path(self.build_lib) / "hill_sim" / "kernels"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "_build.json").write_text(json.dumps(record, indent=1) + "\n")

    def copy_extensions_to_source(self) -> None:
        """In-place and editable builds: what was built goes beside the sources, what was not must not linger there."""
        here = Path("hill_sim/kernels")
        for stale in here.glob("_*.so"):
            stale.unlink()
        super().copy_extensions_to_source()
        shutil.copy(Path(self.build_lib) / here / "_build.json", here)

    def get_ext_filename(self, name: str) -> str:
        if name.split(".")[-1] in ("_ops", "_ops_cuda"):  # libraries that torch loads, not Python modules
            return name.replace(".", "/") + ".so"
        return super().get_ext_filename(name)

    def build_cuda(self, part: "Part") -> None:
        nvcc, root = cuda_toolkit()
        library = cudart(root)
        Path(self.build_temp).mkdir(parents=True, exist_ok=True)
        objects = []
        for source in part.sources:
            objects.append(str(Path(self.build_temp) / (Path(source).stem + ".cu.o")))
            done = subprocess.run(
                nvcc_command(nvcc, source, objects[-1], part.include_dirs), capture_output=True, text=True
            )
            print(done.stdout, done.stderr, sep="", end="", file=sys.stderr)
            if done.returncode != 0:
                wrong = [line for line in done.stderr.splitlines() if "error" in line]
                raise Missing(f"nvcc failed on {source}: {(wrong or ['exit status ' + str(done.returncode)])[0]}")
        out = Path(self.get_ext_fullpath(part.name))
        out.parent.mkdir(parents=True, exist_ok=True)
        # libtorch brings in libtorch_cuda where that exists, so linking works with a CPU torch as well.
        torch = ["-Wl,--no-as-needed", f"-L{package_folder('torch') / 'lib'}", "-ltorch", "-ltorch_cpu"]
        link = [os.environ.get("CXX", "g++"), "-shared", "-s", *objects, "-o", str(out), *torch]
        subprocess.run([*link, f"-L{library}", "-lcudart_static", "-lrt", "-lpthread", "-ldl"], check=True)


class Part(Extension):
    """One library. Where its headers are is looked up only when it is built."""

    def __init__(self, part: str, name: str, sources: list[str]) -> None:
        super().__init__(name, sources, depends=HEADERS, language="c++")
        self.part = part

    def resolve(self) -> None:
        self.extra_compile_args = [*FLAGS, *WARNINGS]
        self.extra_link_args = ["-s"]
        if self.part in ("cpu", "cuda"):
            torch = package_folder("torch")
            self.include_dirs = [str(torch / "include")]
            self.extra_compile_args.append("-Wno-unused-parameter")  # in torch's headers
            self.define_macros = [("TORCH_TARGET_VERSION", f"{TORCH_TARGET}ULL")]
            self.library_dirs = [str(torch / "lib")]
            self.libraries = ["torch_cpu"]
        if self.part == "numpy":
            self.include_dirs = [str(package_folder("pybind11") / "include")]
            self.define_macros = [
                ("HILL_FLAGS", '"' + " ".join(FLAGS) + '"'),
                ("HILL_TORCH_TARGET", f"{TORCH_TARGET}ULL"),
            ]


PARTS = {
    "cpu": Part("cpu", "hill_sim.kernels._ops", ["csrc/torch_ops.cpp", *ENGINE]),
    "numpy": Part("numpy", "hill_sim.kernels._numpy", ["csrc/numpy_module.cpp"]),
    "cuda": Part("cuda", "hill_sim.kernels._ops_cuda", CUDA),
}
WANTED = {"auto": ("cpu", "numpy", "cuda"), "cpu": ("cpu", "numpy"), "cuda": ("cpu", "numpy", "cuda"), "none": ()}
if MODE not in WANTED:
    raise SystemExit(f"HILL_SIM_BUILD must be one of {', '.join(WANTED)}, not {MODE!r}")

if __name__ == "__main__":  # csrc/cuda/report.py reads this file for the toolkit and the flags
    setup(ext_modules=[PARTS[part] for part in WANTED[MODE]], cmdclass={"build_ext": Build})
