# Everything starts from Python 3.11+ and make; the virtual environment is built on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: run test soak mutants check bench format clean

run: $(READY)
	@$(BIN)/dure demo $(ARGS)

test: $(READY)
	@.ci/real-parts
	@$(BIN)/python -m pytest -n 2 $(ARGS)

soak: $(READY)
	@$(BIN)/python -m tests.simulation.soak $(ARGS)

mutants: $(READY)
	@$(BIN)/python -m tests.kernel.mutants $(ARGS)

check: $(READY)
	@$(BIN)/ruff format --check src tests benchmarks
	@$(BIN)/ruff check src tests benchmarks
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(READY)
	@$(BIN)/python -m benchmarks $(ARGS)

format: $(READY)
	@$(BIN)/ruff format src tests benchmarks
	@$(BIN)/ruff check --fix src tests benchmarks

$(READY): pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Dure needs Python 3.11 or newer; set PYTHON=/path/to/python3.11")'
	@echo "Setting up $(VENV) (first time only) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	@UV_COMPILE_BYTECODE=1 $(BIN)/uv sync --frozen --quiet --python $(BIN)/python
	@$(BIN)/python -m compileall -q src
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .hypothesis
