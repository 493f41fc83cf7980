# Chaos-and-soak lab. Every path here is relative, so that a checkout in a folder with spaces works.
# `make` turns any failing command into its own exit status 2: pipelines that want the lab's call `lab` itself.

PY := .venv/bin/python
# "sudo -E" where the Docker engine is closed to this user (or absent) and sudo may help; else empty.
AS_ROOT = $(shell sh requirements/as_root.sh)
LAB = $(AS_ROOT) $(PY) -m lab
PYTEST = $(AS_ROOT) $(PY) -m pytest
export DURATION SEED CAMPAIGN TARGET PYTHON

.DEFAULT_GOAL := help
.PHONY: help setup setup-runtime lab-up lab-down lab-status soak prepare test test-fast sweep lint lock doctor heal clean

help: ## show this
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile
	@echo "  Options of soak: CAMPAIGN=chaos/soak.yaml DURATION=12m SEED=1 TARGET=workspace-qdrant-mcp"

setup: ## make .venv with everything, for development and tests
	@sh requirements/venv.sh dev

setup-runtime:
	@sh requirements/venv.sh runtime

lab-up: setup-runtime ## install what is missing, get or build the images, start the stack, print the addresses
	@$(LAB) up $${TARGET:+--target "$$TARGET"}

lab-down: setup-runtime ## stop the stack and remove its containers, network and volumes
	@$(LAB) down

lab-status: setup-runtime ## show the stack, its addresses and pending faults
	@$(LAB) status

soak: setup-runtime ## the main job: load, rotating faults, verdict
	@$(LAB) soak $${CAMPAIGN:+"$$CAMPAIGN"} $${DURATION:+--duration "$$DURATION"} $${SEED:+--seed "$$SEED"} $${TARGET:+--target "$$TARGET"}

prepare: setup
	@$(AS_ROOT) $(PY) -m lab.provision

test: setup prepare ## all tests but the long sweeps, with everything they need, from cold
	@$(PYTEST) $(wildcard tests/tidy tests/pure tests/contract tests/integration tests/e2e)

test-fast: setup ## the tests that need no Docker, in a minute or two
	@$(PY) -m pytest -m "not docker and not k6 and not sweep" $(wildcard tests/tidy tests/pure tests/contract)

sweep: setup prepare ## the long sweeps: every fault, every kill point, every mutant of the judge
	@$(PYTEST) -m sweep $(wildcard tests/sweep)

lint: setup ## ruff and mypy
	@$(PY) -m ruff check .
	@$(PY) -m mypy

lock: ## lock the requirements again, to the newest versions (needs pip-tools)
	@sh requirements/lock.sh

doctor: setup-runtime ## say what this machine can do, and for each lack the fix
	@$(LAB) doctor

heal: setup-runtime ## undo every fault that a dead run left
	@$(LAB) heal

clean: ## remove all that carries the lab's label, kept stores, .venv and the tools' caches; keep runs and images
	@if [ -x $(PY) ]; then $(LAB) down --all; fi
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
