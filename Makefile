# Every verb sets up what it needs. A fresh machine with Python 3.11 and pip is enough.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo test test-all test-names check bench docs lock clean

setup: $(VENV)/.ready           ## what using it needs
$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed; name it: make PYTHON=python3.11 ..." >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	# torch first and by version: its build, and so its hash, differs from machine to machine.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/.ready-test: $(VENV)/.ready requirements-test.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-test.lock
	touch $@

$(VENV)/.ready-bench: $(VENV)/.ready-test requirements-bench.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-bench.lock
	touch $@

$(VENV)/.ready-names: $(VENV)/.ready-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[pii]'
	touch $@

demo: setup                     ## the main job on real input, in ./licence-desk
	$(BIN)/tunesmith demo licence-desk

# Two processes of tests with one thread each: a file stays in one of them, the long files go first.
IN_TWO := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: $(VENV)/.ready-test       ## what must pass before anything lands
	$(IN_TWO)

test-all: $(VENV)/.ready-test   ## the slow ones too
	$(IN_TWO) -m 'not bench'

test-names: $(VENV)/.ready-names  ## names, by a model of 200 MB that no other test needs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/unit/text/test_names.py tests/unit/stages/curate/test_privacy.py
	$(BIN)/python bench/pii.py --names || true

check: $(VENV)/.ready-test      ## style, types, the map, budgets, generated docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/arch

bench: $(VENV)/.ready-bench     ## speed and memory, beside a peer where there is one
	$(BIN)/python -m pytest -m bench -s -p no:randomly bench
	$(BIN)/python bench/finetune_cpu.py
	$(BIN)/python bench/finetune_encoder.py
	$(BIN)/python bench/forecast.py
	$(BIN)/python bench/mlops.py
	$(BIN)/python bench/data.py

docs: $(VENV)/.ready-test       ## write docs/reference from the code
	$(BIN)/python docs/generate.py

lock: $(VENV)/.ready-test       ## resolve the lock files anew (needs the package index)
	$(BIN)/python -m pip install --quiet uv
	printf 'torch ; python_version < "3"\n' > $(VENV)/no-torch.txt
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate --python-version 3.11 --override $(VENV)/no-torch.txt --extra tune --extra serve --extra documents --extra postgres --extra text-metrics -o requirements.lock pyproject.toml requirements-build.in
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate --python-version 3.11 --override $(VENV)/no-torch.txt --extra tune --extra serve --extra documents --extra postgres --extra text-metrics --extra test -c requirements.lock -o requirements-test.lock pyproject.toml requirements-build.in requirements-test.in
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate --python-version 3.11 --override $(VENV)/no-torch.txt --extra tune --extra serve --extra documents --extra postgres --extra text-metrics --extra test --extra bench -c requirements-test.lock -o requirements-bench.lock pyproject.toml requirements-build.in requirements-test.in

clean:                          ## everything that make has made
	rm -rf $(VENV) licence-desk build dist src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
