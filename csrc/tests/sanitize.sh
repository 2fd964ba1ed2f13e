#!/usr/bin/env bash
# Builds the C++ kernels and their test program with AddressSanitizer and UBSan, and runs it. Needs g++, no torch.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# HILL_NO_CLONES: the loader picks versions before the sanitizer's runtime is ready.
"${CXX:-g++}" -std=c++17 -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all -DHILL_NO_CLONES \
  -fno-math-errno -fno-trapping-math -fopenmp-simd -Wall -Wextra -Wno-psabi \
  csrc/tests/sanitize.cpp csrc/cpu/pair_separation.cpp csrc/cpu/structure_loss.cpp csrc/cpu/center_loss.cpp -o "$out/sanitize" -lpthread
"$out/sanitize"
