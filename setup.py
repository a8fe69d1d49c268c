"""The one thing that pyproject.toml cannot say: how the extension module is built."""

import platform
import sysconfig

from setuptools import setup

# One wheel serves every CPython from 3.10 on, except the builds without a global lock.
limited_api = platform.python_implementation() == "CPython" and not sysconfig.get_config_var(
    "Py_GIL_DISABLED"
)

setup(
    cffi_modules=["tools/ffi_build.py:ffibuilder"],
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if limited_api else {},
)
