PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PLOTS_INSTALLED := $(VENV)/.plots-installed
CHART_CRDS := charts/cloudrun-identity/files/crds
CONSTRAINTS_VENV := build/constraints
PIP_TOOLS := pip-tools==7.6.2
PIP_TOOLS_VENV := build/pip-tools
DISTRIBUTED := -n auto --dist loadscope
# The paths that the language check covers. Add a path here when its prose follows CONTRIBUTING.md.
CHECKED_PROSE := \
	operator playground crds charts argocd kustomize docs examples benchmarks tools .github $(wildcard *.md) \
	Makefile Dockerfile pyproject.toml zensical.toml .pre-commit-hooks.yaml \
	conftest.py tests/README.md tests/e2e tests/gitops tests/kube tests/servers tests/simulation $(wildcard tests/*.py)

# Containers often disable bytecode. Then each process that the tests start would compile all modules again.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo test test-all soak soak-laws bench verify docs generate health-table lint constraints requirements clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

demo: $(INSTALLED) ## run the operator on this machine with an emulated Google Cloud (ARGS=--keep keeps it running)
	@$(BIN)/cloudrun-identity demo $(ARGS)

test: $(INSTALLED) ## run all tests on the embedded API server, and a smoke set on a real one (ARGS="-k keys" selects)
	@$(BIN)/python -m pytest $(DISTRIBUTED) --smoke $(ARGS)

test-all: $(INSTALLED) ## run all tests on both API servers; the real one needs KUBEBUILDER_ASSETS
	@$(BIN)/python -m pytest $(DISTRIBUTED) $(ARGS)

soak: $(INSTALLED) ## simulate new histories for a given time, and print those that violate an invariant (ARGS="--minutes 60")
	@$(BIN)/python -m tests.simulation --minutes 10 --jobs 2 --shrink $(ARGS)

soak-laws: $(INSTALLED) ## run each property test with 10,000 generated examples, for hours (ARGS="-k interference" selects)
	@HYPOTHESIS_PROFILE=soak $(BIN)/python -m pytest tests/unit -m hypothesis --hypothesis-show-statistics $(ARGS)

bench: $(PLOTS_INSTALLED) ## run the benchmarks; print tables, write build/bench.json (ARGS="--only scale" selects)
	@mkdir -p build
	@$(BIN)/python -m benchmarks $(ARGS)

verify: $(INSTALLED) ## check in your project that Google Cloud behaves as expected (PROJECT=ID ARGS=--slow); see docs/how-to/verify.md
	@mkdir -p build
	@$(BIN)/python -m tools.verify --json build/verify.json $(if $(PROJECT),--project $(PROJECT)) $(ARGS)

docs: $(INSTALLED) ## build the documentation site into build/docs, and check its links
	@mkdir -p build
	@$(BIN)/python -m tools.docs_site build/docs
	@echo 'To read it: $(BIN)/python -m http.server --directory build/docs 8000'

generate: $(INSTALLED) ## generate crds/, argocd/, kustomize/, the chart's copies and texts, and pages of docs/
	@$(BIN)/cloudrun-identity crds --output crds
	@mkdir -p $(CHART_CRDS) build
	@rm -f $(CHART_CRDS)/*.yaml
	@cp crds/*.yaml $(CHART_CRDS)
	@$(BIN)/python -m tools.chart_docs charts/cloudrun-identity
	@$(BIN)/cloudrun-identity crds --markdown >docs/reference/api.md
	@$(BIN)/cloudrun-identity permissions --markdown >docs/reference/permissions.md
	@$(BIN)/cloudrun-identity role explain --markdown >docs/reference/escalation.md
	@$(BIN)/python -m tools.third_party >build/third-party.md && mv build/third-party.md docs/reference/third-party.md
	@$(BIN)/python -m tools.argo_cd
	@$(BIN)/python -m tools.kustomize
	@$(BIN)/python -m tools.verify.page

health-table: $(INSTALLED) ## write the answers of kstatus and Argo CD for every kind and state (needs Go)
	@$(BIN)/python -m tests.gitops.answers

lint: $(INSTALLED) ## run ruff, mypy, import-linter, the language check, and actionlint if it is installed
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python tools/check_language.py $(CHECKED_PROSE)
	@if command -v actionlint >/dev/null; then actionlint; fi

constraints: ## update constraints.txt and requirements/ to the newest versions that pyproject.toml allows (needs Python 3.11)
	$(refuse_unfit_python)
	@rm -rf $(CONSTRAINTS_VENV)
	@$(PYTHON) -m venv $(CONSTRAINTS_VENV)
	@$(CONSTRAINTS_VENV)/bin/pip install --quiet --disable-pip-version-check -e '.[dev,bench,docs]' -e ./playground
	@sed -n '/^#/p' constraints.txt >build/constraints.txt
	@$(CONSTRAINTS_VENV)/bin/pip freeze --exclude-editable >>build/constraints.txt
	@mv build/constraints.txt constraints.txt
	@$(MAKE) --no-print-directory requirements

requirements: ## write requirements/, the hashes of the packages of the image and the release (needs Python 3.11)
	$(refuse_unfit_python)
	@$(PYTHON) -m venv $(PIP_TOOLS_VENV)
	@$(PIP_TOOLS_VENV)/bin/pip install --quiet --disable-pip-version-check $(PIP_TOOLS)
	@$(pip_compile) --output-file requirements/image.txt pyproject.toml
	@$(pip_compile) --build-deps-for wheel --only-build-deps --output-file requirements/image-build.txt pyproject.toml
	@$(pip_compile) --output-file requirements/release.txt requirements/release.in

clean: ## remove everything that the other targets created
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find operator playground tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml playground/pyproject.toml constraints.txt
	$(refuse_unfit_python)
	@echo 'Installing into $(VENV); the first time it takes about a minute.'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,docs]' -e ./playground
	@touch $(INSTALLED)

# Without matplotlib, the benchmarks print their tables and draw no plots.
$(PLOTS_INSTALLED): $(INSTALLED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]' && touch $@ \
		|| echo 'Continuing without plots: matplotlib was not installed.'

pip_compile = CUSTOM_COMPILE_COMMAND='make requirements' $(PIP_TOOLS_VENV)/bin/pip-compile --quiet --generate-hashes \
	--strip-extras --allow-unsafe --no-annotate --no-emit-options --constraint constraints.txt

# One line that says what $(PYTHON) lacks and how to get it; empty if it lacks nothing.
unfit_python = $(shell \
	command -v $(PYTHON) >/dev/null 2>&1 || { echo '$(PYTHON) is not installed: install Python 3.11 or newer, or name one with PYTHON=/path/to/python3'; exit; }; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo '$(PYTHON) is older than Python 3.11: install a newer one, or name one with PYTHON=/path/to/python3'; exit; }; \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || $(PYTHON) -c 'import sys; print("$(PYTHON) cannot make virtual environments: on Debian and Ubuntu, apt install python3-venv (or python%d.%d-venv)" % sys.version_info[:2])')

# An error of make prints one line; a failed recipe would print more.
refuse_unfit_python = $(if $(unfit_python),$(error $(unfit_python)))
