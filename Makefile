# `make demo` and `make test` set up everything themselves. `make help` lists the rest.

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet

# The public NHS samples are not part of this repository. Tests over them skip, saying so, where the folder is missing.
ITK3_EXAMPLES ?= $(shell cd ../shared/examples 2>/dev/null && pwd)
ifneq ($(ITK3_EXAMPLES),)
export ITK3_EXAMPLES
endif

# Another project's settings must not leak into ours; and each of the many processes of the tests would compile the daemon anew.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV PYTHONDONTWRITEBYTECODE
export PIP_USER := 0

.DEFAULT_GOAL := help
OUT ?= conformance-report
.PHONY: help demo test check conformance prove format lint types architecture bench lock setup clean mutants coverage mutation

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(INSTALLED) ## The MESH sandbox, a hospital and the daemon on this machine; KEEP=1 leaves them running
	@$(BIN)/mesh-itk3 demo $(if $(KEEP),--keep)

test: $(INSTALLED) ## All tests, every core busy; ARGS='tests/stages -k poll' runs some of them, on one
	@$(BIN)/python -m pytest $(or $(ARGS),--numprocesses auto --dist loadscope --no-loadscope-reorder)

check: lint types architecture test ## What CI runs: format, lint, types, architecture, tests

format: $(INSTALLED) ## Rewrite the source in the house format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix --quiet . || true

lint: $(INSTALLED) ## Format and lint rules, changing nothing
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: $(INSTALLED) ## mypy, strict
	@$(BIN)/mypy

architecture: $(INSTALLED) ## Who may import whom, file and function sizes
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m pytest -q tests/test_architecture.py

conformance: $(INSTALLED) ## An evidence report of about 300 cases in OUT, with the samples where they are
	@$(BIN)/mesh-itk3 conformance --out '$(OUT)' $(if $(ITK3_EXAMPLES),--samples '$(ITK3_EXAMPLES)')

prove: $(INSTALLED) ## Kills the daemon at random points, a hundred times; ARGS='--trials 10000' for more
	@$(BIN)/mesh-itk3 prove $(ARGS)

mutants: $(INSTALLED) ## Plants known faults one at a time and shows which test goes red
	@PYTHONPATH=tests $(BIN)/python -m mutants $(ARGS)

# The tests of these parts, none of any other: whoever works on a stage or the ledger finds what a change left untested.
COVERED := */mesh_itk3/lifecycle.py,*/mesh_itk3/retry.py,*/mesh_itk3/deadlines.py,*/mesh_itk3/stages/*,*/mesh_itk3/adapters/ledger/*
COVERING := tests/stages tests/adapters/test_ledger*.py tests/adapters/test_migrations.py tests/adapters/test_collector_lock.py \
    tests/test_lifecycle.py tests/test_retry.py tests/test_deadlines.py tests/disk/test_full_disk.py \
    tests/disk/test_ledger_on_a_failing_disk.py

coverage: $(INSTALLED) ## Branch coverage of lifecycle, stages and ledger, which has to be whole (needs PostgreSQL; some minutes)
	@rm -f .coverage .coverage.*
	@$(BIN)/python -m coverage run -m pytest -q --numprocesses auto --dist loadscope $(COVERING) $(ARGS)
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python -m coverage report --show-missing --skip-covered --fail-under 100 --include '$(COVERED)'

mutation: $(INSTALLED) ## How many small changes to the pure rules the tests notice (half an hour at most: BUDGET_S=1800)
	@$(BIN)/python tests/mutation/__main__.py

bench: $(INSTALLED) ## Throughput, memory and parsing cost; prints figures, asserts nothing
	@$(BIN)/python -m tests.bench $(ARGS)

lock: $(INSTALLED) ## Renew requirements.lock from pyproject.toml
	@$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
	    --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' --quiet --output-file requirements.lock

setup: $(INSTALLED) ## The virtual environment only

.PHONY: conformance-table
conformance-table: $(INSTALLED) ## Renew docs/conformance.md from tests/requirements/requirements.toml
	@PYTHONPATH=tests $(BIN)/python -m requirements.table

# Re-made when what is to be installed changes. An environment whose interpreter has gone is made anew.
$(INSTALLED): requirements.lock pyproject.toml
	@$(BIN)/python -c '' 2>/dev/null || { \
	    python=$$(sh .ci/find-python) || exit 1; \
	    echo "mesh-itk3: making $(VENV) with $$python"; \
	    rm -rf $(VENV) && "$$python" -m venv $(VENV); }
	@echo 'mesh-itk3: installing the locked packages (a minute or two, once)'
	@$(PIP) install --require-hashes -r requirements.lock
	@echo 'mesh-itk3: installing mesh-itk3 itself'
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

clean: ## Remove the virtual environment, caches and what the demo left
	rm -rf $(VENV) build dist demo-run conformance-report prove-failures .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.*
	find daemon handlers tests -name __pycache__ -type d -prune -exec rm -rf {} +
