# Everything a developer types; `make` alone lists it.
#
# The environment lives in .venv and is made again when pyproject.toml or constraints.txt change.
# pip's own settings apply: PIP_INDEX_URL or PIP_EXTRA_INDEX_URL choose, say, a CPU-only torch.

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := $(VENV)/.installed
TORCH := $(shell sed -n '/^torch==/p' constraints.txt)
ONNX2TORCH := $(shell sed -n '/^onnx2torch==/p' constraints.txt)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test slow format clean

help: ## list what make can do
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo 'Variables: PYTHON (now $(PYTHON)); ARGS, more arguments for demo, e.g. ARGS="--budget smoke".'

demo: $(STAMP) ## train a detector and an explainer, write runs/demo/report.html
	$(BIN)/ifnormal demo --out runs/demo $(ARGS)

# One thread: tiny tensors gain nothing from more, and threads that wait for a busy core lose a lot.
# A process a core instead, each with whole files, as the tests of a file share what is slow to make.
test: $(STAMP) ## lint, types and the fast tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/pytest -n auto --maxprocesses 8 \
	  --dist loadfile --no-loadscope-reorder

slow: $(STAMP) ## the tests that take minutes
	$(BIN)/pytest -m slow

format: $(STAMP) ## put code and imports in order
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## remove the environment and caches, keep runs/
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find src tests studies -name __pycache__ -type d -prune -exec rm -rf {} +

# torch first and by itself, so that no other build of it is resolved on the way. onnx2torch by
# itself as well: it would bring torchvision, which we do without.
$(STAMP): pyproject.toml constraints.txt
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "There is no $(PYTHON); install Python 3.10 or newer, or name it: make PYTHON=/path/to/python"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "ifnormal needs Python 3.10 or newer, but $(PYTHON) is $$("$(PYTHON)" -V 2>&1); name another: make PYTHON=python3.11"; exit 1; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "$(PYTHON) has no venv module; install it (Debian, Ubuntu: apt install python3-venv) and try again."; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	$(PIP) install -c constraints.txt "$(TORCH)"
	$(PIP) install --quiet -c constraints.txt -e ".[app,captum,demo,diffusion,export,hub,parquet,ray,dev]"
	$(PIP) install --quiet --no-deps "$(ONNX2TORCH)"
	@touch $@
