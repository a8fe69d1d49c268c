"""Builds `cno.engine._libcno`: every file of csrc/ behind the declarations of the public headers.

The declarations that cffi wants are the headers themselves, with what is not C taken out of them,
so that no prototype and no constant is written a second time.
"""

import re
import sys
from glob import glob
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parent.parent

# In the order in which they may mention each other.
HEADERS = ("version.h", "common.h", "hpack.h", "core.h", "batch.h")

# States that the compiled classes share with Python.
STATES = "cno/engine/states.h"

COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
CONSTANT = re.compile(r"#define\s+(CNO_\w+)(?<!_STRING)\s+\S")
ATTRIBUTE = re.compile(r"__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)")
PRIVATE = re.compile(r"^(?!struct cno__\w+ \{)[^\n;{}]*\bcno__\w+\([^;{}]*\);\n", re.MULTILINE)


def declarations(header: str) -> str:
    """Turns the text of one header into what cffi understands.

    Conditional parts are for C++ and for compiler extensions and are dropped whole, as are the
    functions with a private name. An object-like macro `CNO_*` has to be an integer constant, or be
    called `CNO_*_STRING`: then it is dropped too.
    """
    kept = []
    depth = 0
    for line in COMMENT.sub("", header).splitlines():
        if line.startswith(("#if", "#endif")):
            depth += 1 if line.startswith("#if") else -1
        elif depth == 0 and not line.startswith("#"):
            kept.append(line.rstrip())
        elif depth == 0 and (constant := CONSTANT.match(line)):
            kept.append(f"#define {constant[1]} ...")
    text = ATTRIBUTE.sub("", "\n".join(kept) + "\n")
    return re.sub(r"\n{3,}", "\n\n", PRIVATE.sub("", text))


def make_builder(root: Path) -> FFI:
    """The cffi builder for the sources under `root`; raises OSError when a header is missing."""
    headers = [*(root / "csrc" / name for name in HEADERS), root / STATES]
    builder = FFI()
    builder.cdef("\n".join(declarations(header.read_text()) for header in headers))
    builder.set_source(
        "cno.engine._libcno",
        "".join(f'#include "{name}"\n' for name in (*HEADERS, Path(STATES).name)),
        # setuptools wants names relative to setup.py.
        sources=sorted(glob("csrc/**/*.c", root_dir=root, recursive=True)),
        include_dirs=["csrc", "cno/engine"],
        depends=[
            *sorted(glob("csrc/**/*.h", root_dir=root, recursive=True)),
            STATES,
            "tools/ffi_build.py",
        ],
        extra_compile_args=(
            ["/O2", "/std:c11"]
            if sys.platform == "win32"
            else ["-O2", "-fvisibility=hidden", "-std=c11"]
        ),
    )
    return builder


ffibuilder = make_builder(ROOT)
