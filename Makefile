# make run: the server, from this checkout.  make test: everything that can fail, tried.
# Both need python3 (3.11 or newer) with its venv module, and a C compiler; nothing else.

PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
# setuptools warns of every editable install that it is one.
INSTALL = PYTHONWARNINGS=ignore $(BIN)/pip install --quiet
SOURCES = $(wildcard csrc/*) build_ext.py setup.py pyproject.toml client/pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help run test soak lint sanitize clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' $(MAKEFILE_LIST)

$(VENV)/made:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fastlog needs Python 3.11 or newer; name one: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	touch $@

$(VENV)/installed: $(VENV)/made $(SOURCES)
	$(INSTALL) --editable client --editable .
	touch $@

$(VENV)/test: $(VENV)/installed
	$(INSTALL) --editable client --editable '.[test]'
	touch $@

$(VENV)/lint: $(VENV)/test
	$(INSTALL) --editable client --editable '.[test,lint]'
	touch $@

run: $(VENV)/installed ## start the server on 127.0.0.1:9020, with its data in ./fastlog-data
	$(BIN)/fastlog-server

test: $(VENV)/test ## the whole suite
	$(BIN)/pytest

soak: $(VENV)/test ## the long tests, for SOAK_MINUTES (default 10)
	SOAK_MINUTES=$(or $(SOAK_MINUTES),10) $(BIN)/pytest -m soak --timeout 0

lint: $(VENV)/lint ## ruff, mypy --strict, clang-format, and the C compiler's warnings as errors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/ruff check client
	$(BIN)/ruff format --check client
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror csrc/*.c csrc/*.h tests/*.c
	for file in csrc/*.c; do \
	  $(CC) -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -O2 -fsyntax-only $$file || exit 1; done

# The suite once more, against a build with AddressSanitizer and UndefinedBehaviorSanitizer, in a
# copy of the tree, so that the two builds do not get in each other's way. Python leaks at exit, hence
# no leak check. Its own allocator hides over-reads of small objects: the tests that feed the C code
# directly go without it first; for all of them that would take an hour.
SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1 -g
SANITIZED = env LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libubsan.so)" \
  ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=16 UBSAN_OPTIONS=print_stacktrace=1
sanitize: ## the suite under ASan and UBSan
	rm -rf build/sanitize && mkdir -p build/sanitize
	git ls-files -z | xargs -0 cp --parents -t build/sanitize
	CFLAGS='$(SANITIZE)' LDFLAGS='-fsanitize=address,undefined' \
	  $(MAKE) -C build/sanitize PYTHON='$(abspath $(shell command -v $(PYTHON)))' VENV=.venv .venv/test
	cd build/sanitize && $(SANITIZED) PYTHONMALLOC=malloc .venv/bin/pytest tests/test_framer.py tests/test_loop.py
	cd build/sanitize && $(SANITIZED) .venv/bin/pytest

clean: ## forget what was built
	rm -rf $(VENV) build dist *.egg-info fastlog/*.so
