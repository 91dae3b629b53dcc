# Everything a newcomer needs: `make demo`, `make test`, `make lint`.
PYTHON ?= python3
# Where none is named, uv looks for one that fits, and fetches it if there is none.
UV_TAKES := $(if $(filter file,$(origin PYTHON)),$(shell sed -n 's/^python_requires = //p' setup.cfg),$(PYTHON))
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-all notebook backends lint format clean install

install: $(STAMP)

# Reinstalls only when the requirements change. A new environment that cannot be finished is removed,
# because the next `make` would take it as it is.
$(STAMP): setup.cfg pyproject.toml
	@test -d $(VENV) || { trap 'test -e $@ || rm -rf $(VENV)' EXIT; trap 'exit 130' INT TERM; }; \
	if command -v uv >/dev/null 2>&1; then \
		{ test -d $(VENV) || uv venv --python '$(UV_TAKES)' $(VENV); } && \
		uv pip install --python $(BIN)/python -e '.[test]'; \
	else \
		{ test -d $(VENV) || { $(PYTHON_FITS) && $(PYTHON) -m venv $(VENV); }; } && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'; \
	fi && touch $@

PYTHON_FITS = { $(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	{ echo "Python 3.11 to 3.13 is needed, $(PYTHON) is none; name one: make install PYTHON=python3.12" >&2; false; }; }

demo: $(STAMP)
	@$(BIN)/python -m examples.demo --output-dir demo

# A process a core; the files of tests stay whole, because they share what is dear to make, and are
# begun in the order of tests/conftest.py.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations 15

test: $(STAMP)
	$(PYTEST)

test-all: $(STAMP)
	$(PYTEST) -m "slow or not slow" --hypothesis-profile others

# The notebook of the examples, from its first cell to its last.
notebook: $(STAMP)
	$(BIN)/python -m pytest -m slow tests/test_walkthrough.py

# Network, losses and scores on JAX, which this installs, beside TensorFlow.
backends: $(STAMP)
	@if command -v uv >/dev/null 2>&1; then \
		uv pip install --python $(BIN)/python -e '.[jax]'; \
	else \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[jax]'; \
	fi
	$(BIN)/python -m pytest -m slow tests/landcover_tf/models/test_backends.py

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf demo build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
