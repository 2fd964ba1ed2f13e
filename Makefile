# Each target is enough on a fresh machine: it makes .venv, installs the pins, builds, and runs.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PY := .venv/bin/python
CHECKED := hill_sim strategies tests requirements docs/findings $(wildcard setup.py)

# One thread per process: more threads fight over a busy machine, and every figure we give is of one thread.
export OMP_NUM_THREADS := 1
export MPLBACKEND := Agg

.PHONY: help demo test test-faults fast lint bench sanitize cuda findings base dev clean

help: ## what can be made
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' Makefile

demo: base ## the quickstart: simulated users on real digits, to a report
	@.venv/bin/hill-sim sweep experiments/quickstart.yaml --report

test: lint ## everything: ruff, mypy, the import contract, all tests
	@$(PY) -m pytest -n $${HILL_SIM_TEST_WORKERS:-2} --dist loadfile

test-faults: dev ## the fault tests in full: processes killed, disks full, clusters broken; half an hour
	@HILL_SIM_FAULTS=full $(PY) -m pytest tests/faults -m faults

fast: dev ## the edit loop: the quick tests only, of all or of TESTS=tests/unit
	@$(PY) -m pytest -n $${HILL_SIM_TEST_WORKERS:-2} --dist loadfile -m "not slow and not cuda" --ignore tests/faults --ignore tests/browser $(TESTS)

lint: dev ## ruff, mypy, the import contract
	@$(PY) -m ruff check $(CHECKED)
	@$(PY) -m ruff format --check $(CHECKED)
	@$(PY) -m mypy
	@.venv/bin/lint-imports

bench: base ## kernels, engine and sweeps against their baselines, on this machine
	@.venv/bin/hill-sim bench kernels
	@.venv/bin/hill-sim bench engine
	@.venv/bin/hill-sim bench sweep

sanitize: ## the C++ kernels under AddressSanitizer and UBSan
	@csrc/tests/sanitize.sh

cuda: dev ## compile the CUDA kernels and report registers and spills; needs nvcc, no GPU
	@$(PY) csrc/cuda/report.py

findings: base ## every experiment at full size (hours; data: docs/tasks.md), then docs/findings.md from the results
	@$(PY) -m docs.findings.sweeps
	@$(PY) -m docs.findings.write

base: ## .venv with what hill-sim needs to run
	@requirements/install.sh base

dev: ## .venv with what the tests and checks need as well
	@requirements/install.sh dev

clean: ## remove what was built; .venv and runs/ stay
	@rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find hill_sim strategies tests -name __pycache__ -type d -prune -exec rm -rf {} +
