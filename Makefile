# make demo   the main job: a sweep over spectral radius, length and truncation, its tables and figures
# make test   the tests
# make verify everything that is known of gradients through time, and every experiment, against this installation
# make mutants  plants seeded faults in copies of the package and counts those that verify finds; with EXPERIMENTS=1 wrong
#             engines of the experiments, and whether a claim refutes each; some with ONLY='gates/*' (mutants/README.md)
# make conf   writes the files of conf/ that the classes state; make docs the pages docs/configuration.md and docs/tables.md
# make bench  gradients, products and sweeps, timed beside PyTorch and JAX; with QUICK=1 only whether all agree
#
# All set up what they need in .venv (Python 3.11 to 3.13 with pip and venv); nothing is installed elsewhere.

PYTHON ?= python3
VENV ?= .venv
STUDY ?= demo
RESULTS ?= results
SWEEP ?=
QUICK ?=
ONLY ?=
EXPERIMENTS ?=
BIN := $(VENV)/bin
WHERE := study=$(STUDY) results=$(RESULTS)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test bench verify mutants reference conf docs lint format build clean help

help:
	@sed -n 's/^# //p' Makefile

demo: $(VENV)/base.stamp
	$(BIN)/bpttlab sweep $(WHERE) experiment=vanishing_exploding $(SWEEP)
	@echo "one run more, with every pair of steps, for the figure of the (t, k) triangle:"
	$(BIN)/bpttlab sweep $(WHERE) measure=triangle task=digits_rows spectral_radius=1.1 scales.V=0.3
	@echo
	@$(BIN)/bpttlab tables $(WHERE) table=headline
	@$(BIN)/bpttlab figures $(WHERE)
	@$(BIN)/bpttlab claims $(WHERE) experiment=vanishing_exploding --brief; code=$$?; \
	echo "next: $(BIN)/bpttlab tables $(WHERE)"; \
	echo "      $(BIN)/bpttlab sweep study=first spectral_radius=0.5,1.0,1.5,2.5 task=adding 'seed=range(0,8)'"; \
	exit $$code

test: $(VENV)/test.stamp
	$(BIN)/python -m pytest -q -n 2

bench: $(VENV)/bench.stamp
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick)

# all that is known, every experiment against its claims; with QUICK=1 smaller, and no experiments. Then the slow tests
verify: $(VENV)/test.stamp $(VENV)/dev.stamp
	$(BIN)/bpttlab verify $(if $(QUICK),--quick) results=$(RESULTS)
	$(BIN)/python -m pytest -q -n 2 -m slow

# seeded faults, which verify has to find: exit code 1 if fewer than 58 of 60 are. With EXPERIMENTS=1 wrong engines of the
# experiments, which a claim has to refute: exit code 1 if one is not
mutants: $(VENV)/test.stamp
	$(BIN)/python -m mutants $(if $(EXPERIMENTS),--experiments) $(if $(ONLY),--only '$(ONLY)')

# what the READMEs of the experiments show: their claims and figures, in results/reference/experiments
reference: $(VENV)/base.stamp
	$(BIN)/python experiments/reference.py

# a field is stated at its class: run both after a change of one
conf: $(VENV)/base.stamp
	$(BIN)/python -m bpttlab.sweeps.conf_files

docs: $(VENV)/base.stamp
	$(BIN)/python -m bpttlab.sweeps.pages

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

$(VENV)/bench.stamp: $(VENV)/base.stamp
	$(PIP) --editable '.[bench]'
	touch $@

$(VENV)/dev.stamp: $(VENV)/base.stamp
	$(PIP) --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
