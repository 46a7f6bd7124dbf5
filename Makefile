# The service and its checks. Every target sets up what it needs; nothing but Python 3.11+ and make is required.
.PHONY: run test demo faults bench spec fuzz mutants lint audit openapi requirements clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL = $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r
FUZZED = tests/unit tests/integration/test_fuzzed_records.py tests/e2e/test_hostile_clients.py

run: $(VENV)/installed
	$(BIN)/flask --app wsgi db upgrade
	exec $(BIN)/gunicorn wsgi:app

# On two processors, and with the share of lines that ran.
PARALLEL = --numprocesses 2 --dist loadgroup
test: $(VENV)/installed-dev
	$(BIN)/pytest $(PARALLEL) --cov --cov-report=term:skip-covered

demo: $(VENV)/installed-dev
	$(BIN)/python -m tools.demo

faults: $(VENV)/installed-dev
	$(MAKE) --jobs 2 --output-sync=line faults-sqlite faults-postgresql

faults-%: $(VENV)/installed-dev
	$(BIN)/python -m tools.faults --database $*

bench: $(VENV)/installed-dev
	$(BIN)/python -m tools.bench --write

# The OpenAPI document against the live service, Redocly's rules and a generated client.
spec: $(VENV)/installed-dev
	$(BIN)/pytest $(PARALLEL) -m spec

# Twenty times as many examples of each property, and 10,000 hostile connections.
fuzz: $(VENV)/installed-dev
	FUZZ_FACTOR=20 $(BIN)/pytest $(PARALLEL) -m "fuzz or not slow" $(FUZZED)

# Breaks the code in small ways and sees whether a test fails. All of it takes hours: MUTANTS="--module app/digests.py".
MUTANTS ?= --sample 10
mutants: $(VENV)/installed-dev
	$(BIN)/python -m tools.mutants $(MUTANTS)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --recursive app deploy gunicorn.conf.py migrations wsgi.py
	$(BIN)/pytest $(PARALLEL) tests/consistency

audit: $(VENV)/installed-dev
	$(BIN)/python -m tools.audit

openapi: $(VENV)/installed-dev
	$(BIN)/flask --app wsgi openapi write openapi.json

# Direct requirements stand in the .in files. UPGRADE=--upgrade takes the newest of what these need in turn, too.
COMPILE = $(BIN)/uv --quiet --no-config pip compile --universal --python-version 3.11 --generate-hashes --strip-extras \
	--no-emit-index-url --no-emit-find-links --annotation-style line --custom-compile-command "make requirements" $(UPGRADE)
requirements: $(VENV)/installed-dev
	$(COMPILE) requirements.in --output-file requirements.txt
	$(COMPILE) requirements-dev.in --constraints requirements.txt --output-file requirements-dev.txt

clean:
	rm -rf $(VENV) .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

$(VENV)/installed: requirements.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed.")'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) requirements.txt
	touch $@

$(VENV)/installed-dev: requirements-dev.txt $(VENV)/installed
	$(INSTALL) requirements-dev.txt
	touch $@
