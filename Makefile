.DEFAULT_GOAL := help
SHELL := /bin/bash
# Python and uv may be named from outside: make run PYTHON=python3.12
PYTHON ?= python3
UV := $(or $(shell command -v uv),.uv/bin/uv)
BIN := .venv/bin
WORKERS ?= auto

.PHONY: help run test check lint types imports format migrate migration clean

help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  \033[36m%-12s\033[0m %s\n", $$1, $$2}'

run: .venv/.synced ## Serve on 127.0.0.1:8000 with a private PostgreSQL (or DATABASE_URL); Ctrl-C stops both
	@exec $(BIN)/taskmanager dev

test: .venv/.synced ## Run all tests on a real PostgreSQL: TEST_DATABASE_URL, else Docker, else the embedded one
	$(BIN)/pytest -n $(WORKERS)

check: lint types imports test ## Everything that CI runs: lint, types, imports, tests

lint: .venv/.synced ## Check style and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: .venv/.synced ## Check types
	$(BIN)/mypy

imports: .venv/.synced ## Check who imports whom
	$(BIN)/lint-imports

format: .venv/.synced ## Format the code
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format

migrate: .venv/.synced ## Bring the schema at DATABASE_URL up to date
	$(BIN)/taskmanager migrate

migration: .venv/.synced ## Start a new migration: make migration NAME="add labels"
	@test -n "$(NAME)" || { echo 'NAME is missing: make migration NAME="add labels"' >&2; exit 2; }
	$(BIN)/python -c 'import sys; from alembic import command; from taskmanager.database import alembic_config; command.revision(alembic_config(), message=sys.argv[1])' "$(NAME)"

clean: ## Remove what the other targets made, the development database included
	rm -rf .venv .uv .taskmanager .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# uv comes from the Python package index when it is not installed.
.uv/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	@echo "Getting uv"
	@$(PYTHON) -m venv .uv 2>/dev/null && .uv/bin/python -m pip install --quiet --quiet --disable-pip-version-check uv \
		|| { rm -rf .uv && $(PYTHON) -m pip install --quiet --quiet --disable-pip-version-check --target .uv uv; }

.venv/.synced: pyproject.toml uv.lock | $(filter .uv/bin/uv,$(UV))
	@$(UV) sync --frozen --all-extras --quiet --python $(shell command -v $(PYTHON))
	@touch $@
