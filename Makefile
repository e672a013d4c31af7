# Tasks of a developer; `make setup` comes first.

VENV ?= .venv
PYTHON ?= $(if $(wildcard $(VENV)/bin/python),$(VENV)/bin/python,python3)

.PHONY: setup build test test-debug test-slow lint types floors bench peers-setup peers demo-model clean

setup:  ## a virtual environment with everything in it
	python3 -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet -e '.[dev]'

build:  ## compile the Cython modules where they stand
	$(PYTHON) setup.py --quiet build_ext --inplace

test:
	$(PYTHON) -m pytest -m "not slow and not gpu"

SCHEDULING_TESTS := $(addprefix tests/unit/test_,block_pool.py prefix_cache.py scheduler.py core.py) \
	tests/fuzz/test_scheduling.py tests/fuzz/test_engine.py

test-debug:  ## what runs Cython modules, with Cython's checks on, then the ordinary build again
	LITE_CYTHON_DEBUG=1 $(PYTHON) setup.py --quiet build_ext --inplace
	$(PYTHON) -m pytest -m "not slow and not gpu" $(SCHEDULING_TESTS); \
	status=$$?; $(PYTHON) setup.py --quiet build_ext --inplace && exit $$status

test-slow:
	$(PYTHON) -m pytest -m slow

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

types:
	$(PYTHON) -m mypy

floors:  ## who may import whom
	$(dir $(shell command -v $(PYTHON)))lint-imports --no-logo

bench:
	$(PYTHON) -m benchmarks.scheduler
	$(PYTHON) -m benchmarks.kernels --model
	$(PYTHON) -m benchmarks.attention
	$(PYTHON) -m benchmarks.cold_start
	$(PYTHON) -m benchmarks.memory

peers-setup:  ## environments of other engines, and weights in their formats; an hour or so
	$(PYTHON) -m benchmarks.peers setup

peers:  ## this engine beside others in the same run, on an idle machine; hours
	$(PYTHON) -m benchmarks.peers run
	$(PYTHON) -m benchmarks.peers serve

DEMO := build/demo
DEMO_PYTHON := $(DEMO)/venv/bin/python

demo-model:  ## train the bundled model again, and evaluate it: over an hour; goes on where it stopped
	test -x $(DEMO_PYTHON) || python3 -m venv $(DEMO)/venv
	$(DEMO_PYTHON) -m pip install --quiet -e . -r tools/demo_model/requirements.txt
	test -e $(DEMO)/data/summary.json || $(DEMO_PYTHON) -m tools.demo_model.data $(DEMO)/data
	$(DEMO_PYTHON) -m tools.demo_model.train $(DEMO)/data $(DEMO)/run
	$(DEMO_PYTHON) -m tools.demo_model.export $(DEMO)/data $(DEMO)/run lite/assets/demo
	$(DEMO_PYTHON) -m tools.demo_model.card $(DEMO)/data $(DEMO)/run lite/assets/demo
	$(PYTHON) -m tools.docs_examples --write

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	rm -f lite/scheduling/*.c lite/scheduling/*.so
