# Needs Python >= 3.11 with pip; everything else goes into .venv.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# Two test workers on two cores: one BLAS thread each, or they get in each other's way.
export OMP_NUM_THREADS ?= 1
# SciPy's part of the array API, without which scikit-learn's checks of it are left out.
export SCIPY_ARRAY_API ?= 1

.PHONY: help demo test test-fast tests-oldest docs release-check coverage bench bench-full bench-quick campaign reproduce lint format clean

help:
	@echo "make demo    train on the diabetes data beside MLPRegressor, with a picture"
	@echo "make test    style and type checks and the test suite"
	@echo "make test-fast  the tests but the slow ones, in less than two minutes"
	@echo "make tests-oldest  the same on the oldest versions of what the package needs"
	@echo "make docs    the site: docs/_build/html/index.html"
	@echo "make release-check  build sdist and wheel, install and test each"
	@echo "make coverage  the test suite, and which lines it does not reach"
	@echo "make bench-quick  count the work of a few fits against committed figures"
	@echo "make bench   small benchmarks beside rivals: benchmarks/results/quick/report.md"
	@echo "make bench-full  all of them: benchmarks/results/full/report.md"
	@echo "make campaign  some 2000 varied fits, every bound held against known networks"
	@echo "make reproduce  the experiments of the seed papers: a report in benchmarks/results"
	@echo "make lint    style and type checks alone"
	@echo "make format  put the code into the style"
	@echo "make clean   remove .venv and everything generated"

demo: $(READY)
	$(BIN)/python -m sklearn_convexrelu

test: lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

# Leaves out what tests/slow.txt names: mostly scikit-learn's checks of estimators,
# cross-validation, the examples and bounds of sub-networks.
test-fast: $(READY)
	$(BIN)/python -m pytest -n 2 -m "not slow"

tests-oldest:
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --constraint tests/oldest.txt --editable '.[test,plot]'
	.venv-oldest/bin/python -m pytest -n 2 -m "not slow"

# From nothing each time: a page of a name that is gone, or of an example that ran on
# another state of the package, would stay.
docs: $(READY)
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	rm -rf docs/_build docs/api docs/auto_examples docs/results
	$(BIN)/python -m sphinx -W --keep-going -q -b html -d docs/_build/doctrees docs docs/_build/html
	SITE=docs/_build/html $(BIN)/python -m pytest -q tests/test_site.py
	@echo "docs/_build/html/index.html"

release-check:
	PYTHON=$(PYTHON) .ci/release-check

# Apart from `test`: on Python 3.11 tracing adds half as much time again.
coverage: $(READY)
	$(BIN)/python -m pytest -n 2 --cov --cov-report=term

bench-quick: $(READY)
	$(BIN)/python -m benchmarks.counts

bench: $(READY)
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	$(BIN)/python -m benchmarks

bench-full: $(READY)
	$(BIN)/python -m pip install --quiet --editable '.[bench,reproduce]'
	$(BIN)/python -m benchmarks --full

campaign: $(READY)
	$(BIN)/python -m benchmarks.campaign

reproduce: $(READY)
	$(BIN)/python -m pip install --quiet --editable '.[reproduce]'
	$(BIN)/python -m benchmarks.seed_papers

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python >= 3.11 is needed: make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[test,plot]'
	@touch $@

clean:
	rm -rf .venv .venv-oldest docs/_build docs/api docs/auto_examples docs/results .hypothesis .mypy_cache .pytest_cache .ruff_cache .coverage build dist *.egg-info
	rm -f convex_relu_convergence.png
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
