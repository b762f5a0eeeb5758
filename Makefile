# make run: the server, from this checkout.  make test: everything that can fail, tried.
# Both need python3 (3.11 or newer) with its venv module, and a C compiler; nothing else.

PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
# setuptools warns of every editable install that it is one.
INSTALL = PYTHONWARNINGS=ignore $(BIN)/pip install --quiet
SOURCES = $(wildcard csrc/*.h csrc/*/*) build_ext.py setup.py pyproject.toml client/pyproject.toml

# An installed package has its bytecode. Without it each command of the tests and benchmarks would compile
# all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test package soak fuzz libfuzzer lint sanitize coverage mutants page pictures costliest bench questions clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' $(MAKEFILE_LIST)

$(VENV)/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fastlog needs Python 3.11 or newer; name one: make PYTHON=python3.12")'
	@echo 'Making a virtual environment in $(VENV) …'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --upgrade pip
	@touch $@

$(VENV)/installed: $(VENV)/made $(SOURCES)
	@echo 'Compiling and installing fastlog …'
	@$(INSTALL) --editable client --editable '.[web]'
	@touch $@

$(VENV)/test: $(VENV)/installed
	@echo 'Installing what the tests need …'
	@$(INSTALL) --editable client --editable '.[test]'
	@touch $@

$(VENV)/lint: $(VENV)/test
	@echo 'Installing the linters …'
	@$(INSTALL) --editable client --editable '.[test,lint]'
	@touch $@

$(VENV)/bench: $(VENV)/installed
	@echo 'Installing what the benchmarks need …'
	@$(INSTALL) --editable client --editable '.[bench]'
	@touch $@

run: $(VENV)/installed ## start the server on 127.0.0.1:9020, with its data in ./fastlog-data
	@printf '%s\n' 'Ctrl-C stops the server. While it runs, type these two lines in another terminal:' '' \
	  "  cd '$(CURDIR)' && $(BIN)/fastlog send hello" '  $(BIN)/fastlog query' '' \
	  'Or look at its page: open http://127.0.0.1:9080 in a browser.' ''
	@$(BIN)/fastlog-server --web http://127.0.0.1:9080

# Tests wait more than they compute, so six run at a time on two cores; three, where they are
# instrumented and compute more. A hanging test ends its process, and fails.
PARALLEL = -n 3 --dist worksteal
test: $(VENV)/test ## the whole suite, or what PYTEST_ARGS selects
	$(BIN)/pytest -n 6 --dist worksteal $(PYTEST_ARGS)

package: $(VENV)/test ## source packages and wheels of server and client in ./dist, each tried in a new environment
	rm -rf dist
	PACKAGE_DIR=dist $(BIN)/pytest -m package tests/system/test_package.py $(PYTEST_ARGS)

soak: $(VENV)/test ## the long tests, for SOAK_MINUTES (default 10)
	SOAK_MINUTES=$(or $(SOAK_MINUTES),10) $(BIN)/pytest -m soak --timeout 0 -o faulthandler_timeout=0

# libFuzzer comes with clang. Without it the same targets run under a driver of our own, which mutates
# the corpus and does not look at what it reaches; gcc has the sanitizers, leaks among them.
FUZZ_SECONDS ?= 60
FUZZ_JOBS ?= 2
FUZZ_FLAGS = -std=c11 -D_GNU_SOURCE -g -O1 -Icsrc -fno-omit-frame-pointer -fno-sanitize-recover=all
FUZZ_TARGETS = framer translator session protocol
FUZZ_framer = $(wildcard csrc/framer/*.c)
FUZZ_translator = $(wildcard csrc/translate/*.c csrc/framer/*.c)
FUZZ_session = $(wildcard csrc/protocol/*.c)
FUZZ_protocol = $(wildcard csrc/*/*.c)
fuzz: ## the C code against any input, each of its targets for FUZZ_SECONDS (default 60)
	@rm -rf build/fuzz && mkdir -p $(FUZZ_TARGETS:%=build/fuzz/%-found)
	@if $(MAKE) --silent libfuzzer 2>/dev/null; then with=clang; else with=driver; \
	  echo 'no clang with libFuzzer (Debian: clang and libclang-rt-dev): using tests/fuzz/driver.c'; fi; \
	  $(MAKE) --no-print-directory --jobs=$(FUZZ_JOBS) --output-sync $(FUZZ_TARGETS:%=fuzz-$$with-%)

libfuzzer:
	echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' | clang -fsanitize=fuzzer -x c - -o /dev/null

fuzz-clang-%:
	clang $(FUZZ_FLAGS) -fsanitize=fuzzer,address,undefined tests/fuzz/fuzz_$*.c $(FUZZ_$*) -o build/fuzz/$*
	build/fuzz/$* -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=build/fuzz/$*- \
	  build/fuzz/$*-found tests/fuzz/corpus/$* 2>build/fuzz/$*.log || { tail -n 50 build/fuzz/$*.log; exit 1; }
	@tail -n 1 build/fuzz/$*.log

fuzz-driver-%:
	$(CC) $(FUZZ_FLAGS) -fsanitize=address,undefined tests/fuzz/driver.c tests/fuzz/fuzz_$*.c $(FUZZ_$*) -o build/fuzz/$*
	cp tests/fuzz/corpus/$*/* build/fuzz/$*-found
	ASAN_OPTIONS=abort_on_error=1 UBSAN_OPTIONS=abort_on_error=1:print_stacktrace=1 \
	  build/fuzz/$* $(FUZZ_SECONDS) build/fuzz/$*-found

lint: $(VENV)/lint ## ruff, mypy --strict, clang-format, and the C compiler's warnings as errors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/ruff check client
	$(BIN)/ruff format --check client
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror csrc/*.h csrc/*/*.[ch] tests/support/*.c tests/fuzz/*.[ch] benchmarks/*/*.[ch]
	for file in csrc/*/*.c benchmarks/*/*.c; do \
	  $(CC) -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -O2 -Icsrc -fsyntax-only $$file || exit 1; done

# A copy of the tree, so that two builds do not get in each other's way. It has the packages of $(VENV),
# but for its own fastlog and fastlog_client: to install all of them once more would take a minute.
define copy_of_tree
	rm -rf build/$@ && mkdir -p build/$@
	git ls-files -z | xargs -0 cp --parents -t build/$@
	$(BIN)/python -m venv --without-pip build/$@/.venv
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >build/$@/packages.pth
	mv build/$@/packages.pth "$$(build/$@/.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
endef

# The suite once more, against a build with AddressSanitizer and UndefinedBehaviorSanitizer. Python leaks
# at exit, hence no leak check. Its own allocator hides over-reads of small objects: the tests that feed
# the C code directly go without it; for all of them that would take an hour. Left out are unit tests that
# call no C of ours (or compile it anew, without sanitizers), and of the system tests all but those that
# send something unusual, or much, to a server.
DIRECT = $(filter-out $(WITHOUT_C),$(wildcard $(patsubst %,tests/unit/test_%.py,framer translator_* loop_*)))
WITHOUT_C = $(wildcard $(patsubst %,tests/unit/test_%.py, \
    architecture bounded_counter bulk_search chunk_memory cli_* config_* consistency console_sink day_search \
    files fuzz grouping handshake_* inert_* journal_queue ledger_* life* logging_sink loss_notices migrate \
    mutants ndjson_* normal payload postgres_retention postgres_search postgres_trigrams progress_page query_* \
    recent_counts record retention sqlite_* totals translator_folder zones))
SERVERS = $(wildcard $(patsubst %,tests/system/test_%.py, \
    abuse amplification flood lossless_network protocol* reload stock_clients))
SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1 -g
SANITIZED = env LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libubsan.so)" \
  ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=16 UBSAN_OPTIONS=print_stacktrace=1
sanitize: $(VENV)/test ## the suite under ASan and UBSan
	$(copy_of_tree)
	cd build/sanitize && CFLAGS='$(SANITIZE)' LDFLAGS='-fsanitize=address,undefined' PYTHONWARNINGS=ignore \
	  $(abspath $(BIN))/pip --python .venv/bin/python install --quiet --no-deps --editable client --editable .
	cd build/sanitize && $(SANITIZED) PYTHONMALLOC=malloc .venv/bin/python -m pytest $(PARALLEL) $(DIRECT) $(PYTEST_ARGS)
	cd build/sanitize && $(SANITIZED) .venv/bin/python -m pytest $(PARALLEL) tests/unit $(SERVERS) \
	  $(DIRECT:%=--ignore=%) $(WITHOUT_C:%=--ignore=%) $(PYTEST_ARGS)

# Branches of Python and lines of C that the suite runs, in a copy of the tree. The C module is compiled
# in place: pip would compile it in a folder of its own, in which gcov could not find its notes.
COVERED = CFLAGS='--coverage -O1 -g -fprofile-update=atomic' LDFLAGS='--coverage'
coverage: ## branch coverage of Python, and line coverage of C
	rm -rf build/coverage && mkdir -p build/coverage
	git ls-files -z | xargs -0 cp --parents -t build/coverage
	$(MAKE) -C build/coverage PYTHON='$(abspath $(shell command -v $(PYTHON)))' VENV=.venv .venv/test
	cd build/coverage && .venv/bin/pip install --quiet 'coverage>=7.10' gcovr cffi 'setuptools>=77'
	cd build/coverage && $(COVERED) .venv/bin/python setup.py -q build_ext --inplace --force
	cd build/coverage && .venv/bin/coverage run -m pytest $(PARALLEL) || echo 'Tests failed; what ran was measured:'
	cd build/coverage && .venv/bin/coverage combine -q; .venv/bin/coverage report
	cd build/coverage && .venv/bin/gcovr --root . --filter csrc/

mutants: ## break one rule of the code at a time: the tests named for it must fail
	rm -rf build/mutants && mkdir -p build/mutants
	git ls-files -z | xargs -0 cp --parents -t build/mutants
	$(MAKE) -C build/mutants PYTHON='$(abspath $(shell command -v $(PYTHON)))' VENV=.venv .venv/test
	cd build/mutants && .venv/bin/pip install --quiet cffi 'setuptools>=77'
	PYTHONPATH=tests/support $(PYTHON) tests/support/mutants.py $(MUTANTS)

# The tests of the page need Chromium: that of the system, or Playwright's. With apt, root gets it.
CHROMIUM_HERE = { command -v chromium || command -v chromium-browser || command -v google-chrome || \
  test -n "$$CHROMIUM"; } >/dev/null
GET_BY_APT = [ "$$(id -u)" = 0 ] && timeout 300 sh -c \
  'apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends chromium'
page: $(VENV)/test ## the tests of the page, in Chromium
	@$(CHROMIUM_HERE) || { echo 'Fetching Chromium …'; \
	  { { $(GET_BY_APT); } || timeout 300 $(BIN)/playwright install chromium; } >/dev/null 2>&1; } || \
	  echo 'No Chromium: tests of the page are skipped (Debian: apt-get install chromium)'
	$(BIN)/pytest -n 3 --dist worksteal -m 'page and not soak' $(PYTEST_ARGS)

pictures: $(VENV)/test ## the pictures of the page in docs/images, taken by the tests
	mkdir -p docs/images
	PICTURES=docs/images $(BIN)/pytest -n 0 -m page tests/web/test_page_pictures.py

costliest: $(VENV)/test ## search for the frames that cost the most for their length, for COSTLIEST_SECONDS (60)
	$(BIN)/python tests/support/costliest.py --seconds $(or $(COSTLIEST_SECONDS),60) $(COSTLIEST)

bench: $(VENV)/bench ## fastlog and its peers, measured; BENCH=--quick only tries that it works
	PYTHONPATH=benchmarks $(BIN)/python -m bench $(BENCH)

questions: $(VENV)/bench ## what questions to stores of one and ten million records cost; makes the stores first
	PYTHONPATH=benchmarks $(BIN)/python -m bench.questions $(QUESTIONS)

clean: ## forget what was built
	rm -rf $(VENV) build dist *.egg-info fastlog/*.so
