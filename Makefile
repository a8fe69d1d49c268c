# The tasks of the repository. `make run` and `make test` need nothing but python3 with venv, make and
# a C compiler; everything else that they use goes into .venv.

PYTHON ?= python3
PORT ?= 8000
CFLAGS ?= -O2 -g
WARNINGS = -std=c11 -Wall -Wextra -Werror -Wshadow
SANITIZE = -g -O1 -std=c11 -fsanitize=address,undefined -fno-sanitize-recover=all \
	-fno-omit-frame-pointer

VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(sort $(wildcard csrc/*.c))
HEADERS := $(sort $(wildcard csrc/*.h))
TESTS_C := $(sort $(wildcard tests/c/test_*.c))
GENERATED := csrc/hpack_tables.h
ACCEL := cno/_accel.c cno/_accel_request.c cno/_accel.h
EXAMPLES_C := $(sort $(wildcard examples/*.c))
FORMATTED := $(filter-out $(GENERATED),$(SOURCES) $(HEADERS)) $(ACCEL) $(EXAMPLES_C) \
	$(wildcard tests/c/*.c tests/c/*.h)

OBJECTS := $(SOURCES:csrc/%.c=obj/%.o)
OBJECTS_SHARED := $(SOURCES:csrc/%.c=obj/shared/%.o)
OBJECTS_SAN := $(SOURCES:csrc/%.c=obj/san/%.o)
PROGRAMS_C := $(TESTS_C:tests/c/%.c=obj/san/%)

# What `make install` puts where; DESTDIR stands before all of it and is written nowhere.
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
HEADERS_PUBLIC := version.h common.h hpack.h core.h batch.h
version_part = $(shell sed -n 's/^.define CNO_VERSION_$(1) //p' csrc/version.h)
MAJOR := $(call version_part,MAJOR)
MINOR := $(call version_part,MINOR)
VERSION := $(MAJOR).$(MINOR).$(call version_part,PATCH)
# Before 1.0 every minor version may change what programs were compiled against.
SONAME := libcno.so.$(if $(filter 0,$(MAJOR)),0.$(MINOR),$(MAJOR))
SHARED := obj/libcno.so.$(VERSION)

.PHONY: all install uninstall examples run test test-c test-py soak lint lint-py lint-types lint-c \
	lint-c-style format bench bench-engine tools clean
.SECONDARY: $(OBJECTS_SAN) $(OBJECTS_SHARED)
.DELETE_ON_ERROR:

all: obj/libcno.a

# ---- the engine --------------------------------------------------------------------------------

obj/libcno.a: $(OBJECTS)
	rm -f $@
	$(AR) rcs $@ $(OBJECTS)

obj/%.o: csrc/%.c | obj/san
	$(CC) $(CFLAGS) -std=c11 -fPIC -fvisibility=hidden -MMD -MP -c $< -o $@

obj/san/%.o: csrc/%.c | obj/san
	$(CC) $(SANITIZE) -MMD -MP -c $< -o $@

obj/san/test_%: tests/c/test_%.c $(OBJECTS_SAN) | obj/san
	$(CC) $(SANITIZE) -Icsrc -MMD -MP $< $(OBJECTS_SAN) -o $@

# Not hidden, as those of the archive are: csrc/libcno.map says what is exported.
obj/shared/%.o: csrc/%.c | obj/shared
	$(CC) $(CFLAGS) -std=c11 -fPIC -fno-semantic-interposition -MMD -MP -c $< -o $@

$(SHARED): $(OBJECTS_SHARED) csrc/libcno.map
	$(CC) $(CFLAGS) $(LDFLAGS) -shared -Wl,-soname,$(SONAME) -Wl,-z,defs \
		-Wl,--version-script=csrc/libcno.map $(OBJECTS_SHARED) -o $@

obj/san obj/shared obj/examples:
	@mkdir -p $@

# What programs include as <cno/core.h>, without an installation.
obj/include/cno:
	@mkdir -p obj/include
	ln -sfn ../../csrc $@

examples: $(EXAMPLES_C:examples/%.c=obj/examples/%)
	@echo "Try:"
	@echo "  obj/examples/server 8080"
	@echo "and from another terminal:"
	@echo "  curl -i http://127.0.0.1:8080/"
	@echo "  curl -i --http2-prior-knowledge -d hello http://127.0.0.1:8080/echo"
	@echo "  obj/examples/client -2 -T README.md http://127.0.0.1:8080/echo"
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
# The package is installed in editable form, so that only a change of the engine needs a new build.

BASE := $(VENV)/.base
ENGINE := $(VENV)/.engine
TESTENV := $(VENV)/.test

$(BASE): pyproject.toml
	@tools/need.sh "$$($(PYTHON) -c 'import sysconfig as s; print(s.get_path("include"))')/Python.h=python3-dev"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q "setuptools>=77" "cffi>=1.17"
	@touch $@

$(ENGINE): $(BASE) $(SOURCES) $(HEADERS) $(ACCEL) tools/ffi_build.py setup.py
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

test-c: $(PROGRAMS_C)
	@set -e; for program in $(PROGRAMS_C); do echo "$$program"; ./$$program; done

# An honest client of 5,000,000 requests on one connection; half a minute.
soak: obj/san/test_soak
	./obj/san/test_soak 5000000

test-py: $(ENGINE) $(TESTENV)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: lint-py lint-types lint-c lint-c-style

lint-py: $(TESTENV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

ACCEL_FLAGS = -DPy_LIMITED_API=0x030A0000 -Icsrc -isystem \
	$(shell $(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("include"))')

# With the package and what it imports installed, or mypy sees less.
lint-types: $(TESTENV) $(ENGINE)
	$(BIN)/mypy --strict cno

lint-c: $(BASE) obj/include/cno
	@tools/need.sh gcc=gcc clang=clang
	@set -e; for source in $(SOURCES) $(EXAMPLES_C); do \
		echo "gcc, clang: $$source"; \
		gcc $(WARNINGS) -Iobj/include -O2 -c $$source -o /dev/null; \
		clang $(WARNINGS) -Iobj/include -fsyntax-only $$source; \
	done
	@set -e; for source in $(filter %.c,$(ACCEL)); do \
		echo "gcc, clang: $$source"; \
		gcc $(WARNINGS) $(ACCEL_FLAGS) -O2 -c $$source -o /dev/null; \
		clang $(WARNINGS) $(ACCEL_FLAGS) -fsyntax-only $$source; \
	done

lint-c-style:
	@tools/need.sh clang-format=clang-format
	clang-format --dry-run -Werror $(FORMATTED)

format: $(TESTENV)
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	clang-format -i $(FORMATTED)

# Clients and compilers that the tests and the checks use when they are there.
tools:
	@tools/need.sh gcc=gcc g++=g++ make=make pkg-config=pkg-config curl=curl openssl=openssl \
		nghttp=nghttp2-client clang=clang clang-format=clang-format llvm-symbolizer=llvm \
		"/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a=libclang-rt-dev"

# ---- measurements ------------------------------------------------------------------------------

bench: $(ENGINE)
	@tools/need.sh wrk=wrk h2load=nghttp2-client
	$(BIN)/python benchmarks/bench.py $(BENCH_ARGS)

bench-engine: $(BASE) obj/libcno.a
	@tools/need.sh valgrind=valgrind /usr/include/nghttp2/nghttp2.h=libnghttp2-dev
	$(BIN)/python benchmarks/engine/run.py $(BENCH_ARGS)

clean:
	rm -rf obj build dist $(VENV) *.egg-info cno/*.so
	rm -rf .hypothesis .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
