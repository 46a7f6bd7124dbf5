# Every target sets up what it needs; nothing but Python 3.11+ and make is required.
.DEFAULT_GOAL := help
.PHONY: help run test long coverage demo replay faults hosts bench spec fuzz mutants lint format audit openapi pictures requirements clients clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL = $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r
PARALLEL = --numprocesses 3 --dist loadgroup
FUZZED = tests/unit tests/integration/test_fuzzed_records.py tests/e2e/test_hostile_clients.py

help: ## what there is to make
	@sed -En 's/^([a-z]+):.*## (.*)/make \1\t\2/p' Makefile | expand -t 20

run: $(VENV)/installed ## serve the API and the dispatcher on http://127.0.0.1:8000
	$(BIN)/flask --app wsgi db upgrade
	exec $(BIN)/gunicorn wsgi:app

demo: $(VENV)/installed-dev ## the whole path, from a report to the message in a local stand-in for Discord
	$(BIN)/python -m tools.demo

replay: $(VENV)/installed-dev ## a day of a shop's traffic, and its messages without and with a policy
	$(BIN)/python -m tools.replay

test: $(VENV)/installed-dev ## the tests, on SQLite and on a PostgreSQL that they bring along
	$(BIN)/pytest $(PARALLEL)

long: $(VENV)/installed-dev ## tests that take long: the console in a browser, kills, hostile clients, a backup under load
	$(BIN)/pytest --numprocesses 2 --dist loadgroup -m long

coverage: export PYTEST_ADDOPTS += --cov --cov-report=term:skip-covered
coverage: test ## the tests again, and the share of lines that ran

lint: $(VENV)/installed-dev ## style, types, who may import whom, and whether documents match the code
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/djlint --quiet --lint --profile jinja app/console/templates
	$(BIN)/bandit --quiet --recursive app deploy gunicorn.conf.py migrations wsgi.py
	$(BIN)/pytest $(PARALLEL) tests/consistency

format: $(VENV)/installed-dev ## rewrite the code in the style that lint checks
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

audit: $(VENV)/installed-dev ## known vulnerabilities of what is installed
	$(BIN)/python -m tools.audit

spec: $(VENV)/installed-dev ## the OpenAPI document against the live service, Redocly's rules and a generated client
	$(BIN)/pytest $(PARALLEL) -m spec

fuzz: $(VENV)/installed-dev ## twenty times as many examples of each property, and 10,000 hostile connections
	FUZZ_FACTOR=20 $(BIN)/pytest $(PARALLEL) -m "fuzz or not (slow or long)" $(FUZZED)

faults: $(VENV)/installed-dev ## kill and cut off the real processes, and count what arrives; ten minutes
	$(MAKE) --jobs 2 --output-sync=line faults-sqlite faults-postgresql

faults-%: $(VENV)/installed-dev
	$(BIN)/python -m tools.faults --database $*

hosts: $(VENV)/installed-dev ## partition, kill and upgrade hosts of one service, and fail PostgreSQL over; eight minutes, as root
	$(BIN)/python -m tools.hosts

clients: clients-python clients-node ## style, types and tests of the reporters; style of the console's scripts

.PHONY: clients-python clients-node
clients-python: clients/python/.venv/installed
	cd clients/python && .venv/bin/ruff check && .venv/bin/ruff format --check && .venv/bin/mypy && .venv/bin/pytest

clients/python/.venv/installed: clients/python/requirements-dev.txt
	$(PYTHON) -m venv clients/python/.venv
	clients/python/.venv/bin/pip install --quiet --disable-pip-version-check -r clients/python/requirements-dev.txt
	touch $@

clients-node:
	@if command -v node >/dev/null; then cd clients/node && npm ci --no-audit --no-fund && npm run lint && npm test && \
		cd ../.. && clients/node/node_modules/.bin/biome check --config-path=biome.json app/console/static; \
	else echo "NOT TESTED: the reporter for Node.js, and the style of the console's scripts: Node.js is not installed."; fi

# All of it takes hours: MUTANTS="--module app/digests.py" takes one module.
MUTANTS ?= --sample 10
mutants: $(VENV)/installed-dev ## break the code in small ways, and see whether a test fails
	$(BIN)/python -m tools.mutants $(MUTANTS)

bench: $(VENV)/installed-dev ## measure speed, and write docs/performance.md
	$(BIN)/python -m tools.bench --write

openapi: $(VENV)/installed-dev ## write openapi.json from the code
	$(BIN)/flask --app wsgi openapi write openapi.json

pictures: $(VENV)/installed-dev ## take the pictures of docs/pictures/ with a headless Chromium
	$(BIN)/python -m tools.pictures

# UPGRADE=--upgrade takes the newest versions of what the direct requirements need in turn, too.
COMPILE = $(BIN)/uv --quiet --no-config pip compile --universal --python-version 3.11 --generate-hashes --no-strip-extras \
	--no-emit-index-url --no-emit-find-links --annotation-style line --custom-compile-command "make requirements" $(UPGRADE)
requirements: $(VENV)/installed-dev ## compile requirements*.txt from requirements*.in
	$(COMPILE) requirements.in --output-file requirements.txt
	$(COMPILE) requirements-dev.in --constraints requirements.txt --output-file requirements-dev.txt

clean: ## remove what all of these left
	rm -rf $(VENV) .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

$(VENV)/installed: requirements.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed.")'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) requirements.txt
	touch $@

$(VENV)/installed-dev: requirements-dev.txt $(VENV)/installed
	$(INSTALL) requirements-dev.txt
	touch $@
