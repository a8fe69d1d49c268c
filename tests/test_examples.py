"""examples/: each is served by the command in the first line of its own docstring."""

import ast
import shlex
import urllib.request
from pathlib import Path

import pytest
from servers import PATIENCE, running

ROOT = Path(__file__).resolve().parent.parent

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_printed_command_serves_it(example: Path) -> None:
    for package in ("starlette", "django", "fastapi"):
        if example.stem.startswith(package):
            pytest.importorskip(package)
    first = (ast.get_docstring(ast.parse(example.read_text())) or "").splitlines()[0]
    command, *arguments = shlex.split(first)
    if command == "python":
        program = (arguments.pop(0),)
    else:
        assert command == "cno-asgi"
        program = ("-m", "cno")
    with running(*arguments, "--port", "0", cwd=ROOT, program=program) as server:
        with urllib.request.urlopen(server.ready(), timeout=PATIENCE) as response:
            assert response.status == 200
            assert b"Hello" in response.read()
        assert server.stop() == 0
