# One command for each daily task. Each makes what it needs: .venv, and for the
# tests the JavaScript clients.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLIENTS := tests/clients
PEER := benchmarks/peer
ARGS ?=

.PHONY: run test lint format bench crash clean
.DEFAULT_GOAL := run

run: $(VENV)/run  ## Start the hub on port 9000 over ./events (ARGS='--port 9001 …')
	$(BIN)/hub serve $(ARGS)

test: $(VENV)/dev $(CLIENTS)/node_modules/made  ## Pass all tests
	$(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(VENV)/dev  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/dev $(PEER)/node_modules/made  ## Measure, and print a table
	$(BIN)/python -m benchmarks $(ARGS)

crash: $(VENV)/dev  ## Kill the hub again and again (ARGS=--long: 500 times), and look
	$(BIN)/python -m evidence kill $(ARGS)

# Debian ships venv as a package of its own.
$(BIN)/python:
	@echo "Setting up $(VENV), once; this takes a while"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  [ "$$(id -u)" = 0 ] && apt-get update -q && apt-get install -qy python3-venv \
	  && $(PYTHON) -m venv $(VENV); } || { rm -rf $(VENV); \
	  echo "No virtual environment could be made: install Debian's python3-venv" >&2; exit 1; }

$(VENV)/run: $(BIN)/python pyproject.toml
	$(BIN)/pip install -q -e .
	touch $@

$(VENV)/dev: $(BIN)/python pyproject.toml
	$(BIN)/pip install -q -e '.[dev]'
	touch $@ $(VENV)/run

# What nobody here wrote: clients for the tests, a peer for the benchmarks. Without
# npm those tests are skipped, and that comparison.
%/node_modules/made: %/package.json %/package-lock.json
	@if command -v npm > /dev/null; \
	then cd $* && npm ci --loglevel=error --no-audit --no-fund && touch node_modules/made; \
	else echo "There is no npm here: what needs $* is left out" >&2; fi

clean:
	rm -rf $(CLIENTS)/node_modules $(PEER)/node_modules $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis dist build *.egg-info
