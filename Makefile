# make demo: set up and run the main job offline. make test: set up and pass the tests.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup test slow real lint demo clean

help:
	@echo "make demo   teach, evaluate, export, time and report on clips made here (offline)"
	@echo "make test   the tests; make slow, make real: the longer ones, those on real data"
	@echo "make lint   format, lint, types, layers"

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Understudy needs Python 3.11 or newer; say which: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $(READY)

setup: $(READY)

test: setup
	$(BIN)/pytest

slow: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow --timeout 900 --numprocesses 2

real: setup
	$(BIN)/pytest -m real --timeout 900

lint: setup
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyright
	$(BIN)/lint-imports

demo: setup
	$(BIN)/understudy demo

clean:
	rm -rf $(VENV) demo
