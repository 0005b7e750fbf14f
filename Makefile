# On a fresh machine with Python 3.11 or newer: `make setup` makes the environment .venv and stops, `make run` trains a first network
# with it, `make test` runs the tests. Where python3 is older: make setup PYTHON=/path/to/python3.11
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SOURCES := ganhpc jobs launch.py tests benchmarks

.PHONY: setup run test check format mutation clean

setup: $(VENV)/.run
	@echo "ready: $(BIN)/python launch.py doctor looks over this machine, $(BIN)/python launch.py --help lists what there is"

run: $(VENV)/.run
	$(BIN)/python launch.py cifar --budget-params 256k --time 5m

test: $(VENV)/.test
	$(BIN)/python -m pytest -n auto

# Before every commit: format, lint, types, and the quick tests, which share the cores. Among them, tests/test_architecture.py looks for
# imports against the layers (import-linter), dead code (vulture) and dependencies that nothing needs or that are missing (deptry).
check: $(VENV)/.dev
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto -m "not slow and not cluster"

# Small changes of the planner and its neighbours, and whether their tests notice: MODULES="core/units launch/planner/planner", or all of them (hours).
mutation: $(VENV)/.mutation
	$(BIN)/python -m tests.mutation $(MODULES) $(if $(SAMPLE),--sample $(SAMPLE))

format: $(VENV)/.dev
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("ganhpc needs Python 3.11 or newer, and %s is %d.%d: make PYTHON=/path/to/python3.11" % (sys.executable, *sys.version_info[:2]) if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python setup.cfg
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.test: $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@

$(VENV)/.dev: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

$(VENV)/.mutation: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[mutation]'
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
