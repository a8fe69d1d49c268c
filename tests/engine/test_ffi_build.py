"""tools/ffi_build.py: the compiled binding has what the public headers declare."""

import re
import runpy
from pathlib import Path

import pytest

from cno.engine._libcno import ffi, lib

ROOT = Path(__file__).resolve().parent.parent.parent

builder = runpy.run_path(str(ROOT / "tools" / "ffi_build.py"), run_name="builder")

SOURCE = "\n".join((ROOT / "csrc" / name).read_text() for name in builder["HEADERS"])

CODE = builder["COMMENT"].sub("", SOURCE)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\b(cno_[a-z]\w*)\(", CODE))))
def test_every_public_function_is_there(name: str) -> None:
    assert hasattr(lib, name)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"^\s+(CNO_\w+) = ", CODE, re.MULTILINE))))
def test_every_constant_is_there(name: str) -> None:
    assert isinstance(getattr(lib, name), int)


def test_macros_are_constants_too() -> None:
    assert (lib.CNO_OK, lib.CNO_ERROR) == (0, -1)


def test_private_functions_are_not() -> None:
    assert not [name for name in dir(lib) if name.startswith("cno__")]


def test_structures_have_their_real_size() -> None:
    assert ffi.sizeof("struct cno_connection_t") > ffi.sizeof("struct cno_hpack_t") * 2


def test_what_is_not_c_is_taken_out() -> None:
    text = (
        '#pragma once\n#ifdef __cplusplus\nextern "C" {\n#endif\n#define CNO_A 1 // one\n'
        "int cno_f(int); /* two\nlines */\n__attribute__((format(printf, 1, 2)))\n"
        "int cno_g(const char *,\n          ...);\nint cno__private(int,\n  int);\n"
        "struct cno__kept {\n    int a;\n};\n"
    )
    lines = [line.strip() for line in builder["declarations"](text).splitlines() if line.strip()]
    assert lines == [
        "#define CNO_A ...",
        "int cno_f(int);",
        "int cno_g(const char *,",
        "...);",
        "struct cno__kept {",
        "int a;",
        "};",
    ]
