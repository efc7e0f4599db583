# Everything a fresh machine needs is python3 (3.11 or newer) and make. `make help` lists the targets.

VENV    := .venv
BIN     := $(VENV)/bin
PIP     := $(BIN)/python -m pip --disable-pip-version-check
SOURCES := model_repo server exporter loadtest tests $(wildcard *.py)

# The interpreter that makes .venv. Unset, the first of these that is 3.11 or newer is taken.
PYTHON  ?=
PYTHONS := $(if $(PYTHON),$(PYTHON),python3 python3.13 python3.12 python3.11 python3.14 python)

# torch: `cpu` takes the newest CPU build that pip finds (README), `any` leaves the choice to pip.
# TORCH_INDEX is one more index for pip to look for torch in.
TORCH       ?= cpu
TORCH_INDEX ?=
# The same range as in pyproject.toml, as the versions are spelt by `pip index`.
TORCH_CPU_BUILDS := '2\.(9|1[0-3])\.[0-9]+\+cpu'

ARGS        ?=
PYTEST_ARGS ?=
# Processes of `make test`; 0: all in one.
JOBS        ?= auto

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format soak bench clean distclean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.dev ## create .venv with everything that development needs

demo: $(VENV)/.export ## train the digits ensemble, publish it, serve it (ARGS="--port 8001")
	$(BIN)/tutti demo $(ARGS)

test: $(VENV)/.dev ## run the tests (PYTEST_ARGS="-k name", JOBS=0 for one process)
	$(BIN)/python -m pytest -m "not soak" -n $(JOBS) --dist loadfile --no-loadscope-reorder --durations=25 $(PYTEST_ARGS)

check: $(VENV)/.dev ## ruff, mypy, import contracts, dead code and hadolint: what CI asks for
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/vulture
	@if [ -x $(BIN)/hadolint ]; then echo "$(BIN)/hadolint Dockerfile"; $(BIN)/hadolint Dockerfile; \
	else echo "hadolint has no wheel for this machine: Dockerfile not linted"; fi

format: $(VENV)/.dev ## let ruff put imports and layout in order
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

soak: $(VENV)/.dev ## the long runs that `make test` leaves out
	$(BIN)/python -m pytest -m soak --timeout=3600 --durations=15 $(PYTEST_ARGS)

bench: $(VENV)/.dev ## measure beside other servers and alone, into build/bench (ARGS="--peers tutti,mosec --rounds 1")
	$(BIN)/python -m loadtest.peers --out build/bench $(ARGS) || [ $$? -eq 1 ]  # 1: a peer was skipped
	$(BIN)/python -m loadtest.bench curves --out build/bench
	$(BIN)/python -m loadtest.bench overload --out build/bench
	$(BIN)/python -m loadtest.bench swap --out build/bench
	$(BIN)/python -m loadtest.bench rows --out build/bench
	$(BIN)/python -m loadtest.bench beside --out build/bench

clean: ## remove caches and build output, keep .venv and models
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## clean, and remove .venv too
	rm -rf $(VENV)

# Stamps: a target is installed again only when pyproject.toml changed since.
$(VENV)/.created:
	@set -e; chosen=; \
	for candidate in $(PYTHONS); do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then chosen="$$candidate"; break; fi; \
	done; \
	if [ -z "$$chosen" ]; then \
	  for candidate in $(PYTHONS); do given="$$given; $$candidate is $$("$$candidate" --version 2>&1 | tail -n 1)"; done; \
	  echo "tutti needs Python 3.11 or newer; tried: $(PYTHONS)$$given. Name one: make PYTHON=/path/to/python3.12" >&2; exit 1; \
	fi; \
	if ! "$$chosen" -c 'import venv, ensurepip' 2>/dev/null; then \
	  echo "$$chosen cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; \
	fi; \
	[ -x $(BIN)/pip ] || { echo "$$chosen -m venv $(VENV)"; "$$chosen" -m venv $(VENV); }
	@touch $@

# A torch that is there already is never exchanged: it is the user's choice.
define install
	@set -e; torch=; index="$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))"; \
	if [ "$(TORCH)" = cpu ] && [ "$$(uname -s)" = Linux ] && ! $(PIP) show --quiet torch 2>/dev/null; then \
	  build=$$($(PIP) index versions torch $$index 2>/dev/null | grep -oE $(TORCH_CPU_BUILDS) | head -n 1) || true; \
	  if [ -n "$$build" ]; then torch="torch==$$build"; \
	  else echo "pip finds no CPU build of torch and takes the default one; README says how to choose"; fi; \
	fi; \
	echo "pip install -e .[$(1)] $$torch"; \
	$(PIP) install --quiet $$index -e ".[$(1)]" $$torch
endef

$(VENV)/.export: $(VENV)/.created pyproject.toml
	$(call install,export)
	@touch $@

$(VENV)/.dev: $(VENV)/.created pyproject.toml
	$(call install,dev)
	@touch $(VENV)/.export $@
