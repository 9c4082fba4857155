# make demo: tokenize a photograph. make test: lint, types, tests. Each sets up .venv by itself, at once when nothing changed.
# The demo's packages are installed without bytecode: Python then compiles the few modules that it imports.
PYTHON ?= python3.11
BIN := .venv/bin
SETUP := pyproject.toml constraints.txt

.PHONY: demo test test-long lint clean

demo: .venv/base.stamp
	$(BIN)/subobject tokenize examples/photos/coffee.png -o demo --max-tokens 100 --overlay
	$(BIN)/subobject decode demo -o demo
	@echo "Look at demo/coffee.overlay.png (segments) and demo/coffee.decoded.png (the photograph again, from 100 vectors)."

test: .venv/dev.stamp lint
	$(BIN)/python -m pytest

test-long: .venv/dev.stamp
	$(BIN)/python -m pytest -m "long or not long"

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/base.stamp: $(SETUP) | .venv/bin/python
	$(BIN)/python -m pip install -q --no-compile -c constraints.txt -e .
	touch $@

.venv/dev.stamp: $(SETUP) | .venv/bin/python
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev]"
	touch $@ .venv/base.stamp

clean:
	rm -rf .venv demo
