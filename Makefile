# partyd: `make demo` shows it, `make test` checks it. Nothing here needs root.
PYTHON ?= python3
VENV ?= .venv
DIR ?= demo
PORT ?= 9380
KILLS ?= 25
BIN := $(VENV)/bin
comma := ,
space := $(subst ,, )
TEST_EXTRAS := demo fuzz parquet sql test
LOCK := $(wildcard requirements.lock)
TEST_LOCK := $(firstword $(wildcard requirements-test.lock) $(LOCK))
PIP_COMPILE = $(BIN)/pip-compile --quiet --generate-hashes --strip-extras --no-emit-find-links --no-emit-index-url \
  --no-emit-options --no-emit-trusted-host

.DEFAULT_GOAL := help
.PHONY: help demo test fate-client lock bench campaign campaign-short clean

help: ## Say what can be made.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1\t/' | expand -t 16

# A lock file pins every package by its hash; ours is installed beside, from this folder.
define install
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "partyd needs Python 3.11 or later: make PYTHON=python3.11 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing partyd[$(1)] into $(VENV)"
	@if test -n "$(2)"; then \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(2) && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .; \
	else \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(1)]'; \
	fi
	@touch $@
endef

$(VENV)/.demo-installed: pyproject.toml $(LOCK)
	$(call install,demo,$(LOCK))

$(VENV)/.test-installed: pyproject.toml $(TEST_LOCK)
	$(call install,$(subst $(space),$(comma),$(TEST_EXTRAS)),$(TEST_LOCK))

demo: $(VENV)/.demo-installed ## Train between two organisations on this machine; ONCE=1 ends afterwards.
	@$(BIN)/python -m partyd.cli.demo --dir $(DIR) --port $(PORT) $(if $(ONCE),--once)

test: $(VENV)/.test-installed ## Format, lint, types, layers, tests; skipped tests are named.
	@PATH="$(abspath $(BIN)):$$PATH" scripts/check

lock: $(VENV)/.test-installed ## Write the lock files anew.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-tools
	$(PIP_COMPILE) --extra=demo --output-file=requirements.lock pyproject.toml
	$(PIP_COMPILE) $(addprefix --extra=,$(TEST_EXTRAS)) --output-file=requirements-test.lock pyproject.toml

fate-client: .fate-client/.installed ## Install FATE's own client, which the tests in tests/judge drive us with.

.fate-client/.installed: tests/judge/requirements.txt
	$(PYTHON) -m venv .fate-client
	@.fate-client/bin/python -m pip install --quiet --disable-pip-version-check --no-warn-conflicts --no-deps fate-client==2.2.0
	@.fate-client/bin/python -m pip install --quiet --disable-pip-version-check --no-warn-conflicts --requirement tests/judge/requirements.txt
	@touch $@

bench: $(VENV)/.test-installed ## Measure; the figures go to docs/performance.md.
	@set -e; for each in tests/bench/bench_*.py; do echo "== $$each"; $(BIN)/python -m "tests.bench.$$(basename "$$each" .py)"; done

campaign: $(VENV)/.test-installed ## Kill, cut, flip and fuzz at length; KILLS=100 for the long run.
	$(BIN)/python -m tests.campaigns.kill --kills $(KILLS)
	$(BIN)/python -m tests.campaigns.bit_flips --flips 1000
	$(BIN)/python -m tests.campaigns.delivery_chaos --seeds 1000
	$(BIN)/python -m tests.campaigns.fuzz_api --requests 100000
	$(BIN)/python -m tests.campaigns.fuzz_config --inputs 100000
	$(BIN)/python -m tests.campaigns.fuzz_decoders --inputs 100000
	$(BIN)/python -m tests.campaigns.fuzz_wire --inputs 100000
	$(BIN)/python -m tests.campaigns.io_errors
	$(BIN)/python -m tests.campaigns.mutate_frames --frames 1000 --mutations 100000
	$(BIN)/python -m tests.campaigns.mutate_vectors --count 100000
	$(BIN)/python -m tests.campaigns.power_cut --cuts 2000

campaign-short: $(VENV)/.test-installed ## The short run of each campaign that CI makes.
	$(BIN)/python -m tests.campaigns.kill --kills 25
	$(BIN)/python -m tests.campaigns.kill --kills 10 --only broker --seed 2
	$(BIN)/python -m tests.campaigns.capture
	$(BIN)/python -m tests.campaigns.mutate_frames --frames 1000 --mutations 100000
	$(BIN)/python -m tests.campaigns.mutate_vectors --count 100000
	$(BIN)/python -m tests.campaigns.fuzz_api --requests 8000
	$(BIN)/python -m tests.campaigns.fuzz_decoders --inputs 20000
	$(BIN)/python -m tests.campaigns.fuzz_config --inputs 20000
	$(BIN)/python -m tests.campaigns.delivery_chaos --seeds 20
	$(BIN)/python -m tests.campaigns.bit_flips --flips 100
	$(BIN)/python -m tests.campaigns.power_cut --cuts 100

clean: ## Remove the virtual environment and the demo's state.
	rm -rf $(VENV) $(DIR)
