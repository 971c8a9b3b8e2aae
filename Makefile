PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
CHART_CRDS := charts/cloudrun-identity/files/crds
CONSTRAINTS_VENV := build/constraints
# The paths that the language check covers. Add a path here when its prose follows CONTRIBUTING.md.
CHECKED_PROSE := \
	tools .github CONTRIBUTING.md SECURITY.md CODE_OF_CONDUCT.md \
	docs/dev

# Containers often forbid bytecode. Then every process that the tests start would compile the product anew, and
# every worker the tests.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo test soak bench generate lint constraints clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

demo: $(INSTALLED) ## the whole product on this machine, nothing outside touched (ARGS=--keep leaves it running)
	@$(BIN)/cloudrun-identity demo $(ARGS)

test: $(INSTALLED) ## every test that this machine can run (ARGS="-k lanes" picks some)
	@$(BIN)/python -m pytest -n auto --dist loadscope $(ARGS)

soak: $(INSTALLED) ## every law over 10,000 generated examples, with statistics (ARGS="-k adversary" picks some)
	@HYPOTHESIS_PROFILE=soak $(BIN)/python -m pytest tests/unit -m hypothesis --hypothesis-show-statistics $(ARGS)

bench: $(INSTALLED) ## counts, ratios and seconds, as tables and in build/bench.json
	@mkdir -p build
	@$(BIN)/python -m benchmarks $(ARGS)

generate: $(INSTALLED) ## crds/ from the models, the chart's copies of them, docs/reference.md and docs/permissions.md
	@$(BIN)/cloudrun-identity crds --output crds
	@mkdir -p $(CHART_CRDS)
	@rm -f $(CHART_CRDS)/*.yaml
	@cp crds/*.yaml $(CHART_CRDS)
	@$(BIN)/cloudrun-identity crds --markdown >docs/reference.md
	@$(BIN)/cloudrun-identity permissions --markdown >docs/permissions.md

lint: $(INSTALLED) ## ruff, mypy, the direction of imports and the language check
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python tools/check_language.py $(CHECKED_PROSE)

constraints: ## constraints.txt anew: the newest versions that pyproject.toml allows (with Python 3.11)
	$(refuse_unfit_python)
	@rm -rf $(CONSTRAINTS_VENV)
	@$(PYTHON) -m venv $(CONSTRAINTS_VENV)
	@$(CONSTRAINTS_VENV)/bin/pip install --quiet --disable-pip-version-check -e '.[dev]' -e ./playground
	@sed -n '/^#/p' constraints.txt >build/constraints.txt
	@$(CONSTRAINTS_VENV)/bin/pip freeze --exclude-editable >>build/constraints.txt
	@mv build/constraints.txt constraints.txt

clean: ## back to a fresh clone
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find operator playground tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml playground/pyproject.toml constraints.txt
	$(refuse_unfit_python)
	@echo 'Installing into $(VENV); the first time it takes about a minute.'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]' -e ./playground
	@touch $(INSTALLED)

# What $(PYTHON) lacks, in one line that says what to do, or nothing.
unfit_python = $(shell \
	command -v $(PYTHON) >/dev/null 2>&1 || { echo '$(PYTHON) is not installed: install Python 3.11 or newer, or name one with PYTHON=/path/to/python3'; exit; }; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo '$(PYTHON) is older than Python 3.11: install a newer one, or name one with PYTHON=/path/to/python3'; exit; }; \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || $(PYTHON) -c 'import sys; print("$(PYTHON) cannot make virtual environments: on Debian and Ubuntu, apt install python3-venv (or python%d.%d-venv)" % sys.version_info[:2])')

# As an error of make itself it stays one line.
refuse_unfit_python = $(if $(unfit_python),$(error $(unfit_python)))
