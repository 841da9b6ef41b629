# make install   .venv with everything, from the lock
# make demo      the whole job on simulated logs, in a few minutes
# make check     lint, types, import contracts
# make test      check, then the tests (make test-all: the slow ones too)
# make bench     speed and size, as ratios to others in the same run
# make snapshots  the screens that are kept as text, written anew

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: install demo check test test-all bench snapshots lock clean

install: $(INSTALLED)

$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: install
	@$(BIN)/logbert-engine demo

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check
	$(BIN)/python -m pytest -m "not slow"

test-all: check
	$(BIN)/python -m pytest

bench: install
	$(BIN)/python -m tests.bench

snapshots: install
	RENEW_SNAPSHOTS=1 $(BIN)/python -m pytest -q tests/tui -k snapshot

# Resolve the newest versions that pyproject.toml allows, torch as pinned, in an environment of its own.
lock:
	$(PYTHON) -m venv .lock-venv
	.lock-venv/bin/python -m pip install --quiet torch==2.13.0
	.lock-venv/bin/python -m pip install --quiet --editable '.[dev]'
	.lock-venv/bin/python -m pip freeze --exclude-editable --exclude logbert-tui | sed 's/^torch==2.13.0.*/torch==2.13.0/' > requirements.lock
	rm -rf .lock-venv

clean:
	rm -rf $(VENV) .lock-venv dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
