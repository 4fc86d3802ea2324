# Everything lives in .venv: nothing needs root, Docker or a variable. Paths are relative, so the folder may hold spaces.

PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet

# An editable install and its scripts know their folder by its full name. After a move of the checkout, set up again.
$(shell [ "$$(cat .venv/.place 2>/dev/null)" = "$$(pwd -P)" ] || rm -f .venv/.runtime .venv/.dev)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install install-dev demo example-ops serve test clients interop interop-record lint registry fuzz bench clean
FUZZ_SECONDS ?= 600

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

install: .venv/.runtime ## set up .venv/bin/evalvault-otel, with PostgreSQL support
	@echo "ready: .venv/bin/evalvault-otel --help"

install-dev: .venv/.dev ## the same, and what tests, checks and benchmarks need

demo: .venv/.runtime ## run a traced RAG application against a server and print its debug report
	@$(PY) -m evalvault_otel demo $(ARGS)

example-ops: .venv/.runtime ## ask 20 questions about stored traces, in five stages with versioned assets, and check what was stored
	@$(PY) examples/ops_orchestrator/ops.py $(ARGS)

serve: .venv/.runtime ## start the server on the default ports, on evalvault.db in this folder
	@$(PY) -m evalvault_otel serve $(ARGS)

# Three at a time, and then what measures time or wants the whole machine. A choice of tests runs as it is asked for.
test: .venv/.dev ## run all tests; make test ARGS="-k store -x" runs some
ifeq ($(strip $(ARGS)),)
	$(PY) -m pytest -m "not alone" --numprocesses 3 --dist loadfile
	$(PY) -m pytest -m alone
else
	$(PY) -m pytest $(ARGS)
endif

clients: .venv/.dev ## build or install the programs of others that tests run, once (needs go, npm, network)
	@$(PY) -m tests.support.tools $(ARGS)

interop: .venv/.dev ## run programs with real frameworks and instrumentations, each in an environment of its own
	EVALVAULT_TEST_REQUIRE=interop $(PY) -m pytest tests/interop $(ARGS)

interop-record: .venv/.dev ## record their spans anew in tests/golden/interop; ARGS names some
	@$(PY) -m tests.interop.live $(ARGS)

lint: .venv/.dev ## check style, types and the direction of imports
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -c "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"

registry: .venv/.dev ## write what is made from registry.yaml: Python names, page, JSON Schema
	@$(PY) -m tools.registry $(ARGS)

fuzz: .venv/.dev ## send damaged requests for FUZZ_SECONDS (600) and see that nothing breaks
	@$(PY) -m tests.fuzz --seconds $(FUZZ_SECONDS) $(ARGS)

bench: .venv/.dev ## measure throughput, durability, sizes and query times on this machine
	@$(PY) -m benchmarks $(ARGS)

clean: ## remove .venv, caches and demo data; evalvault.db stays
	rm -rf .venv .demo .bench .fuzz evalvault-demo.db* build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Two stamps: with both in place and pyproject.toml unchanged, no target needs the network.
.venv/.runtime: pyproject.toml
	@$(call ensure_venv)
	@echo "installing into .venv ..."
	@$(PIP) install --editable ".[server,postgres]"
	@pwd -P > .venv/.place
	@touch $@

# Dependency groups need pip 25.1; the one that comes with Python 3.11 is older.
.venv/.dev: .venv/.runtime
	@echo "installing the tools for tests and checks into .venv ..."
	@$(PIP) install --upgrade "pip>=25.1"
	@$(PIP) install --group dev
	@touch $@

# Candidates are run, not only looked up: a name on the PATH may be a shim without a Python behind it, and Debian's
# Python may come without venv.
PYTHON_OK := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
CANDIDATES := $(if $(PYTHON),"$(PYTHON)",python3.13 python3.12 python3.11 python3)

define ensure_venv
if ! $(PY) -c '$(PYTHON_OK)' >/dev/null 2>&1; then \
  for python in $(CANDIDATES); do \
    if "$$python" -c '$(PYTHON_OK)' >/dev/null 2>&1; then exec "$$python" -m venv --clear .venv; fi; \
  done; \
  echo "Python 3.11 or newer with venv and pip is needed: install it (Debian, Ubuntu: apt install python3-venv)," \
    "or name it: make install PYTHON=/path/to/python3" >&2; \
  exit 1; \
fi
endef
