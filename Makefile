# The commands of this repository. All that they need is Python 3.11+, make and a package registry.
#
#   make run      the demo, under roadworthy, with its page
#   make reports  a web service with dependencies that can be made to fail, under roadworthy
#   make actors   characters to talk to over WebSockets, under roadworthy
#   make test     every test this machine can run, with the reason for each that it cannot
#   make check    lint, types, architecture, documentation
#   make bench    ours against the peers, as ratios
#   make soak     the tests that take long
#   make mutants  change the resilience core, line by line: do its tests notice?
#   make lock     resolve the dependencies anew
#   make clean    remove everything that was generated
#
# PYTHON=python3.12   the interpreter to build the environment with     VENV=.venv   where the environment is
# ARGS="-k arena"     handed on to pytest, or to the benchmarks         COVERAGE=1   measure the tests, fail below 90 %
# JOBS=2              how many tests at once (0: one after the other, in one process)

VENV ?= .venv
ARGS ?=
COVERAGE ?=
JOBS ?= 2

bin := $(VENV)/bin
pip := $(bin)/python -m pip --quiet --disable-pip-version-check
typed := src/roadworthy $(wildcard tools benchmarks examples tests/typing)

ifeq ($(COVERAGE),)
pytest := $(bin)/python -m pytest
else
pytest := $(bin)/python -m coverage run -m pytest
endif

# Live tests mostly wait. A worker that runs out of tests takes some of another's.
parallel := -n $(JOBS) --dist worksteal

.PHONY: help run reports actors test check bench soak mutants lock clean env
.DEFAULT_GOAL := help

help:
	@sed -n 's/^#   //p' Makefile

# -- environment: two stamps, so that it is made again only when a lock file or pyproject.toml has changed

$(bin)/python:
	@python=$$(PYTHON="$(PYTHON)" sh tools/pick-python.sh) && echo "Making $(VENV) with $$python" && "$$python" -m venv --clear $(VENV)

$(VENV)/.stamp-run: requirements.lock requirements-build.lock pyproject.toml | $(bin)/python
	@echo "Installing roadworthy into $(VENV)"
	@$(pip) install --require-hashes -r requirements.lock -r requirements-build.lock
	@$(pip) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.stamp-dev: $(VENV)/.stamp-run requirements-dev.lock
	@echo "Installing what the tests and checks need into $(VENV)"
	@$(pip) install --require-hashes -r requirements-dev.lock
	@touch $@

env: $(VENV)/.stamp-dev

# -- what it is for

run: $(VENV)/.stamp-run
	@$(bin)/roadworthy run --name movie -- $(bin)/python examples/movie/main.py

reports: env
	@$(bin)/python examples/reports/start.py $(ARGS)

actors: env
	@$(bin)/python examples/actors/start.py $(ARGS)

test: env
ifeq ($(COVERAGE),)
	@$(pytest) $(parallel) $(ARGS)
else
	@$(bin)/python -m coverage erase
	@$(pytest) $(parallel) $(ARGS)
	@$(bin)/python -m coverage combine --quiet
	@$(bin)/python -m coverage report --fail-under=90
endif

check: env
	@$(bin)/ruff check .
	@$(bin)/ruff format --check .
	@$(bin)/mypy --strict $(typed)
	@$(bin)/lint-imports --no-logo
	@$(bin)/python tools/check_tree.py
	@$(bin)/python -m pytest -q tests/docs

# The peers live in an environment of their own, so that no test and no check can come to need them.
bench_bin := $(VENV)-bench/bin

$(bench_bin)/python:
	@python=$$(PYTHON="$(PYTHON)" sh tools/pick-python.sh) && echo "Making $(VENV)-bench with $$python" && "$$python" -m venv --clear $(VENV)-bench

$(VENV)-bench/.stamp: requirements-bench.lock pyproject.toml | $(bench_bin)/python
	@echo "Installing roadworthy and the peers it is measured against into $(VENV)-bench"
	@$(bench_bin)/python -m pip --quiet --disable-pip-version-check install --require-hashes -r requirements-bench.lock
	@$(bench_bin)/python -m pip --quiet --disable-pip-version-check install --no-deps --no-build-isolation -e .
	@touch $@

bench: $(VENV)-bench/.stamp
	@$(bench_bin)/python -m benchmarks $(ARGS)

soak: env
	@$(bin)/python -m pytest -m soak --timeout=0 $(ARGS)

mutants: env
	@$(bin)/python tools/mutate.py --core $(ARGS)

lock: $(bin)/python
	@PYTHON=$(bin)/python tools/lock.sh $(ARGS)

clean:
	rm -rf $(VENV) $(VENV)-bench .venv-* .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find src tests examples tools benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
