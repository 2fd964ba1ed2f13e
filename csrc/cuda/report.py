"""Compiles the CUDA kernels for each architecture and prints registers, shared memory and spills. Needs nvcc, no GPU.

    python csrc/cuda/report.py [--max-spill BYTES]

Exits with 1 when a kernel spills more than --max-spill bytes (default 64), with 3 when there is no toolkit.
"""

import argparse
import re
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

ENTRY = re.compile(r"Compiling entry function '(\S+)' for '(\S+)'")
SPILL = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers")
SHARED = re.compile(r"(\d+) bytes smem")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--max-spill", type=int, default=64)
    limit = parser.parse_args().max_spill
    build = runpy.run_path("setup.py", run_name="report")
    try:
        nvcc, _ = build["cuda_toolkit"]()
    except build["Missing"] as missing:
        print(f"cuda-check: skipped: {missing}")
        return 3
    include = [str(build["package_folder"]("torch") / "include")]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for source in build["CUDA"]:
            command = build["nvcc_command"](nvcc, source, str(Path(folder) / "out.o"), include)
            done = subprocess.run([*command, "-Xptxas=-v"], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                print(done.stderr)
                return 1
            rows += read(done.stderr)
    names = subprocess.run(["c++filt"], input="\n".join(r[0] for r in rows), capture_output=True, text=True, check=True)
    print(f"{'kernel':58} {'arch':6} {'registers':>9} {'shared':>7} {'spill':>6}")
    for name, row in sorted(zip(names.stdout.splitlines(), rows, strict=True)):
        short = re.sub(r"hill::cuda::\(anonymous namespace\)::|^void |\(.*$", "", name)
        print(f"{short:58} {row[1]:6} {row[2]:9} {row[3]:7} {row[4]:6}")
    worst = max(row[4] for row in rows)
    print(f"{len(rows)} kernels, most registers {max(r[2] for r in rows)}, most spilled {worst} bytes")
    return int(worst > limit)


def read(log: str) -> list[tuple[str, str, int, int, int]]:
    """(mangled name, architecture, registers, bytes of shared memory, bytes spilled) for each kernel in ptxas's log."""
    rows, name, arch, spill = [], "", "", 0
    for line in log.splitlines():
        if found := ENTRY.search(line):
            name, arch = found.groups()
        elif found := SPILL.search(line):
            spill = int(found[2]) + int(found[3])
        elif found := USED.search(line):
            shared = SHARED.search(line)
            rows.append((name, arch, int(found[1]), int(shared[1]) if shared else 0, spill))
    return rows


if __name__ == "__main__":
    sys.exit(main())
