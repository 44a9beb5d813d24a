# Everything that a developer or a new user runs. `make` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
# The newest Python that works here, unless PYTHON names one.
PYTHON ?= $(shell for name in python3.14 python3.13 python3.12 python3.11 python3 python; do \
	"$$name" -c 'import ensurepip, venv, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$name"; break; }; done)
PACKAGES := layers/ecs_protocol layers/control_plane agent cli
SOURCES := layers/ecs_protocol/ecs_protocol layers/control_plane/control_plane agent/ecs_anywhere_agent cli/ecs_anywhere
COMPILE := .cache/lock/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --upgrade
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
export SAM_CLI_TELEMETRY := 0

.PHONY: help
help: ## List what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: demo
demo: install ## Start a control plane and an agent here, run a task and a service, lose a container, see it replaced
	@$(BIN)/ecs-anywhere demo

.PHONY: test
test: check ## Run every check and test
	$(BIN)/pytest -n 2 --dist loadscope --no-loadscope-reorder

.PHONY: fuzz
fuzz: $(VENV)/installed-test ## Send the API requests of any kind, without an end or EXAMPLES=2000 of them: none may be a fault of ours
	@PYTHONPATH=. $(BIN)/python tests/fuzz.py $(if $(EXAMPLES),--examples $(EXAMPLES))

.PHONY: soak
soak: install ## An hour of ordinary life with its accidents: memory, state file and table stay as they are
	$(BIN)/python bench/soak.py

.PHONY: check
check: $(VENV)/installed-test ## Lint, types, template
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(SOURCES) functions tests bench
	$(BIN)/cfn-lint template.yaml
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/sam validate --lint --region us-east-1

# pip-audit fails alike for what it has found and for what it could not ask; it writes its file only if it could.
.PHONY: audit
audit: ## Look for known vulnerabilities in what the lock files pin
	@test -x .cache/audit/bin/pip-audit \
		|| { $(PYTHON) -m venv .cache/audit && .cache/audit/bin/pip install --quiet pip-audit; } \
		|| { echo "Not audited: pip-audit cannot be installed" >&2; exit 0; }; \
	for lock in requirements-test.txt layers/control_plane/requirements.txt; do \
		rm -f .cache/audit/found.json; \
		.cache/audit/bin/pip-audit --strict --progress-spinner off --timeout 20 --disable-pip --require-hashes -r $$lock \
			--format json --output .cache/audit/found.json && continue; \
		test -s .cache/audit/found.json && { cat .cache/audit/found.json; exit 1; }; \
		echo "Not audited: PyPI does not tell of vulnerabilities from here" >&2; exit 0; \
	done

.PHONY: install
install: $(VENV)/installed ## Make .venv from the lock file

# --no-deps: the lock is complete, and older versions of pip take a package with extras for one that is not pinned.
$(VENV)/installed: requirements.txt $(addsuffix /pyproject.toml,$(PACKAGES))
	@python="$(PYTHON)"; \
	test -n "$$python" || { echo "No Python 3.11 or newer with venv was found. Install one (Debian: apt install python3-venv), or name it: make PYTHON=..." >&2; exit 1; }; \
	$(BIN)/python -m pip --version >/dev/null 2>&1 || "$$python" -m venv --clear $(VENV)
	@echo "Installing into $(VENV) with $$($(BIN)/python --version) (a minute or two the first time)"
	@$(PIP) install --no-deps --require-hashes -r requirements.txt
	@$(PIP) install --no-deps --no-build-isolation $(addprefix -e ,$(PACKAGES))
	@touch $@

$(VENV)/installed-test: $(VENV)/installed requirements-test.txt
	@echo "Installing what checks and tests take besides"
	@$(PIP) install --no-deps --require-hashes -r requirements-test.txt
	@touch $@

.PHONY: lock
lock: ## Pin anew what requirements.in, requirements-test.in and the layer ask for
	$(PYTHON) -m venv .cache/lock && .cache/lock/bin/pip install --quiet uv
	$(COMPILE) requirements.in requirements-test.in -o requirements-test.txt
	$(COMPILE) -c requirements-test.txt requirements.in -o requirements.txt
	$(COMPILE) -c requirements-test.txt layers/control_plane/requirements.in -o layers/control_plane/requirements.txt

.PHONY: deploy
deploy: install ## Deploy to AWS, built for the Python of .venv
	runtime=python$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	export PATH="$(abspath $(BIN)):$$PATH"; \
	sam build --parameter-overrides PythonRuntime=$$runtime && sam deploy --guided --capabilities CAPABILITY_IAM --parameter-overrides PythonRuntime=$$runtime

.PHONY: clean
clean: ## Remove what was made here
	rm -rf $(VENV) .aws-sam .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
