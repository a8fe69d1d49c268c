# The tasks of the repository. `make run` and `make test` need nothing but python3 with venv, make and
# a C compiler; they install everything else into .venv.

PYTHON ?= python3
PORT ?= 8000
CFLAGS ?= -O2 -g
WARNINGS = -std=c11 -Wall -Wextra -Werror -Wshadow
# Includes are written from csrc/, as in "h2/h2.h". Programs that check the engine are built with
# CNO__CHECKED: what must never happen, such as an illegal change of a stream's state, aborts there.
INCLUDES = -Icsrc
CHECKED = $(INCLUDES) -DCNO__CHECKED
SANITIZE = -g -O1 -std=c11 $(CHECKED) -fsanitize=address,undefined -fno-sanitize-recover=all \
	-fno-omit-frame-pointer

VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(sort $(wildcard csrc/*.c csrc/*/*.c))
HEADERS := $(sort $(wildcard csrc/*.h csrc/*/*.h))
TESTS_C := $(sort $(wildcard tests/c/test_*.c))
GENERATED := csrc/hpack/tables.h
FAST := $(sort $(wildcard cno/engine/*.[ch]))
EXAMPLES_C := $(sort $(wildcard examples/*.c))
FORMATTED := $(filter-out $(GENERATED),$(SOURCES) $(HEADERS)) $(FAST) $(EXAMPLES_C) \
	$(wildcard tests/c/*.[ch] tests/fuzz/*.[ch])

OBJECTS := $(SOURCES:csrc/%.c=obj/%.o)
OBJECTS_SHARED := $(SOURCES:csrc/%.c=obj/shared/%.o)
OBJECTS_SAN := $(SOURCES:csrc/%.c=obj/san/%.o)
PROGRAMS_C := $(TESTS_C:tests/c/%.c=obj/san/%)

# The folders of `make install`. DESTDIR is put in front of each folder and is not written into files.
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
HEADERS_PUBLIC := version.h common.h hpack.h core.h ws.h batch.h
version_part = $(shell sed -n 's/^.define CNO_VERSION_$(1) //p' csrc/version.h)
MAJOR := $(call version_part,MAJOR)
MINOR := $(call version_part,MINOR)
VERSION := $(MAJOR).$(MINOR).$(call version_part,PATCH)
# Before 1.0 every minor version may change the binary interface.
SONAME := libcno.so.$(if $(filter 0,$(MAJOR)),0.$(MINOR),$(MAJOR))
SHARED := obj/libcno.so.$(VERSION)

# Fuzzing. A target is tests/fuzz/fuzz_NAME.c, and starts with the inputs in tests/fuzz/corpus/NAME.
TARGETS_FUZZ := $(sort $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c)))
HEADERS_FUZZ := $(sort $(wildcard tests/fuzz/*.h))
FUZZ_SECONDS ?= 10
FUZZ_FLAGS ?= -max_len=1000 -timeout=30
REPLAYS := $(TARGETS_FUZZ:%=obj/san/replay_%)

# The test programs without sanitizers: once for valgrind, once with counters for coverage.
PROGRAMS_PLAIN := $(TESTS_C:tests/c/%.c=obj/plain/%) $(TARGETS_FUZZ:%=obj/plain/replay_%)
PROGRAMS_GCOV := $(TESTS_C:tests/c/%.c=obj/gcov/%) $(TARGETS_FUZZ:%=obj/gcov/replay_%)
OBJECTS_PLAIN := $(SOURCES:csrc/%.c=obj/plain/%.o)
OBJECTS_GCOV := $(SOURCES:csrc/%.c=obj/gcov/%.o)
PLAIN = -g -O1 -std=c11 $(CHECKED)
GCOV = -g -O0 -std=c11 $(CHECKED) --coverage

.PHONY: all install uninstall examples run test test-c test-py soak lint lint-py lint-types lint-c \
	lint-c-style format bench bench-client bench-engine \
	tools clean fuzz coverage valgrind fast-san \
	$(TARGETS_FUZZ:%=fuzz-%)
.SECONDARY: $(OBJECTS_SAN) $(OBJECTS_SHARED) $(OBJECTS_PLAIN) $(OBJECTS_GCOV)
.DELETE_ON_ERROR:

all: obj/libcno.a

# ---- the engine --------------------------------------------------------------------------------

obj/libcno.a: $(OBJECTS)
	rm -f $@
	$(AR) qcs $@ $(OBJECTS)

obj/%.o: csrc/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -std=c11 $(INCLUDES) -fPIC -fvisibility=hidden -MMD -MP -c $< -o $@

obj/san/%.o: csrc/%.c
	@mkdir -p $(@D)
	$(CC) $(SANITIZE) -MMD -MP -c $< -o $@

obj/san/test_%: tests/c/test_%.c $(OBJECTS_SAN) | obj/san
	$(CC) $(SANITIZE) -MMD -MP $< $(OBJECTS_SAN) -o $@

# Without -fvisibility=hidden, unlike the archive: csrc/libcno.map lists the exported symbols.
obj/shared/%.o: csrc/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -std=c11 $(INCLUDES) -fPIC -fno-semantic-interposition -MMD -MP -c $< -o $@

$(SHARED): $(OBJECTS_SHARED) csrc/libcno.map
	$(CC) $(CFLAGS) $(LDFLAGS) -shared -Wl,-soname,$(SONAME) -Wl,-z,defs \
		-Wl,--version-script=csrc/libcno.map $(OBJECTS_SHARED) -o $@

obj/san/replay_%: tests/fuzz/fuzz_%.c tests/fuzz/replay.c $(HEADERS_FUZZ) $(OBJECTS_SAN) | obj/san
	$(CC) $(SANITIZE) $< tests/fuzz/replay.c $(OBJECTS_SAN) -o $@

obj/san obj/examples obj/fuzz obj/plain obj/gcov:
	@mkdir -p $@

# Lets programs include <cno/core.h> without an installation.
obj/include/cno:
	@mkdir -p obj/include
	ln -sfn ../../csrc $@

examples: $(EXAMPLES_C:examples/%.c=obj/examples/%)
	@echo "Try:"
	@echo "  obj/examples/server 8080"
	@echo "and from another terminal:"
	@echo "  curl -i http://127.0.0.1:8080/"
	@echo "  curl -i --http2-prior-knowledge -d hello http://127.0.0.1:8080/count"
	@echo "  obj/examples/client 2 127.0.0.1 8080 /count README.md"
	@echo "  nghttp -nv http://127.0.0.1:8080/bytes/1000000"

obj/examples/%: examples/%.c obj/libcno.a | obj/examples obj/include/cno
	$(CC) $(CFLAGS) -std=c11 -Iobj/include $< obj/libcno.a -o $@

obj/san/example_%: examples/%.c $(OBJECTS_SAN) | obj/san obj/include/cno
	$(CC) $(SANITIZE) -Iobj/include $< $(OBJECTS_SAN) -o $@

-include $(OBJECTS:.o=.d) $(OBJECTS_SHARED:.o=.d) $(OBJECTS_SAN:.o=.d) $(PROGRAMS_C:=.d)

# ---- the library, installed --------------------------------------------------------------------

install: obj/libcno.a $(SHARED)
	install -d "$(DESTDIR)$(INCLUDEDIR)/cno" "$(DESTDIR)$(LIBDIR)/pkgconfig"
	install -m 644 $(HEADERS_PUBLIC:%=csrc/%) "$(DESTDIR)$(INCLUDEDIR)/cno"
	install -m 644 obj/libcno.a "$(DESTDIR)$(LIBDIR)"
	install -m 755 $(SHARED) "$(DESTDIR)$(LIBDIR)"
	ln -sf libcno.so.$(VERSION) "$(DESTDIR)$(LIBDIR)/$(SONAME)"
	ln -sf $(SONAME) "$(DESTDIR)$(LIBDIR)/libcno.so"
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' \
		-e 's|@LIBDIR@|$(LIBDIR:$(PREFIX)/%=$${prefix}/%)|' \
		-e 's|@INCLUDEDIR@|$(INCLUDEDIR:$(PREFIX)/%=$${prefix}/%)|' csrc/libcno.pc.in \
		> "$(DESTDIR)$(LIBDIR)/pkgconfig/libcno.pc"
	@[ -n "$(DESTDIR)" ] || echo "If the loader does not look in $(LIBDIR) by itself: ldconfig $(LIBDIR)"

uninstall:
	rm -f $(HEADERS_PUBLIC:%="$(DESTDIR)$(INCLUDEDIR)/cno/%")
	-rmdir "$(DESTDIR)$(INCLUDEDIR)/cno"
	rm -f "$(DESTDIR)$(LIBDIR)/pkgconfig/libcno.pc" "$(DESTDIR)$(LIBDIR)/libcno.a" \
		"$(DESTDIR)$(LIBDIR)/libcno.so" "$(DESTDIR)$(LIBDIR)/$(SONAME)" \
		"$(DESTDIR)$(LIBDIR)/libcno.so.$(VERSION)"

# ---- the environment ---------------------------------------------------------------------------
# The package is installed in editable form, so that only a change of C code needs a new build.

BASE := $(VENV)/.base
ENGINE := $(VENV)/.engine
TESTENV := $(VENV)/.test

$(BASE): pyproject.toml
	@tools/need.sh "$$($(PYTHON) -c 'import sysconfig as s; print(s.get_path("include"))')/Python.h=python3-dev"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q "setuptools>=77" "cffi>=1.17"
	@touch $@

$(ENGINE): $(BASE) $(SOURCES) $(HEADERS) $(FAST) tools/ffi_build.py setup.py pyproject.toml
	$(BIN)/python -m pip install -q --no-build-isolation -e .
	@touch $@

$(TESTENV): $(BASE) requirements-test.txt
	$(BIN)/python -m pip install -q -r requirements-test.txt
	@touch $@

run: $(ENGINE)
	@echo "Try, from another terminal:"
	@echo "  curl -i http://127.0.0.1:$(PORT)/"
	@echo "  curl -i --http2-prior-knowledge http://127.0.0.1:$(PORT)/"
	@echo "  curl -N http://127.0.0.1:$(PORT)/stream"
	@echo "  curl -T README.md http://127.0.0.1:$(PORT)/upload-size"
	@$(BIN)/cno-asgi hello:app --app-dir examples --port $(PORT)

# ---- checks ------------------------------------------------------------------------------------

test: test-c test-py

test-c: $(PROGRAMS_C) $(REPLAYS)
	@set -e; for program in $(PROGRAMS_C); do echo "$$program"; ./$$program; done
	@set -e; for target in $(TARGETS_FUZZ); do \
		echo "obj/san/replay_$$target"; obj/san/replay_$$target tests/fuzz/corpus/$$target; \
	done

# An honest client with 5,000,000 requests on one connection (half a minute), then the tests of load, of
# the life of connections and of large bodies at full size.
soak: obj/san/test_soak $(ENGINE) $(TESTENV)
	./obj/san/test_soak 5000000
	CNO_SOAK=1 $(BIN)/python -m pytest -rP tests/e2e/test_load.py tests/e2e/test_lives.py \
		tests/e2e/test_bulk.py

test-py: $(ENGINE) $(TESTENV)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: lint-py lint-types lint-c lint-c-style

lint-py: $(TESTENV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

FAST_FLAGS = -DPy_LIMITED_API=0x030A0000 -D_POSIX_C_SOURCE=200809L -Icsrc -Icno/engine -isystem \
	$(shell $(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("include"))')

# mypy needs the package and its dependencies installed, or it treats their types as Any.
lint-types: $(TESTENV) $(ENGINE)
	$(BIN)/mypy --strict cno

lint-c: $(BASE) obj/include/cno
	@tools/need.sh gcc=gcc clang=clang
	@set -e; for source in $(SOURCES) $(EXAMPLES_C); do \
		echo "gcc, clang: $$source"; \
		gcc $(WARNINGS) $(INCLUDES) -Iobj/include -O2 -c $$source -o /dev/null; \
		clang $(WARNINGS) $(INCLUDES) -Iobj/include -fsyntax-only $$source; \
	done
	@set -e; for source in $(filter %.c,$(FAST)); do \
		echo "gcc, clang: $$source"; \
		gcc $(WARNINGS) $(FAST_FLAGS) -O2 -c $$source -o /dev/null; \
		clang $(WARNINGS) $(FAST_FLAGS) -fsyntax-only $$source; \
	done

lint-c-style:
	@tools/need.sh clang-format=clang-format
	clang-format --dry-run -Werror $(FORMATTED)

format: $(TESTENV)
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	clang-format -i $(FORMATTED)

# Installs the clients, servers and compilers that tests and checks use where these are present.
tools:
	@tools/need.sh gcc=gcc g++=g++ make=make pkg-config=pkg-config curl=curl openssl=openssl \
		nghttp=nghttp2-client /usr/sbin/nghttpd=nghttp2-server /usr/sbin/nginx=nginx-light \
		/usr/sbin/haproxy=haproxy \
		clang=clang clang-format=clang-format llvm-symbolizer=llvm \
		"/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a=libclang-rt-dev"

# ---- proofs ------------------------------------------------------------------------------------

obj/fuzz/%: tests/fuzz/fuzz_%.c $(HEADERS_FUZZ) $(SOURCES) $(HEADERS) | obj/fuzz
	@tools/need.sh clang=clang \
		"/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a=libclang-rt-dev"
	clang -g -O1 -std=c11 $(CHECKED) -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
		$< $(SOURCES) -o $@

# Runs each target for FUZZ_SECONDS. New inputs stay in obj/fuzz/found. An input that fails is written to
# obj/fuzz/TARGET-*; with its repair it goes, under a name, into tests/fuzz/corpus/TARGET.
fuzz: $(TARGETS_FUZZ:%=fuzz-%)

$(TARGETS_FUZZ:%=fuzz-%): fuzz-%: obj/fuzz/%
	@mkdir -p obj/fuzz/found/$* tests/fuzz/corpus/$*
	ASAN_OPTIONS=quarantine_size_mb=8 nice obj/fuzz/$* -max_total_time=$(FUZZ_SECONDS) -verbosity=0 -print_final_stats=1 $(FUZZ_FLAGS) \
		-artifact_prefix=obj/fuzz/$*- obj/fuzz/found/$* tests/fuzz/corpus/$*

# Counts the lines and branches that the C tests and the corpus reach.
obj/gcov/%.o: csrc/%.c $(HEADERS)
	@mkdir -p $(@D)
	$(CC) $(GCOV) -c $< -o $@
obj/gcov/test_%: tests/c/test_%.c $(OBJECTS_GCOV) | obj/gcov
	$(CC) $(GCOV) $< $(OBJECTS_GCOV) -o $@
obj/gcov/replay_%: tests/fuzz/fuzz_%.c tests/fuzz/replay.c $(HEADERS_FUZZ) $(OBJECTS_GCOV) | obj/gcov
	$(CC) $(GCOV) $< tests/fuzz/replay.c $(OBJECTS_GCOV) -o $@

coverage:
	@tools/need.sh gcc=gcc gcov=gcc
	rm -rf obj/gcov
	$(MAKE) --no-print-directory $(PROGRAMS_GCOV)
	@set -e; for program in $(TESTS_C:tests/c/%.c=obj/gcov/%); do ./$$program >/dev/null; done
	@set -e; for target in $(TARGETS_FUZZ); do \
		obj/gcov/replay_$$target tests/fuzz/corpus/$$target >/dev/null; \
	done
	$(PYTHON) tools/coverage.py $(COVERAGE_ARGS)

# Runs the C tests and the corpus under memcheck, which must find no error and no leak.
obj/plain/%.o: csrc/%.c $(HEADERS)
	@mkdir -p $(@D)
	$(CC) $(PLAIN) -c $< -o $@
obj/plain/test_%: tests/c/test_%.c $(OBJECTS_PLAIN) | obj/plain
	$(CC) $(PLAIN) $< $(OBJECTS_PLAIN) -o $@
obj/plain/replay_%: tests/fuzz/fuzz_%.c tests/fuzz/replay.c $(HEADERS_FUZZ) $(OBJECTS_PLAIN) | obj/plain
	$(CC) $(PLAIN) $< tests/fuzz/replay.c $(OBJECTS_PLAIN) -o $@

MEMCHECK = valgrind -q --error-exitcode=9 --leak-check=full --show-leak-kinds=all \
	--errors-for-leak-kinds=all

valgrind: $(PROGRAMS_PLAIN)
	@tools/need.sh valgrind=valgrind /usr/lib/debug/.build-id=libc6-dbg
	@set -e; for program in $(TESTS_C:tests/c/%.c=obj/plain/%); do \
		echo "$$program"; $(MEMCHECK) ./$$program; \
	done
	@set -e; for target in $(TARGETS_FUZZ); do \
		echo "obj/plain/replay_$$target"; \
		$(MEMCHECK) obj/plain/replay_$$target tests/fuzz/corpus/$$target; \
	done

# Runs the tests of the compiled classes with sanitizers in these. What CPython itself keeps is no leak.
fast-san: $(ENGINE) $(TESTENV)
	rm -rf obj/fast && mkdir -p obj/fast && cp -r cno obj/fast
	$(CC) $(SANITIZE) $(FAST_FLAGS) -shared -fPIC $(filter %.c,$(FAST)) -o obj/fast/cno/engine/_fast.abi3.so
	LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libubsan.so)" \
		ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc PYTHONPATH=obj/fast $(BIN)/pytest -o timeout=0 \
		tests/process/test_compiled.py tests/process/test_twins.py \
		tests/process/test_twins_cases.py tests/gateway/test_asgi_send.py

# ---- measurements ------------------------------------------------------------------------------

bench: $(ENGINE)
	@tools/need.sh wrk=wrk h2load=nghttp2-client
	$(BIN)/python benchmarks/bench.py $(BENCH_ARGS)
	$(BIN)/python benchmarks/clients.py $(CLIENT_ARGS)

bench-client: $(ENGINE)
	$(BIN)/python benchmarks/clients.py $(CLIENT_ARGS)

bench-engine: $(BASE) obj/libcno.a
	@tools/need.sh valgrind=valgrind /usr/include/nghttp2/nghttp2.h=libnghttp2-dev
	$(BIN)/python benchmarks/engine/run.py $(BENCH_ARGS)

clean:
	rm -rf obj build dist $(VENV) *.egg-info cno/engine/*.so
	rm -rf .hypothesis .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
