# `make demo` and `make test` work in a fresh clone with nothing but Python and make.

PYTHON ?= python3
VENV   ?= .venv
WORKERS ?= 2

BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --constraint constraints.txt
# Installed again only when what is to be installed has changed.
NEEDS  := $(VENV)/.created pyproject.toml packages/caloforge-models/pyproject.toml constraints.txt
MODELS := --editable packages/caloforge-models

.DEFAULT_GOAL := help
.PHONY: help demo test lint format docs mutants clean

help:
	@echo 'make demo    a page of a ready model within a minute, then of a generator trained in seconds as well'
	@echo 'make test    lint, import rules, types and tests'
	@echo 'make lint    the same without the tests'
	@echo 'make format  put the source into shape'
	@echo 'make docs    build the documentation into site/'
	@echo 'make mutants change the source in small ways and see which changes no test notices'
	@echo 'make clean   remove $(VENV), caches and built files'
	@echo
	@echo 'PYTHON=python3.12 chooses the interpreter (3.11 to 3.13), WORKERS=4 the test processes.'

demo: $(VENV)/.demo
	@$(BIN)/caloforge demo

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --durations 10

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(VENV)/.docs
	$(BIN)/mkdocs build --strict

mutants: $(VENV)/.dev
	$(PIP) cosmic-ray
	OMP_NUM_THREADS=1 nice $(BIN)/python benchmarks/mutants.py --processes $(WORKERS) -o mutants.json

clean:
	rm -rf $(VENV) build dist site .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests packages -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
	  echo "caloforge needs Python 3.11, 3.12 or 3.13, and '$(PYTHON)' is not one of them." \
	       'Name one: make PYTHON=python3.12 ...' >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.demo: $(NEEDS)
	@echo 'Installing caloforge and torch, about 1.5 GB: some minutes, once.'
	$(PIP) --editable '.[report]' $(MODELS)
	@touch $@

$(VENV)/.dev: $(NEEDS)
	@echo 'Installing caloforge, torch, Geant4 and the tools, about 1.5 GB: some minutes, once.'
	$(PIP) --editable '.[cluster,dev,geant4,hub,points,report,root]' $(MODELS)
	@touch $@

$(VENV)/.docs: $(NEEDS)
	$(PIP) --editable '.[docs]'
	@touch $@
