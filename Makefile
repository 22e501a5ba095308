# make demo     installs, then runs the main sweep: spectral radius x length x truncation, with tables and figures
# make test     installs, then runs the tests
# make verify   checks known results, every experiment and the slow tests, with more random examples;
#               QUICK=1: smaller, without experiments
# make mutants  plants faults in copies of the package and counts those that verify finds; EXPERIMENTS=1: wrong engines of
#               the experiments; ONLY='gates/*': some of them (mutants/README.md)
# make faults   injects faults into sweeps and stored studies and checks that nothing is lost; QUICK=1: few of each;
#               ONLY=kills: one kind; needs Linux, some faults strace (faults/README.md)
# make bench    times gradients, products and sweeps beside PyTorch and JAX; QUICK=1: only checks that all agree;
#               ONLY='gradient sweeps': a part; ROUNDS=3: fewer rounds (benchmarks/README.md)
# make conf     writes the files of conf/ from the classes; make docs: docs/configuration.md and docs/tables.md
#
# All commands install what they need into .venv (Python 3.11 to 3.13 with pip and venv), and nothing elsewhere.

PYTHON ?= python3
VENV ?= .venv
STUDY ?= demo
RESULTS ?= results
SWEEP ?=
QUICK ?=
ONLY ?=
ROUNDS ?=
EXPERIMENTS ?=
BIN := $(VENV)/bin
WHERE := study=$(STUDY) results=$(RESULTS)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test bench verify mutants faults reference conf docs lint format build clean help

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
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -q -n 2 --dist loadgroup

bench: $(VENV)/bench.stamp
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(ONLY),--only $(ONLY))

verify: $(VENV)/test.stamp $(VENV)/dev.stamp
	$(BIN)/bpttlab verify $(if $(QUICK),--quick) results=$(RESULTS)
	$(BIN)/python -m pytest -q -n 2 --dist loadgroup -m 'slow or hypothesis' --hypothesis-profile=thorough

# mutants: the exit code is 1 if verify finds fewer than 58 of every 60, or with EXPERIMENTS=1 if no claim finds one
mutants: $(VENV)/test.stamp
	$(BIN)/python -m mutants $(if $(EXPERIMENTS),--experiments) $(if $(ONLY),--only '$(ONLY)')

faults: $(VENV)/test.stamp
	$(BIN)/python -m faults $(ONLY) $(if $(QUICK),--quick)

# make reference  writes the claims and figures that the READMEs of the experiments show
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

## one installation for the tests, and bytecode of what they import alone: half a minute less before the first test
test: EXTRA = [test]
test: BYTECODE = --no-compile

$(VENV)/base.stamp: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(BYTECODE) --editable '.$(EXTRA)'
	echo '$(EXTRA)' > $@

$(VENV)/test.stamp: $(VENV)/base.stamp
	grep -q test $< || $(PIP) --editable '.[test]'
	touch $@

$(VENV)/bench.stamp: $(VENV)/base.stamp
	$(PIP) --editable '.[bench]'
	touch $@

$(VENV)/dev.stamp: $(VENV)/base.stamp
	$(PIP) --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
