"""The types of the package, as mypy --strict sees them in the program of a user."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.timeout(240)
def test_a_program_of_a_user(tmp_path: Path) -> None:
    """mypy accepts the right lines, and finds each mistake that is marked."""
    program = ROOT / "tests" / "pages" / "typed" / "user.py"
    command = [sys.executable, "-m", "mypy", "--strict", "--python-version", "3.10"]
    command += ["--cache-dir", str(ROOT / ".mypy_cache"), "--config-file", os.devnull, str(program)]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=230,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert program.read_text().count("# type: ignore[") > 20
