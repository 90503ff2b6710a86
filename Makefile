# Two commands: `make demo` shows what Beholder does, `make test` runs what CI runs.
# Both create their own virtual environment; VENV=folder puts it elsewhere.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# Modules are compiled when they are first imported: most of those that come along never are.
PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt
# Installed as users get it, so that a file missing from the package shows up here.
SOURCES := pyproject.toml setup.py constraints.txt $(shell find src -type f -not -path '*/__pycache__/*' -not -path '*.egg-info/*')

# Programs that the tests start import torch and Keras in 3 and 6 seconds, but in 5 and 15 without bytecode.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test types-and-documents suite docs fuzz clean

demo: $(VENV)/demo.stamp
	$(BIN)/beholder demo

test: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(MAKE) --no-print-directory --jobs 2 types-and-documents suite

# Beside the tests, whose workers are seldom both busy until the end.
types-and-documents: $(VENV)/test.stamp
	$(BIN)/mypy
	$(BIN)/mkdocs build --quiet --strict

# Three for two processors: one often waits for a browser or for a process that it began.
suite: $(VENV)/test.stamp | $(VENV)/compiled.stamp
	$(BIN)/python -m pytest -n 3 --dist loadgroup

# Workers that begin at once would each compile all that they import.
$(VENV)/compiled.stamp: | $(VENV)/test.stamp
	$(BIN)/python -m pytest --collect-only --quiet >/dev/null || true  # the tests say what is wrong
	touch $@

# The documentation site, in site/.
docs: $(VENV)/test.stamp
	$(BIN)/mkdocs build --strict

# An hour of damaged files against every reader; what it learns stays in fuzz-corpus/.
fuzz: $(VENV)/test.stamp
	$(BIN)/python scripts/fuzz.py --minutes 60 --corpus fuzz-corpus

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# setuptools would pack what an earlier build left in build/.
$(VENV)/demo.stamp: $(SOURCES) | $(VENV)/bin/python
	rm -rf build
	$(PIP_INSTALL) '.[bpg]'
	touch $@

$(VENV)/test.stamp: $(SOURCES) | $(VENV)/bin/python
	rm -rf build
	$(PIP_INSTALL) '.[dev]'
	touch $@ $(VENV)/demo.stamp

clean:
	rm -rf $(VENV) build demo-output site
