"""docs/python.md: the programs run, and the commands print what is printed below them.

Each ```python block is run on top of those before it; a ```console block is for the `handle` that
is the last one then.
"""

import asyncio
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import tool
from wire import soon

import cno
import cno.server

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "python.md").read_text()
SERVER = TEXT.partition("\n## The server\n")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"^```(python|console)\n(.*?)^```$", SERVER, re.DOTALL | re.MULTILINE)


def commands(block: str) -> list[tuple[str, str]]:
    """What is typed and what is printed."""
    parts = re.split(r"^\$ (.*)\n", block, flags=re.MULTILINE)
    assert parts[0] == ""
    return list(zip(parts[1::2], parts[2::2], strict=True))


async def printed(command: str, handle: Any) -> str:
    """Of a command whose port 8000 is that of a server."""
    loop = asyncio.get_running_loop()
    group = cno.ServerGroup(loop)
    make = lambda: cno.Server(loop, handle, group=group)  # noqa: E731
    listener = await loop.create_server(make, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    command = command.replace(":8000", f":{port}").replace("curl ", "curl -sS ")
    run = {"shell": True, "cwd": ROOT, "stdout": subprocess.PIPE, "text": True}
    done = await loop.run_in_executor(None, lambda: subprocess.run(command, **run))
    listener.close()
    await group.drain(0.0)
    return done.stdout.replace("\r", "")


def test_the_server() -> None:
    space: dict[str, Any] = {"__name__": "docs"}
    ran = 0
    for kind, block in BLOCKS:
        if kind == "python":
            exec(compile(block, "docs/python.md", "exec"), space)
            continue
        for command, output in commands(block):
            tool(command.split()[0])
            assert asyncio.run(soon(printed(command, space["handle"]))) == output, command
            ran += 1
    assert ran >= 8

    async def serve_and_stop() -> None:
        stop = asyncio.Event()
        stop.set()
        await soon(space["serve"](stop))

    with pytest.MonkeyPatch.context() as patch:
        real = asyncio.BaseEventLoop.create_server
        patch.setattr(
            asyncio.BaseEventLoop,
            "create_server",
            lambda loop, make, host, _: real(loop, make, host, 0),
        )
        asyncio.run(serve_and_stop())


def test_the_options_are_all_there() -> None:
    listed = set(re.findall(r"^\| `(\w+)` \| .* \| .* \|$", SERVER, re.MULTILINE))
    assert set(cno.server.ServerOptions.__annotations__) == listed
