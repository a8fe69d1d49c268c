"""Builds the extension module `cno.engine._libcno` from csrc/, with cffi.

cffi needs the declarations of the functions that Python calls. They are the text of the public
headers without the parts that cffi cannot read, so that no prototype and no constant is written a
second time.
"""

import re
import sys
from glob import glob
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parent.parent

# Each header may use the declarations of those in front of it.
HEADERS = ("version.h", "common.h", "hpack.h", "core.h", "ws.h", "batch.h")

# The states that compiled classes and Python classes share.
STATES = "cno/engine/states.h"

COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
CONSTANT = re.compile(r"#define\s+(CNO_\w+)(?<!_STRING)\s+\S")
ATTRIBUTE = re.compile(r"__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)")
PRIVATE = re.compile(r"^(?!struct cno__\w+ \{)[^\n;{}]*\bcno__\w+\([^;{}]*\);\n", re.MULTILINE)


def declarations(header: str) -> str:
    """Returns the declarations of a header as cffi understands them.

    Parts between #if and #endif are for C++ and for compiler extensions, and are dropped, as are
    functions with a private name. An object-like macro `CNO_*` must be an integer constant, except
    `CNO_*_STRING`, which is dropped.
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
    """Returns the cffi builder for the sources in `root`. Raises OSError for a missing header."""
    headers = [*(root / "csrc" / name for name in HEADERS), root / STATES]
    builder = FFI()
    builder.cdef("\n".join(declarations(header.read_text()) for header in headers))
    builder.set_source(
        "cno.engine._libcno",
        "".join(f'#include "{name}"\n' for name in (*HEADERS, Path(STATES).name)),
        # setuptools requires paths relative to setup.py.
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
