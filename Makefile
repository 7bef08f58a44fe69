# Every target does its own set-up: a fresh Debian needs only Python 3.11 or later with venv, and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# The oldest PyTorch that is supported, with Python 3.12 if it is installed.
OLDEST := .venv-oldest
OLDEST_PYTHON ?= $(firstword $(shell python3.12 -c 'import sys; print(sys.executable)' 2>/dev/null) $(PYTHON))
OLDEST_TORCH := 2.10.0
OLDEST_TESTS ?= tests/model tests/runtime tests/generation tests/training tests/evaluation

.PHONY: help demo test lint test-slow test-oldest docs notebooks peers calibrate ablate cost systems same-bits clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(INSTALLED)  ## the whole pipeline in minutes: stories, training, the exact limit, telling
	rm -rf storyloom-demo
	$(BIN)/storyloom demo --out storyloom-demo

test: lint  ## static checks and all fast tests
	$(BIN)/pytest -n 2 -rs

lint: $(INSTALLED)  ## format, style, types, import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

test-slow: $(INSTALLED)  ## the tests that take minutes: 300 kills, 5,000 damages, pairs of writers, full disks, whole notebooks, compiled runs
	$(BIN)/pytest -m slow

test-oldest: $(OLDEST)/.installed  ## the tests that compute, with the oldest PyTorch supported, in an environment of its own
	$(OLDEST)/bin/pytest -rs $(OLDEST_TESTS)

docs: $(INSTALLED)  ## write the pages that follow from the code
	$(BIN)/python docs/generate.py

notebooks: $(INSTALLED)  ## make notebooks/*.ipynb anew from their scripts
	$(BIN)/jupytext --update --to ipynb notebooks/*.py

peers: $(INSTALLED)  ## install what `storyloom bench` compares with
	$(BIN)/pip install --quiet --constraint constraints.txt transformers

calibrate: $(INSTALLED)  ## measure the storybook: limit, 5-gram, collision entropy
	$(BIN)/python benchmarks/storybook_calibration.py

ablate: $(INSTALLED)  ## hours: screen changes to the preset laptop on TEXT=FILE; goes on where it was stopped
	$(BIN)/python benchmarks/ablate.py --text "$(TEXT)"

cost: $(INSTALLED)  ## minutes: speed and memory of training as model, context and text grow, into docs/cost.md
	$(BIN)/python benchmarks/cost.py

systems: $(INSTALLED)  ## 2 hours: five published systems and ours, ten minutes each, on TEXT=FILE VAL=FILE
	$(BIN)/python benchmarks/systems.py --text "$(TEXT)" --val "$(VAL)"

same-bits: $(INSTALLED)  ## a minute: whether training still ends with the bits of BEFORE=COMMIT
	$(BIN)/python benchmarks/same_bits.py --before "$(BEFORE)"

clean:  ## remove the environment and all caches
	rm -rf $(VENV) $(OLDEST) .pytest_cache .ruff_cache .hypothesis .import_linter_cache storyloom-demo

# hatchling and editables build the package itself; taking them from the pinned set keeps the build from fetching newer ones.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt hatchling editables
	$(BIN)/pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	touch $(INSTALLED)

# Without an index of CPU builds this fetches gigabytes of CUDA: see PIP_EXTRA_INDEX_URL in the README.
$(OLDEST)/.installed: pyproject.toml constraints.txt
	$(OLDEST_PYTHON) -m venv $(OLDEST)
	grep -v '^torch==' constraints.txt > $(OLDEST)/constraints.txt
	$(OLDEST)/bin/pip install --quiet --constraint $(OLDEST)/constraints.txt torch==$(OLDEST_TORCH) hatchling editables
	$(OLDEST)/bin/pip install --quiet --constraint $(OLDEST)/constraints.txt --no-build-isolation --editable '.[dev]'
	touch $(OLDEST)/.installed
