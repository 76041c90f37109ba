# Every command of the project, each of them from nothing: what a command needs is set up in .venv before it runs.
# On a bare Debian that takes `apt-get install make python3 python3-venv`, and nothing else.
#
#   make demo [CLOUD=aws|azure|gcp]   the example: real services, real messages, a closing table
#   make test [PYTHON=python3.13]     lint, types, import contracts and all tests, on one Python
#   make test-all                     the same on every supported Python at hand
#   make engine                       Pulumi's CLI for the tests of provisioning, built with Go into .engine
#   make engine-test                  all that is tested with it, which make test does a part of
#   make sdks [SDKS=go]               the clouds' SDKs for Go, Node and Java against the local servers, as far as those are at hand
#   make types                        what py.typed promises, by a second type checker
#   make torture [SITE=sqlite] [MINUTES=10] [SEED=7]   processes killed, stopped, cut off; a verdict by the ledger
#   make fuzz [CASES=100000] [SEED=7] random input to everything that reads any
#   make properties [SEEDS=10]        the property tests, each time with random input of another seed
#   make mutants                      break polybus in many places; say what the conformance kit doesn't see
#   make soak                         long runs with processes killed at random
#   make lowest, make newest          the provisioning tests on the lowest and newest versions that pyproject.toml allows
#   make bench                        rates beside those of other libraries
#   make bench-gate                   instructions of one publish and one receive, beside those that are kept
#   make lint, make format            ruff alone: look, mend
#   make reference                    docs/reference, from the code: after every change of keys, options, codes, docstrings
#   make docs                         the site of the documents in site/, strictly; and what they show of other frameworks, run
#   make build                        the sdist, and the wheel from it, in dist/
#   make lock                         the lock files in requirements/, from pyproject.toml
#   make clean                        remove what was made, .venv included

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

CLOUD ?=
# Without PYTHON: the first of these that is new enough, in .venv. With it: that one, in an environment of its own.
ifdef PYTHON
VENV := .venv-$(shell "$(PYTHON)" -c 'import platform; print(platform.python_version())' 2>/dev/null || echo none)
else
VENV := .venv
PYTHON := $(shell for python in python3 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)
endif
BIN := $(VENV)/bin

# Tests and the demo start some hundred processes, and each would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

# What tests take is mostly waiting for processes and timers: several workers keep a core busy. Each holds whole files, the
# longest first (tests/conftest.py), and more than these would only wait for the longest.
WORKERS ?= $(shell cores=$$(getconf _NPROCESSORS_ONLN); echo $$((cores > 4 ? 12 : 3 * cores)))

UV := VIRTUAL_ENV="$(CURDIR)/$(VENV)" $(BIN)/uv
headline = @printf '\n== %s ==\n' "$(1)"

.PHONY: help demo test test-all engine engine-test sdks types say-python check-lint check-types check-layers check-tests torture fuzz properties \
	mutants soak lowest newest bench bench-gate lint format reference docs build lock clean

help:
	@sed -n 's/^#   //p' Makefile

# -- Setting up: one stamp for each lock file, so that a second run starts at once ------------------------------------

$(VENV)/.stamp-uv: requirements/uv.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "polybus needs Python 3.11 or newer: apt-get install python3 python3-venv, or make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip' 2>/dev/null || { echo "$(PYTHON) can't make virtual environments: apt-get install python3-venv" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	@echo "Setting up $(VENV), once: some half a minute"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

# The package itself is installed as it stands in the checkout; what it depends on is in the lock file with its hashes.
$(VENV)/.stamp-%: requirements/%.txt pyproject.toml $(VENV)/.stamp-uv
	$(UV) pip install --quiet --require-hashes -r requirements/$*.txt
	$(UV) pip install --quiet --no-deps --editable .
	@touch $@

# -- The two commands ------------------------------------------------------------------------------------------------

demo: $(VENV)/.stamp-demo
	@$(BIN)/python examples/training_pipeline/demo.py $(if $(CLOUD),--cloud $(CLOUD))

# One after the other, the quickest first, pytest and its closing line last. What tests make up is that of SEED, so that
# what passes once passes again; `make properties` looks at others.
test: $(VENV)/.stamp-dev
	@$(MAKE) --no-print-directory say-python
	@$(MAKE) --no-print-directory check-lint
	@$(MAKE) --no-print-directory check-types
	@$(MAKE) --no-print-directory check-layers
	@$(MAKE) --no-print-directory check-tests

test-all:
	@.ci/test-all

say-python: $(VENV)/.stamp-dev
	@printf '\n== %s ==\n' "$$($(BIN)/python -c 'import platform, sys; print("Python", platform.python_version(), "in", sys.prefix)')"

check-lint: $(VENV)/.stamp-dev
	$(call headline,Lint and format (ruff))
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

check-types: $(VENV)/.stamp-dev
	$(call headline,Types (mypy --strict))
	@$(BIN)/mypy src tools examples/redis_cloud/src $(wildcard stacks)

types: $(VENV)/.stamp-dev $(VENV)/.stamp-types
	$(call headline,Types by a second checker (basedpyright))
	@$(BIN)/pytest -q tests/typing/second_checker.py

check-layers: $(VENV)/.stamp-dev
	$(call headline,Layers (import-linter))
	@$(BIN)/lint-imports

check-tests: $(VENV)/.stamp-dev
	$(call headline,Tests (pytest))
	@$(BIN)/pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder --hypothesis-seed=$(SEED)

# -- Pulumi's own engine ---------------------------------------------------------------------------------------------

ENGINE := .engine
# A CLI that is on PATH does as well.
engine: $(ENGINE)/.stamp-policy
	@tests/provision/cli/build $(ENGINE)

# The policy pack's own environment (stacks/policy), at the versions of its lock.
$(ENGINE)/.stamp-policy: requirements/policy.txt pyproject.toml $(VENV)/.stamp-uv
	@"$(PYTHON)" -m venv --without-pip $(ENGINE)/policy
	@VIRTUAL_ENV="$(CURDIR)/$(ENGINE)/policy" $(BIN)/uv pip install --quiet --require-hashes -r requirements/policy.txt
	@VIRTUAL_ENV="$(CURDIR)/$(ENGINE)/policy" $(BIN)/uv pip install --quiet --no-deps --editable .
	@touch $@

# Two at once are what two cores take.
engine-test: $(VENV)/.stamp-dev $(ENGINE)/.stamp-policy
	$(call headline,Pulumi's own engine (pytest))
	@POLYBUS_ENGINE=whole $(BIN)/pytest -q -n 2 --dist load --hypothesis-seed=$(SEED) -k "not double" tests/provision/test_engine.py \
		tests/provision/test_engine_cli.py

# -- Other languages -------------------------------------------------------------------------------------------------

SDKS ?=

sdks: $(VENV)/.stamp-dev
	$(call headline,The clouds' SDKs for other languages)
	@$(BIN)/python -m tests.sdks.run $(SDKS)

# -- The long ones ---------------------------------------------------------------------------------------------------

SITE ?= sqlite
MINUTES ?= 10
SEED ?= 7
CASES ?= 100000

torture: $(VENV)/.stamp-dev
	@$(BIN)/python -m polybus.testing.torture $(SITE) --minutes $(MINUTES) --seed $(SEED)

fuzz: $(VENV)/.stamp-dev
	@POLYBUS_FUZZ_CASES=$(CASES) $(BIN)/pytest -q -n auto --dist loadfile --hypothesis-seed=$(SEED) --durations=0 tests/fuzz

SEEDS ?= 10

properties: $(VENV)/.stamp-dev
	@for seed in $$(shuf -i 1-1000000 -n $(SEEDS)); do \
		echo "seed $$seed"; \
		$(BIN)/pytest -q -n auto --dist load --hypothesis-seed=$$seed \
			$$(grep -rlE '^from hypothesis|^import hypothesis' tests --include='test_*.py' --exclude-dir=fuzz); \
	done

mutants: $(VENV)/.stamp-dev
	@$(BIN)/python -m polybus.testing.mutants

soak: $(VENV)/.stamp-dev
	@$(BIN)/python -m tests.reliability.soak

# What PyPI has today, and so no part of `make test`: each is a job of its own.
lowest newest: $(VENV)/.stamp-uv
	$(call headline,The provisioning tests on the $@ versions)
	@UV_BIN=$(BIN)/uv PYTHON=$(BIN)/python .ci/bounds $@

bench: $(VENV)/.stamp-bench
	@$(BIN)/python -m benchmarks

bench-gate: $(VENV)/.stamp-dev
	@$(BIN)/python -m benchmarks.instructions

# -- While working ---------------------------------------------------------------------------------------------------

lint: $(VENV)/.stamp-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(VENV)/.stamp-dev
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# What it writes is committed; tests/reference fails where it is not what the code says.
reference: $(VENV)/.stamp-dev
	@$(BIN)/python -m tools.reference

docs: $(VENV)/.stamp-docs
	$(call headline,What the documents show of other frameworks (pytest))
	@$(BIN)/pytest -q -W default tools/site
	$(call headline,The site (mkdocs))
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

build: $(VENV)/.stamp-uv
	@$(UV) build --quiet --out-dir dist .
	@ls dist

# The demo, the benchmarks and the site take the versions of the development lock, so that one .venv serves all.
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links
RUNTIME := --extra aws --extra azure --extra gcp --extra local --extra otel --extra blobs

# Each extra but `fast`: the suite runs on asyncio's own loop, which is what services have that didn't ask for another.
EXTRAS := $(RUNTIME) --extra azure-stack --extra aws-stack --extra gcp-stack --extra testing --extra serverless \
	--extra database --extra encryption --extra avro --extra protobuf --extra contracts

lock: $(VENV)/.stamp-uv
	$(COMPILE) pyproject.toml $(EXTRAS) --group dev --group demo -o requirements/dev.txt
	$(COMPILE) pyproject.toml $(RUNTIME) --group demo -c requirements/dev.txt -o requirements/demo.txt
	$(COMPILE) pyproject.toml $(RUNTIME) --group bench -c requirements/dev.txt -o requirements/bench.txt
	$(COMPILE) pyproject.toml --extra testing --group docs -c requirements/dev.txt -o requirements/docs.txt
	$(COMPILE) pyproject.toml --group types -c requirements/dev.txt -o requirements/types.txt
	$(COMPILE) requirements/uv.in -o requirements/uv.txt
	$(COMPILE) pyproject.toml requirements/policy.in -o requirements/policy.txt

clean:
	rm -rf .venv .venv-* .engine build dist site .mypy_cache .ruff_cache .import_linter_cache .hypothesis .polybus examples/training_pipeline/.polybus
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
