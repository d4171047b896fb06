# Everything lives in .venv; `make help` lists what there is to do.
PYTHON ?= python3
# Where this is the environment's own, it would go with it.
BASE    = $(shell $(PYTHON) -c 'import sys; print(sys._base_executable)')
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.made-from-lock
UV     := $(shell command -v uv 2>/dev/null)
COMPILE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-annotate --no-header --no-emit-index-url --no-emit-find-links

.DEFAULT_GOAL := help
.PHONY: help demo test oracle-standin spark lab bench lint lock clean

help:            ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 24

# The virtual environment is made once, and made anew when the lock changes.
$(STAMP): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "workbench needs Python 3.11 or newer; say which: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	rm -rf $(VENV)
ifneq ($(UV),)
	$(UV) venv --quiet --seed --python $(BASE) $(VENV)
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
else
	$(BASE) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
endif
	@touch $@

demo: $(STAMP)   ## one Run Colors report on the demo source
	$(BIN)/workbench run run_colors

test: $(STAMP)   ## the whole test suite, notebooks included
	$(BIN)/pytest

oracle-standin:  ## build what the tests marked oracle need (root, once)
	deploy/oracle/standin

spark: $(VENV)/.spark-from-lock  ## add the engine spark: PySpark, which needs Java 17
$(VENV)/.spark-from-lock: requirements-spark.lock $(STAMP)
ifneq ($(UV),)
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements-spark.lock
else
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-spark.lock
endif
	@touch $@

lab: $(STAMP)    ## JupyterLab with the project's notebooks
	$(BIN)/jupyter lab --ip 127.0.0.1 notebooks

bench: $(STAMP)  ## measure on this machine
	$(BIN)/python -m benchmarks

lint: $(STAMP)   ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lock:            ## resolve pyproject.toml into the lock files (needs uv)
	$(COMPILE) --extra dev --upgrade pyproject.toml --output-file requirements.lock
	@$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["spark"])' \
	  | $(COMPILE) --upgrade - --output-file requirements-spark.lock

clean:           ## remove the environment and caches; reports stay
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
