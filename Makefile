PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TORCH ?= torch
RIVALS := "$(TORCH)" "jax>=0.10" "diffrax>=0.6" "torchsde>=0.2.6" "sdeint>=0.3" "jitcsde>=1.6" "mkl_random>=1.2"

.PHONY: demo test slow fuzz lint format bench notebooks clean

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/python -m examples.demo

test: $(STAMP) lint
	$(BIN)/python -m pytest -q -n 2 -m "not slow"

slow: $(STAMP)
	$(BIN)/python -m pytest -q -m slow

fuzz: $(STAMP)
	NOETHERFLOW_FUZZ=10000 $(BIN)/python -m pytest -q -s tests/fuzz

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	for rival in $(RIVALS); do $(BIN)/python -m pip install --quiet "$$rival" || echo "bench: without $$rival"; done
	$(BIN)/python -m benchmarks

notebooks: $(STAMP)
	$(BIN)/python -m notebooks.run

clean:
	rm -rf $(VENV) build dist out
