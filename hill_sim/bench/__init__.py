"""Benchmarks: `hill-sim bench kernels` and `hill-sim bench engine`."""
