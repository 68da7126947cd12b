PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DOCS := $(VENV)/.docs-installed
OLDEST := .venv-oldest
OLDEST_PYTHON ?= python3.11
OLDEST_TESTS := tests/cases/test_case_c7_oldest.py tests/test_cli.py tests/test_cli_processes.py tests/sde/test_simulate.py tests/sde/test_gathered.py \
	tests/sde/test_report.py tests/symbolic/test_spec.py tests/symbolic/test_sgd.py tests/symbolic/test_library.py tests/symbolic/test_display.py tests/symbolic/test_emit.py
TORCH ?= torch
RIVALS := "$(TORCH)" "jax>=0.10" "diffrax>=0.6" "torchsde>=0.2.6" "sdeint>=0.3" "jitcsde>=1.6" "mkl_random>=1.2"

.PHONY: demo test quick docs nojit oldest slow fuzz lint format bench notebooks clean

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/python -m examples.demo

# Types take one core for two minutes: the tests begin meanwhile.
test: $(STAMP)
	$(MAKE) -j 2 lint quick

quick: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 -m "not slow" --durations=15

# The site, in out/docs: every example runs first; then it is built anew, and any warning or dead link is an error.
docs: $(DOCS)
	$(BIN)/python -m pytest -q -m "not slow" tests/test_docs.py tests/test_site.py tests/test_public_face.py
	rm -rf out/docs build/docs
	$(BIN)/python -m sphinx -q -W --keep-going -d build/docs docs out/docs
	@echo "site: out/docs/index.html"

$(DOCS): $(STAMP)
	$(BIN)/python -m pip install --quiet -e ".[docs]"
	touch $@

# Kernels as plain Python, with the coverage that this gives; loops that call machine code by address are left out.
nojit: $(STAMP)
	NUMBA_DISABLE_JIT=1 $(BIN)/coverage run --source=sde/kernels -m tests.nojit
	$(BIN)/coverage report --sort=cover

# The lowest versions that pyproject.toml states, in an environment of their own: command line, NetCDF, simulate, derive, report.
oldest: $(OLDEST)/.installed
	NUMBA_CACHE_DIR=$(CURDIR)/$(OLDEST)/numba OLDEST=1 $(OLDEST)/bin/python -m pytest -q -p no:cacheprovider -m "not slow" $(OLDEST_TESTS)

$(OLDEST)/.installed: pyproject.toml tests/oldest.py
	$(OLDEST_PYTHON) -m venv --clear $(OLDEST)
	$(OLDEST)/bin/python tests/oldest.py dev/pytest dev/pytest-xdist dev/hypothesis > $(OLDEST)/pins.txt
	$(OLDEST)/bin/python -m pip install --quiet --only-binary :all: -r $(OLDEST)/pins.txt
	$(OLDEST)/bin/python -m pip install --quiet --no-deps -e .
	touch $@

slow: $(STAMP) $(DOCS)
	$(BIN)/python -m pytest -q -m slow

fuzz: $(STAMP)
	NOETHERFLOW_FUZZ=10000 $(BIN)/python -m pytest -q -s tests/fuzz

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	if $(BIN)/python -c "import torch" 2> /dev/null; then $(BIN)/pyright -p tests/networks; \
	else echo "lint: types of sde/networks are left out, as torch is not there"; fi
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
	rm -rf $(VENV) $(OLDEST) build dist out docs/generated
