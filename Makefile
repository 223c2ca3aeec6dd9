# Everything needs only Python >= 3.11 and make. PYTHON=python3.13 chooses another interpreter, for a fresh .venv.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
COWBOOK := $(VENV)/bin/cowbook
PROMETHEUS := .cache/prometheus
DEMO := build/demo
MINUTES := 10
KILLS := 200
WORKERS := 3
COVERED := tests/unit/book tests/unit/input tests/unit/venues
SEARCH := slow or hypothesis or random
PREFIX ?= /usr/local
# Tests wait, too: on two cores three workers take a tenth less time than two.
# The tests of a file run in one worker, since they share what is dear; files begin in their order, in which small ones come last.
PYTEST = $(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
FAST := not slow and not system and not long
PYTEST_FAST = $(PY) -m pytest -n $(WORKERS) --dist worksteal -m '$(FAST)'
# Says how many seconds a target took, whatever came of it.
TIMED = started=$$(date +%s); trap 'echo "make $@: $$(($$(date +%s) - started)) s"' EXIT;

# Tests start hundreds of processes: where this is set, each one compiles all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup run check test test-venues test-unit test-slow test-all lint prometheus bench bench-checkpoints bench-symbols bench-lifecycle bench-following memory bounds crash crash-objects crash-proof crash-rotations soak install uninstall captures clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit("Python >= 3.11 is needed: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml
	$(PY) -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[dev,bench]'
	@touch $@

setup: $(VENV)/.installed-dev ## make .venv with all that development needs, and compile the kernels
	$(COWBOOK) warm

$(DEMO)/cowbook.toml:
	@mkdir -p $(DEMO)
	@printf '[[symbol]]\nname = "BTCUSDT"\nformat = "binance"\npaths = ["BTCUSDT.jsonl.gz"]\n' > $@

$(DEMO)/BTCUSDT.jsonl.gz: $(wildcard daemon/cowbook/simulate/*.py) | $(DEMO)/cowbook.toml
	@rm -f $@
	$(COWBOOK) simulate --symbol BTCUSDT --messages 60000 --gaps 1 --seed 1 $@

run: $(VENV)/.installed ## simulate a capture of over 2M events and reconstruct it
	@$(COWBOOK) warm --format binance
	@$(MAKE) --no-print-directory $(DEMO)/BTCUSDT.jsonl.gz
	@rm -rf $(DEMO)/data $(DEMO)/state
	$(COWBOOK) run $(DEMO)/cowbook.toml --once

check: $(VENV)/.installed-dev ## format, lint, types and the fast tests: what to run after each change
	@$(TIMED) mkdir -p build; \
	$(VENV)/bin/mypy >build/mypy.log 2>&1 & types=$$!; \
	$(VENV)/bin/ruff format --check -q . && $(VENV)/bin/ruff check -q . && $(PYTEST_FAST) tests/unit; tested=$$?; \
	wait $$types; typed=$$?; tail -n 50 build/mypy.log; \
	test $$tested = 0 && test $$typed = 0

test: $(VENV)/.installed-dev ## run all tests that are not slow, with fixed seeds
	@$(TIMED) $(PYTEST) -m 'not slow'

test-venues: $(VENV)/.installed-dev ## the long tests of every venue, with all samples; ten minutes
	@$(TIMED) COWBOOK_TEST_VENUES=all $(PYTEST) -m 'not slow' tests/integration

test-unit: $(VENV)/.installed-dev ## run the unit tests alone
	@$(TIMED) $(PYTEST_FAST) tests/unit

test-slow: $(VENV)/.installed-dev ## run the slow tests, and search at random: COWBOOK_TEST_SEED= SEARCH=
	@$(TIMED) HYPOTHESIS_PROFILE=$${HYPOTHESIS_PROFILE:-search} $(PYTEST) -m '$(SEARCH)'

test-all: ## run the tests on every Python >= 3.11 that is found
	@found=; for python in $$(ls $(HOME)/.pyenv/versions/*/bin/python 2>/dev/null) \
	  $$(for minor in 11 12 13 14 15; do command -v python3.$$minor; done); do \
	  version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
	  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  case " $$found " in *" $$version "*) continue;; esac; found="$$found $$version"; \
	  echo "== Python $$version"; \
	  $(MAKE) --no-print-directory test PYTHON=$$python VENV=.venvs/$$version || exit 1; \
	done; echo "passed on:$$found"

lint: $(VENV)/.installed-dev ## ruff and mypy --strict
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

prometheus: ## fetch Debian's Prometheus for the tests, into .cache; nothing is installed
	@if test -x $(PROMETHEUS)/usr/bin/prometheus; then exit 0; fi; \
	if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then \
	  echo 'no apt-get here: tests with a real Prometheus are skipped unless prometheus and promtool are in PATH or $$COWBOOK_PROMETHEUS_DIR'; \
	  exit 0; fi; \
	rm -rf $(PROMETHEUS).new && mkdir -p $(PROMETHEUS).new && cd $(PROMETHEUS).new && fetch='apt-get -q -o APT::Sandbox::User=root download prometheus'; \
	$$fetch || { if test $$(id -u) = 0; then apt-get -q update && $$fetch; else echo 'apt-get cannot find it: sudo apt-get update' >&2; false; fi; } \
	  && dpkg -x prometheus_*.deb . && rm prometheus_*.deb && rm -rf $(CURDIR)/$(PROMETHEUS) && mv $(CURDIR)/$(PROMETHEUS).new $(CURDIR)/$(PROMETHEUS)

.PHONY: venues
venues: $(VENV)/.installed-dev ## make docs/venues.md anew, the table of what each venue can prove
	@cd tests && ../$(PY) -m support.capabilities

.PHONY: coverage compare copies
coverage: $(VENV)/.installed-dev ## coverage of book and input by unit tests, from kernels that run uncompiled
	@mkdir -p build
	@$(TIMED) NUMBA_DISABLE_JIT=1 COVERAGE_FILE=build/coverage $(PYTEST_FAST) -q -W ignore::RuntimeWarning \
	  --cov=daemon/cowbook/book --cov=daemon/cowbook/input $(COVERED)

compare: $(VENV)/.installed-dev ## hold output and checkpoints against another checkout: OTHER=path
	$(PY) tests/compare/versions.py $(OTHER)

copies: $(VENV)/.installed-dev ## join copies with losses of what every venue sends, at 20 random seeds each: ten minutes
	@$(TIMED) $(PY) tests/compare/copies.py

# The peers on the newest Python that is here: on an old one pip installs old ones, which are slower.
NEWEST = $(shell for minor in 13 12 11; do for python in $(HOME)/.pyenv/versions/3.$$minor.*/bin/python python3.$$minor; do \
  $$python -c 'import sys; print(sys.executable)' 2>/dev/null && exit; done; done)
BENCH_VENV := build/bench-venv

$(BENCH_VENV)/.installed: pyproject.toml
	$(or $(NEWEST),$(PYTHON)) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[bench]' pandas
	@$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check nautilus_trader || echo "the ladder is measured alone"
	@touch $@

.PHONY: bench-table bench-freezes
bench-table: $(BENCH_VENV)/.installed ## the first table of docs/benchmarks.md; its line of history, and the chart of all
	$(BENCH_VENV)/bin/python tests/bench/run.py --history docs/benchmarks.jsonl
	$(BENCH_VENV)/bin/python tests/bench/chart.py docs/benchmarks.jsonl docs/benchmarks.svg

bench-freezes: $(VENV)/.installed-dev ## how long checkpoints stop a daemon that follows a growing file
	$(PY) tests/bench/freezes.py

bench: bench-table $(VENV)/.installed-dev ## speed, as ratios against what people use today, and what checkpoints cost
	$(PY) tests/bench/encoding.py
	$(PY) tests/bench/freezes.py
	$(PY) tests/bench/texts.py
	$(PY) tests/bench/tables.py
	$(PY) tests/bench/instant.py
	$(PY) tests/bench/replay.py --pandas $(BENCH_VENV)/bin/python
	$(PY) tests/bench/checkpoints.py
	$(PY) tests/bench/slowdown.py

bench-symbols: $(VENV)/.installed-dev ## many symbols in one process: recovery, two cores, memory, lag of the event loops
	$(PY) tests/bench/symbols.py

bench-checkpoints: $(VENV)/.installed-dev ## only what checkpoints cost
	$(PY) tests/bench/checkpoints.py
	$(PY) tests/bench/slowdown.py

memory: $(VENV)/.installed-dev ## peak memory of reconstructing a 1 GB capture
	$(PY) tests/bench/memory.py

bounds: $(VENV)/.installed-dev ## peak memory of inputs that were made to take all of it; some minutes
	$(PY) tests/bench/bounds.py

bench-lifecycle: $(VENV)/.installed-dev ## start, reload and stop of 200 symbols, in turn with another checkout: OTHER=path
	$(PY) tests/bench/lifecycle.py $(if $(OTHER),--other $(OTHER))

crash: $(VENV)/.installed-dev ## kill it everywhere, cut the power everywhere, fail every call: an hour; SEED= takes other venues
	$(PY) tests/crash/crash.py $(if $(SEED),--seed $(SEED))

crash-rotations: $(VENV)/.installed-dev ## kill it under rotation of several venues' files: KILLS=200
	$(PY) tests/crash/crash.py --only rotations --kills $(KILLS)

crash-objects: $(VENV)/.installed-dev ## kill it at every request to object storage, and fail each in every way; SEED= EVERY=10
	$(PY) tests/crash/crash.py --only objects --every $(or $(EVERY),1) $(if $(SEED),--seed $(SEED))

bench-following: $(VENV)/.installed-dev ## what following costs, in turn with another checkout: OTHER=path
	$(PY) tests/bench/following.py $(if $(OTHER),--other $(OTHER))

.PHONY: ray
ray: $(VENV)/.installed-dev ## kill nodes of a Ray cluster on this machine; needs the extra (pip install -e '.[ray]') and root: KILLS=10
	$(PY) tests/crash/machines.py --bar 10 $(if $(filter file,$(origin KILLS)),,--kills $(KILLS))

crash-proof: $(VENV)/.installed-dev ## put old faults back, one by one: the campaigns must find each within a minute
	$(PY) tests/crash/proof.py

soak: $(VENV)/.installed-dev ## the service under growth, rotation, signals and kills; MINUTES=10
	$(PY) tests/soak/long_soak.py --minutes $(MINUTES)

install: $(VENV)/.created ## install for the whole system, with systemd units: PREFIX=/usr/local DESTDIR= INTERPRETER=
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' PIP='$(PY) -m pip' \
	  INTERPRETER="$${INTERPRETER:-$$($(PY) -c 'import os, sys; print(os.path.realpath(sys._base_executable))')}" \
	  CACHE_TAG="$$($(PY) -c 'import sys; print(sys.implementation.cache_tag)')" systemd/install.sh install

uninstall: ## remove what `make install` has made
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' systemd/install.sh uninstall

captures: $(VENV)/.installed-dev ## reconstruct the recorded captures beside the checkout, if they are there
	$(PY) tests/bench/captures.py
	$(PY) tests/bench/venues.py

.PHONY: shell-files
shell-files: $(VENV)/.installed-dev ## write the shells' completions and the man page anew, after a change of the command line
	$(PY) config/shell/generate.py

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $@

.PHONY: site
site: $(VENV)/.installed-docs ## build the documentation's site into build/site/html; warnings are errors
	@$(TIMED) $(PY) docs/site/build.py

.PHONY: package
package: $(VENV)/.installed-dev ## build the wheel and the source distribution into build/dist
	@rm -rf build/dist build/lib build/bdist.* && mkdir -p build/dist
	@$(PY) -c "import setuptools.build_meta as b; b.build_sdist('build/dist'); b.build_wheel('build/dist')" >build/package.log 2>&1 \
	  || { tail -n 50 build/package.log; exit 1; }
	@ls build/dist

.PHONY: picture
picture: $(VENV)/.installed-dev ## draw docs/known-depth.svg anew, from a recorded capture beside the checkout
	$(PY) tests/bench/known_depth.py

clean: ## remove everything that was made
	rm -rf $(VENV) .venvs build .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis daemon/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
