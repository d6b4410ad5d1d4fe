.DEFAULT_GOAL := help
SHELL := /bin/bash
# Python and uv may be named from outside: make run PYTHON=python3.12
PYTHON ?= python3
UV := $(or $(shell command -v uv),.uv/bin/uv)
BIN := .venv/bin
# Two more than cores, since many tests wait for processes.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 2)
# What the benchmarks are given, such as BENCH_OPTIONS='--servers taskmanager,fastify --works mix'
BENCH_OPTIONS ?=
PEERS := fastify express
CLIENT := clients/typescript
BOARD := clients/board
export CHROMIUM ?= $(or $(shell command -v chromium chromium-browser | head -1),/usr/bin/chromium)
HAS_NODE = { command -v npm && node --eval 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)'; } >/dev/null 2>&1
# Containers; podman and podman-compose may be named instead. Flags for the build: IMAGE_BUILD_FLAGS='--network host'
IMAGE ?= taskmanager
IMAGE_BUILD_FLAGS ?=
DOCKER ?= docker
BUILDKIT = $(shell $(DOCKER) buildx version >/dev/null 2>&1 && echo 1 || echo 0)
COMPOSE ?= $(shell $(DOCKER) compose version >/dev/null 2>&1 && echo $(DOCKER) compose || echo docker-compose)
COMPOSED = IMAGE=$(IMAGE) $(COMPOSE) --env-file .compose.env

.PHONY: help run test check lint types imports contract format migrate migration openapi fuzz ledger stream-ledger memory soak bench bench-reads bench-growth bench-indexes bench-start load client-test typescript-test client-types client-check app app-check generator-test proxy-test pooler-test browser-test image image-test up down clean

help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  \033[36m%-12s\033[0m %s\n", $$1, $$2}'

run: .venv/.synced ## Serve on 127.0.0.1:8000 with a private PostgreSQL (or DATABASE_URL); Ctrl-C stops both
	@exec $(BIN)/taskmanager dev

test: .venv/.synced ## Run all tests on a real PostgreSQL: TEST_DATABASE_URL, else Docker, else the embedded one
	@# Some tests measure time, and a machine that stands still fails them: what fails has to pass alone.
	$(BIN)/pytest -n $(WORKERS) --dist worksteal || $(BIN)/pytest --last-failed --last-failed-no-failures none

check: lint types imports contract test client-check app-check ## Everything that CI runs: lint, types, imports, the API's description, tests, the client and the page where there is Node

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

contract: ## Check docs/openapi.json with Redocly and Spectral, where Node is installed
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory clients/node_modules && npm run --silent --prefix clients lint; \
	else echo "Left out: Redocly and Spectral, which check docs/openapi.json, need Node 20 (npm)"; fi

migrate: .venv/.synced ## Bring the schema at DATABASE_URL up to date
	$(BIN)/taskmanager migrate

migration: .venv/.synced ## Start a new migration: make migration NAME="add labels"
	@test -n "$(NAME)" || { echo 'NAME is missing: make migration NAME="add labels"' >&2; exit 2; }
	$(BIN)/python -c 'import sys; from taskmanager.database.schema_migrations import start_migration; start_migration(sys.argv[1])' "$(NAME)"

openapi: .venv/.synced ## Write docs/openapi.json; refuses what breaks clients unless ALLOW_BREAKING=1
	$(BIN)/python -m tests.support.openapi_compatibility
	@$(HAS_NODE) && $(MAKE) --no-print-directory client-types || echo "$(CLIENT)/src/schema.ts is left as it is: that needs Node 20"

fuzz: .venv/.synced ## Send 50,000 generated requests to the running service (15 to 40 minutes)
	FUZZ_EXAMPLES=480 $(BIN)/pytest -q -n 2 -rP tests/service/test_fuzz.py

ledger: .venv/.synced ## Write 20,000 times while the database is restarted 20 times and 200 backends die
	$(BIN)/pytest -s -q tests/long/test_ledger.py

stream-ledger: .venv/.synced ## Compare what streams heard with the log for STREAM_SECONDS (600), while processes are killed
	$(BIN)/pytest -s -q tests/long/test_stream_ledger.py

memory: .venv/.synced ## Vary everything that callers may vary for five minutes; every worker stays below 150 MB
	$(BIN)/pytest -s -q tests/long/test_memory.py

soak: .venv/.synced ## Run every long test of tests/long, one after the other
	$(BIN)/pytest -s -q tests/long

bench: .venv/.synced-bench $(PEERS:%=benchmarks/peers/%/node_modules) ## Measure the service beside Fastify (about 27 minutes); BENCH_OPTIONS chooses less
	$(BIN)/python -m benchmarks.run $(BENCH_OPTIONS)

bench-reads: .venv/.synced-bench benchmarks/peers/fastify/node_modules ## Measure every read of the API (about 9 minutes); BENCH_OPTIONS='--kind writes' every write
	$(BIN)/python -m benchmarks.reads $(BENCH_OPTIONS)

bench-growth: .venv/.synced-bench ## Measure how costs grow with data, projects, connections and time (about 16 minutes)
	$(BIN)/python -m benchmarks.growth $(BENCH_OPTIONS)

bench-indexes: .venv/.synced-bench ## Measure what each index costs those who write (about 6 minutes)
	$(BIN)/python -m benchmarks.indexes $(BENCH_OPTIONS)

bench-start: .venv/.synced-bench ## Measure how long the service takes to start, and its memory (about 3 minutes)
	$(BIN)/python -m benchmarks.start $(BENCH_OPTIONS)

load: .venv/.synced-bench ## Let LOAD_USERS people work for LOAD_SECONDS, here or on LOAD_HOST; fails on any error
	$(BIN)/python -m benchmarks.load

client-test: typescript-test generator-test ## Try the TypeScript client, and those that four generators make

typescript-test: .venv/.synced $(CLIENT)/node_modules/.package-lock.json ## Check the TypeScript client and try it with the service, in Node and Chromium
	npm run --silent --prefix $(CLIENT) types
	npm run --silent --prefix $(CLIENT) drift || { echo "make client-types writes the types that docs/openapi.json asks for" >&2; exit 1; }
	npm run --silent --prefix $(CLIENT) test
	@test -x "$(CHROMIUM)" || echo "Left out: the tests of the client in a browser, which need Chromium (CHROMIUM=/path/to/it)"

client-types: $(CLIENT)/node_modules/.package-lock.json ## Write the types of the TypeScript client from docs/openapi.json
	npm run --silent --prefix $(CLIENT) generate

client-check:
	@if $(HAS_NODE); then $(MAKE) --no-print-directory typescript-test; \
		else echo "Left out: the tests of the TypeScript client, which need Node 20 and npm"; fi

app: $(BOARD)/node_modules/.package-lock.json ## Build the page at /app from clients/board
	npm run --silent --prefix $(BOARD) types
	npm run --silent --prefix $(BOARD) build

app-check:
	@if $(HAS_NODE); then $(MAKE) --no-print-directory $(BOARD)/node_modules/.package-lock.json \
		&& npm run --silent --prefix $(BOARD) types && npm run --silent --prefix $(BOARD) check; \
		else echo "Left out: whether the page at /app is built from its sources, which needs Node 20 and npm"; fi

$(CLIENT)/node_modules/.package-lock.json $(BOARD)/node_modules/.package-lock.json: %/node_modules/.package-lock.json: %/package.json %/package-lock.json
	npm ci --silent --ignore-scripts --no-audit --no-fund --prefix $*
	@touch $@

proxy-test: .venv/.synced ## Try out docs/examples/nginx.conf with nginx, and clients that offer other protocols
	$(BIN)/pytest -q tests/proxy

pooler-test: .venv/.synced ## Run all that needs a database through the PgBouncer of this machine, in transaction mode
	TEST_POOLER=transaction $(BIN)/pytest -n $(WORKERS) --dist worksteal -r s
	TEST_POOLER=session $(BIN)/pytest -n $(WORKERS) --dist worksteal tests/accounts tests/projects tests/tasks/test_tasks.py
	TEST_POOLER=transaction $(BIN)/pytest -s -q tests/long/test_ledger.py

generator-test: .venv/.synced clients/generators/node_modules ## Generate clients by four generators, check their types, and run each on the service
	UV=$(UV) $(BIN)/pytest -q tests/generators

browser-test: .venv/.synced $(BOARD)/node_modules/.package-lock.json ## Use /app and /docs with the Chromium of this machine; screenshots go to .screenshots
	$(UV) run --frozen --all-extras --group browser --python $(shell command -v $(PYTHON)) pytest -q tests/browser

image: ## Build the container image
	DOCKER_BUILDKIT=$(BUILDKIT) $(DOCKER) build --file Containerfile --tag $(IMAGE) $(IMAGE_BUILD_FLAGS) .

image-test: .venv/.synced image ## Build the image and try it out with its database, on a port of its own
	IMAGE=$(IMAGE) DOCKER="$(DOCKER)" COMPOSE="$(COMPOSE)" $(BIN)/pytest -s -q --confcutdir=tests/image tests/image

up: image .compose.env ## Start the image with a PostgreSQL of its own on 127.0.0.1:8000, by compose
	@$(COMPOSED) up --detach --no-build
	@address=$$($(COMPOSED) port api 8000) && for _ in {1..60}; do \
		$(PYTHON) -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1])' "http://$$address/readyz" 2>/dev/null \
			&& echo "Task Manager   http://$$address/app and /docs" && exit; sleep 0.5; \
	done; $(COMPOSED) logs --tail 20 migrate api; exit 1

down: .compose.env ## Stop what `up` started; its data stays
	@$(COMPOSED) down

clean: ## Remove what the other targets made, the development database included
	rm -rf $(CLIENT)/node_modules $(CLIENT)/dist $(BOARD)/node_modules .venv .uv .taskmanager .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# uv comes from the Python package index when it is not installed.
.uv/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	@echo "Getting uv"
	@$(PYTHON) -m venv .uv 2>/dev/null && .uv/bin/python -m pip install --quiet --quiet --disable-pip-version-check uv \
		|| { rm -rf .uv && $(PYTHON) -m pip install --quiet --quiet --disable-pip-version-check --target .uv uv; }

.venv/.synced: pyproject.toml uv.lock | $(filter .uv/bin/uv,$(UV))
	@$(UV) sync --frozen --all-extras --quiet --python $(shell command -v $(PYTHON))
	@touch $@

.venv/.synced-bench: .venv/.synced
	@$(UV) sync --frozen --all-extras --group bench --quiet --python $(shell command -v $(PYTHON))
	@touch $@

clients/node_modules clients/generators/node_modules: %/node_modules: %/package-lock.json
	@npm ci --silent --prefix $(@D)
	@touch $@

benchmarks/peers/%/node_modules: benchmarks/peers/%/package-lock.json
	@npm ci --silent --prefix $(@D)
	@touch $@

# Made once: the database keeps this password, and a new secret would end every login.
.compose.env:
	@umask 077 && $(PYTHON) -c 'import secrets; \
		print("SECRET_KEY=" + secrets.token_hex(32), "POSTGRES_PASSWORD=" + secrets.token_hex(24), sep="\n")' >$@ || { rm -f $@; exit 1; }
	@echo "Wrote new secrets to $@"
