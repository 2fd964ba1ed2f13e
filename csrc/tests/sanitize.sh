#!/usr/bin/env bash
# Builds the C++ kernels and their test program with AddressSanitizer and UBSan, and runs it. Needs g++, no torch.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# HILL_NO_CLONES: the loader picks versions before the sanitizer's runtime is ready.
build() {
  "${CXX:-g++}" -std=c++17 -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all \
    -DHILL_NO_CLONES -fno-math-errno -fno-trapping-math -fopenmp-simd -Wall -Wextra -Wno-psabi "$@" -lpthread
}
build csrc/tests/sanitize.cpp csrc/cpu/{pair_separation,structure_loss,center_loss}.cpp -o "$out/losses"
"$out/losses"
# The training step once for each width of registers that this machine has.
for level in 512 256 128; do
  build -DHILL_MAX_LEVEL=$level csrc/tests/sanitize_step.cpp csrc/cpu/{chain,human,structure_loss}.cpp -o "$out/step"
  "$out/step"
done
