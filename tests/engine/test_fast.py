"""cno/engine/fast.py: the compiled module is found, turned off, or missing with a reason."""

import os
import platform
import subprocess
import sys

import pytest

from cno.engine import fast

SAY = "from cno.engine import fast; print(fast.MODULE is None, fast.WHY_NOT)"


def said(program: str, **environment: str) -> str:
    """The output of a Python program."""
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


@pytest.mark.skipif(platform.python_implementation() != "CPython", reason="for CPython only")
def test_the_module_is_there() -> None:
    assert fast.MODULE is not None
    assert fast.WHY_NOT == ""


def test_the_variable_turns_it_off() -> None:
    assert said(SAY, CNO_NO_EXTENSIONS="1") == "True CNO_NO_EXTENSIONS is set"


def test_a_module_that_cannot_be_imported_is_a_reason() -> None:
    hide = "import sys; sys.modules['cno.engine._fast'] = None; "
    assert said(hide + SAY).startswith("True cno.engine._fast cannot be imported: ")
