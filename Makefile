# Two commands do everything: `make run` and `make test`. Each installs what it needs into .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
SUDO := $(shell [ "$$(id -u)" = 0 ] || command -v sudo)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: run test test-system e2e check bench bench-large chaos audit format lock clean
.DEFAULT_GOAL := run

run: $(VENV)/run.stamp  ## the worker with its web server, on the seeds
	$(BIN)/feeder run --serve

test: $(VENV)/dev.stamp  ## every test that needs nothing but Python
	$(BIN)/python -m pytest -m "not system and not e2e" -n auto --dist loadfile $(ARGS)

test-system: $(VENV)/dev.stamp  ## the tests that need a program of the system (Chromium, a feed reader)
	$(BIN)/python -m pytest -m system

e2e: $(VENV)/dev.stamp .e2e/stamp  ## the tests against servers that others wrote: snac2, emulate's Slack, npm's standardwebhooks
	$(BIN)/python -m pytest -m e2e $(ARGS)

check: $(VENV)/dev.stamp  ## lint, format, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/bench.stamp  ## feeder beside its peers, as a table of ratios: twenty minutes
	$(BIN)/python -m tests.benchmarks $(ARGS)

bench-large: $(VENV)/dev.stamp  ## the same work on 10,000 and on 1,000,000 articles: 10 GB of disk, ten minutes
	$(BIN)/python -m tests.benchmarks --growth --articles 1000000 $(ARGS)

chaos: $(VENV)/chaos.stamp  ## faults in numbers: an hour and a half of kill -9, dead targets, traffic and fuzzing
	$(BIN)/python -m tests.chaos $(ARGS)

audit: $(VENV)/dev.stamp  ## known vulnerabilities of what is pinned; asks an advisory service on the internet
	$(BIN)/pip-audit --require-hashes --disable-pip -r requirements.txt

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock:  ## resolve the dependencies again (needs uv on the PATH); review the difference before you commit it
	$(LOCK) --upgrade --group build -o requirements.txt pyproject.toml
	$(LOCK) --group build --group dev -c requirements.txt -o requirements-dev.txt pyproject.toml
	$(LOCK) --group build --group dev --group bench -c requirements-dev.txt -o requirements-bench.txt pyproject.toml
	$(LOCK) --group build --group dev --group chaos -c requirements-dev.txt -o requirements-chaos.txt pyproject.toml

clean:
	rm -rf $(VENV) .e2e .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# A stamp is newer than the files that it was made from, so a second `make` installs nothing.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "feeder needs Python 3.11 or newer, and this is " + sys.version.split()[0] + "; name another one: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: requirements.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes --no-deps -r requirements.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.stamp: requirements-dev.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes --no-deps -r requirements-dev.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/run.stamp

$(VENV)/chaos.stamp: requirements-chaos.txt pyproject.toml | $(VENV)/dev.stamp
	$(PIP) install --require-hashes --no-deps -r requirements-chaos.txt
	@touch $@

.e2e/stamp: tests/e2e/get tests/e2e/package.json
	bash tests/e2e/get .e2e
	@touch $@

# What feeder is measured against. `make bench` says what it could not get, and does without it.
$(VENV)/bench.stamp: requirements-bench.txt | $(VENV)/dev.stamp
	-$(PIP) install --require-hashes --no-deps -r requirements-bench.txt
	-for peer in hugo nginx wrk; do command -v $$peer /usr/sbin/$$peer >/dev/null || $(SUDO) apt-get install -qq --yes $$peer || true; done
	@touch $@
