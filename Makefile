# make demo: set up and run the main job offline. make test: set up and pass the tests.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# The demo needs the package alone; tests need the converters and tools of the extra "dev" as well.
DEMO_READY := $(VENV)/.ready-demo
DEV_READY := $(VENV)/.ready-dev
# Two processes of one thread each keep two cores busier than one process of two threads.
WORKERS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses $(WORKERS)

.PHONY: help setup setup-dev test test-avx2 slow sweep chaos fuzz mutation real gpu lint demo clean

help:
	@echo "make demo       teach, evaluate, export, time and report on clips made here (offline)"
	@echo "make test       the tests; make slow, make real: the longer ones, those on real data"
	@echo "make lint       format, lint, types, layers"
	@echo "make test-avx2  the tests as on a processor without AVX-512"
	@echo "make sweep      every model in every format; writes a table into results/"
	@echo "make chaos      verbs killed, doubled and without a disk; writes a table into results/"
	@echo "make fuzz       a thousand broken files; writes a table into results/"
	@echo "make mutation   what share of small faults the tests notice; writes a table into results/"
	@echo "make gpu        the tests that need CUDA, and the speed of training there"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Understudy needs Python 3.11 or newer; say which: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(DEMO_READY): pyproject.toml | $(BIN)/python
	$(INSTALL) -e .
	@touch $@

# Touches the mark of the demo too: its packages are among these.
$(DEV_READY): pyproject.toml | $(BIN)/python
	$(INSTALL) -e '.[dev]'
	@touch $(DEMO_READY) $@

setup: $(DEMO_READY)

setup-dev: $(DEV_READY)

test: setup-dev
	$(PYTEST)

# Sums come out differently with other instructions; a test that trains must hold with each.
test-avx2: setup-dev
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=AVX2 $(PYTEST)

slow: setup-dev
	$(PYTEST) -m "slow and not sweep" --timeout 900

sweep: setup-dev
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/sweep.py --workers $(WORKERS)

chaos: setup-dev
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/chaos.py

fuzz: setup-dev
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/fuzz.py

mutation: setup-dev
	$(INSTALL) -e '.[mutation]'
	$(BIN)/python benchmarks/mutation.py --workers $(WORKERS)

real: setup-dev
	$(PYTEST) -m real --timeout 900

# One process: tests that share a device would time and fill it together.
gpu: setup-dev
	$(BIN)/pytest -m gpu --timeout 900
	$(BIN)/python benchmarks/training_throughput.py --device cuda

lint: setup-dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyright
	$(BIN)/lint-imports

demo: setup
	$(BIN)/understudy demo

clean:
	rm -rf $(VENV) demo
