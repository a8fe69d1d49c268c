"""The one thing that pyproject.toml cannot say: how the extension modules are built."""

import platform
import sysconfig
from glob import glob

from setuptools import Extension, setup

cpython = platform.python_implementation() == "CPython"

# One wheel serves every CPython from 3.10 on, except the builds without a global lock.
limited_api = cpython and not sysconfig.get_config_var("Py_GIL_DISABLED")

# Only makes things faster, and only there.
fast = Extension(
    "cno.engine._fast",
    sources=sorted(glob("cno/engine/*.c")),
    include_dirs=["csrc", "cno/engine"],
    depends=[*glob("csrc/**/*.h", recursive=True), *glob("cno/engine/*.h")],
    define_macros=[("Py_LIMITED_API", "0x030A0000")] if limited_api else [],
    extra_compile_args=[
        "-O2",
        "-fvisibility=hidden",
        "-std=gnu11",
        "-Werror=implicit-function-declaration",
    ],
    py_limited_api=limited_api,
    optional=True,
)

setup(
    cffi_modules=["tools/ffi_build.py:ffibuilder"],
    ext_modules=[fast] if cpython else [],
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if limited_api else {},
)
