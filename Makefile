# make demo   the main job: a sweep over spectral radius, length and truncation, its tables and figures
# make test   the tests
#
# Both set up what they need in .venv (Python 3.11 to 3.13 with pip and venv); nothing is installed elsewhere.

PYTHON ?= python3
VENV ?= .venv
STUDY ?= demo
SWEEP ?=
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test verify lint format build clean help

help:
	@sed -n 's/^# //p' Makefile

demo: $(VENV)/base.stamp
	$(BIN)/bpttlab sweep study=$(STUDY) experiment=vanishing_exploding $(SWEEP)
	$(BIN)/bpttlab tables study=$(STUDY)
	$(BIN)/bpttlab figures study=$(STUDY)
	$(BIN)/bpttlab claims study=$(STUDY) experiment=vanishing_exploding
	@echo
	@echo "Tables and figures are in results/$(STUDY). A sweep of your own:"
	@echo "  $(BIN)/bpttlab sweep study=first spectral_radius=0.5,1.0,1.5 task=adding 'seed=range(0,8)'"

test: $(VENV)/test.stamp
	$(BIN)/python -m pytest -q -n 2

# the slow scientific checks and the wheel
verify: $(VENV)/test.stamp
	$(BIN)/bpttlab verify gradients
	$(BIN)/python -m pytest -q -m slow

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/base.stamp: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	touch $@

$(VENV)/test.stamp: $(VENV)/base.stamp
	$(PIP) --editable '.[test]'
	touch $@

$(VENV)/dev.stamp: $(VENV)/base.stamp
	$(PIP) --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
