# Set-up and checks. `make demo` and `make test` work on a fresh checkout; everything they install
# goes to $(VENV). Another Python: `make demo PYTHON=python3.12`.

PYTHON ?= python3
VENV ?= .venv
DATA ?= data/valid
BIN := $(VENV)/bin
OLDEST := $(addprefix tests/,model transforms filtering audio pretrained predict test_utils.py)
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check docs ray scores tables wheel lite oldest smoke site clean

help:  ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

demo: $(VENV)/.demo  ## Separate a real song with the bundled model, and score the result
	$(BIN)/python scripts/demo.py

test: check  ## Run all checks, then the tests
	$(BIN)/python -m pytest -m "not slow and not browser and not ray" --numprocesses auto \
		--maxprocesses 4 --dist loadfile
	$(BIN)/python -m pytest -m browser tests/web

check: $(VENV)/.tests  ## Check style, types, imports and docstrings
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/check_docstrings.py

docs: $(VENV)/.docs  ## Build the documentation site in build/docs, and check its links
	rm -rf build/docs build/doctrees docs/gallery
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -d build/doctrees docs build/docs
	$(BIN)/python scripts/check_links.py build/docs

ray:  ## Test umx-catalogue on Ray clusters, in an environment of its own
	rm -rf build/ray
	$(PYTHON) -m venv build/ray
	build/ray/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[ray]' \
		pytest hypothesis
	build/ray/bin/python -m pytest -m ray tests/catalogue

scores: $(if $(wildcard $(DATA)),$(VENV)/.package)  ## Score the bundled models on DATA, into docs/data
	@if [ -d "$(DATA)" ]; then $(BIN)/python scripts/update_scores.py "$(DATA)"; else \
		echo "$(DATA): no such folder of songs; give one with stems: make scores DATA=FOLDER"; fi

tables: $(VENV)/.package  ## Fill the tables of the documentation from docs/data, and the model cards
	$(BIN)/python scripts/tables.py
	$(BIN)/python scripts/model_cards.py

wheel: $(VENV)/.package  ## Build dist/*.whl
	rm -rf build/lib build/bdist.* dist
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

lite:  ## Build the light package, install it where there is no torch, and run its tests
	rm -rf build/lite
	$(PYTHON) -m venv build/lite
	build/lite/bin/python -m pip install --quiet --constraint constraints.txt ./lite
	! build/lite/bin/python -c 'import torch' 2>/dev/null
	build/lite/bin/python -m pip install --quiet --target build/lite/tests pytest
	cd build/lite && PYTHONPATH=tests bin/python -m pytest -q -c ../../lite/pyproject.toml ../../lite/tests

# Peaks of memory depend on the version of torch, and torch 2.4 warns of how it unpickles itself.
oldest:  ## Run the tests of the core with the oldest versions that pyproject.toml allows
	rm -rf build/oldest
	$(PYTHON) -m venv build/oldest
	build/oldest/bin/python -m pip install --quiet uv
	build/oldest/bin/python -m uv pip install --quiet --python build/oldest/bin/python \
		--resolution lowest-direct --editable '.[onnx]' 'pytest>=8.2' 'pytest-xdist>=3.6' \
		'hypothesis>=6.100' 'norbert>=0.2.1'
	build/oldest/bin/python -m pytest -m "not slow and not browser" --numprocesses auto \
		--maxprocesses 4 --dist loadfile --ignore tests/predict/test_stream_memory.py \
		-W 'ignore:You are using `torch.load` with:FutureWarning' $(OLDEST)

smoke: wheel  ## Install the wheel into a new environment, and use it from another folder
	rm -rf build/smoke
	$(PYTHON) -m venv build/smoke
	build/smoke/bin/python -m pip install --quiet --constraint constraints.txt dist/*.whl
	build/smoke/bin/python scripts/smoke.py

site: $(VENV)/.onnx  ## Build the page that separates in the browser, into build/site (needs npm)
	rm -rf build/site
	cd browser && npm ci --silent --no-fund --no-audit && npm run --silent build
	$(BIN)/python browser/build.py
	@echo 'Try it: python3 -m http.server --directory build/site'

clean:  ## Remove everything that was made, the environment too
	rm -rf $(VENV) build dist demo docs/gallery browser/node_modules *.egg-info .pytest_cache \
		.mypy_cache .ruff_cache .hypothesis .import_linter_cache

# Each stamp says that an installation is complete; it is done again when the pins change.
$(VENV)/.package: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and \
		"Open-Unmix needs Python 3.10 or newer: make PYTHON=/path/to/python3.10")'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.tests: $(VENV)/.package
	$(INSTALL) --editable '.[tests]'
	@touch $@

$(VENV)/.docs: $(VENV)/.demo
	$(INSTALL) --editable '.[docs]'
	@touch $@

$(VENV)/.onnx: $(VENV)/.package
	$(INSTALL) --editable '.[onnx]'
	@touch $@

# Only the song in stempeg is used. Importing it takes an ffmpeg program, hence no dependencies.
$(VENV)/.demo: $(VENV)/.package
	$(INSTALL) --no-deps stempeg
	@touch $@
