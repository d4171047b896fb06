# Everything lives in .venv; `make help` lists what there is to do.
PYTHON ?= python3
# Where this is the environment's own, it would go with it.
BASE    = $(shell $(PYTHON) -c 'import sys; print(sys._base_executable)')
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.made-from-lock
DEV    := $(VENV)/.dev-from-lock
UV     := $(shell command -v uv 2>/dev/null)
ifneq ($(UV),)
INSTALL = $(UV) pip install --quiet --compile-bytecode --python $(BIN)/python
else
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check
endif
COMPILE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-annotate --no-header --no-emit-index-url --no-emit-find-links

.DEFAULT_GOAL := help
.PHONY: help demo test coverage oracle-standin spark lab docs bench lint audit axe lock clean

help:            ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 24

# The virtual environment is made once, and made anew when a lock changes.
$(STAMP): requirements-demo.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "workbench needs Python 3.11 or newer; say which: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	rm -rf $(VENV)
ifneq ($(UV),)
	$(UV) venv --quiet --seed --python $(BASE) $(VENV)
else
	$(BASE) -m venv $(VENV)
endif
	$(INSTALL) --require-hashes -r $<
	$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

# What only developing needs comes when it is first needed.
$(DEV): requirements-dev.lock $(STAMP)
	$(INSTALL) --require-hashes -r $<
	@touch $@

demo: $(STAMP)   ## one Run Colors report on the demo source
	$(BIN)/workbench run run_colors

test: $(DEV)     ## the whole test suite, notebooks included
	$(BIN)/pytest

coverage: $(DEV) ## the same, and which lines of the package it ran
	$(BIN)/pytest --cov --cov-report=term-missing:skip-covered

oracle-standin:  ## build what the tests marked oracle need (root, once)
	deploy/oracle/standin

spark: $(VENV)/.spark-from-lock  ## add the engine spark: PySpark, which needs Java 17
$(VENV)/.spark-from-lock: requirements-spark.lock $(STAMP)
	$(INSTALL) --require-hashes -r $<
	@touch $@

lab: $(STAMP)    ## JupyterLab with the project's notebooks
	$(BIN)/workbench lab

docs: $(DEV)     ## the documentation as a site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(DEV)    ## measure on this machine, into docs/benchmarks.md
	$(BIN)/python -m benchmarks

lint: $(DEV)     ## ruff, mypy, and what checks deploy/ and the workflows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python deploy/check.py

audit:           ## known vulnerabilities of what production runs (asks PyPI)
	$(PYTHON) -m venv build/audit
	build/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	build/audit/bin/pip-audit --strict --require-hashes --disable-pip -r requirements.lock

axe: tests/browser/node_modules  ## add axe-core, by which the tests judge accessibility (needs npm)
tests/browser/node_modules: tests/browser/package-lock.json
	cd tests/browser && npm ci --silent
	@touch $@

lock:            ## resolve pyproject.toml into the lock files (needs uv)
	$(COMPILE) --upgrade --extra dev pyproject.toml --output-file requirements-dev.lock
	$(COMPILE) --constraint requirements-dev.lock --extra checkout pyproject.toml --output-file requirements-demo.lock
	$(COMPILE) --constraint requirements-dev.lock pyproject.toml --output-file requirements.lock
	@$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["spark"])' \
	  | $(COMPILE) --upgrade - --output-file requirements-spark.lock

clean:           ## remove the environment and caches; reports stay
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
