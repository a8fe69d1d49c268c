"""The chapter "In short" of docs/python.md, which is the Python API of the first libcno: code that
was written against it runs unchanged.

The tests define the names that the code leaves to the user, and replace an Ellipsis by arguments. A
line that only names a value, as in `request.path # :: str`, is made to note the value.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pages import blocks, chapter
from wire import soon

import cno
from tools import Certificate, tool

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"

SERVER, CLIENT = (block for _, block in blocks(chapter(PAGE.read_text(), "In short")))

LINE = re.compile(r"^( *)((?:await )?[\w.]+) +# :: (\[.*\]|\S+).*", re.MULTILINE)


def told(code: str) -> str:
    """Returns the code with a call note(expression, its type in the chapter, value) for each
    value."""
    return LINE.sub(r'\1note("\2", "\3", \2)', code)


async def run(code: str, space: dict[str, Any]) -> None:
    """Runs lines of code that may await."""
    compiled = compile(code, "docs/python.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(compiled, space)
    if inspect.isawaitable(result):
        await soon(result)


class Notes:
    """The values that the lines have noted."""

    def __init__(self) -> None:
        self.types: dict[str, str] = {}
        self.values: dict[str, list[Any]] = {}

    def __call__(self, name: str, type_: str, value: Any) -> None:
        self.types[name] = type_
        self.values.setdefault(name, []).append(value)


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Certificate:
    """Makes the trust store of the system trust a certificate of example.com."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = [tool("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt"]
    make += ["ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=example.com"]
    make += ["-addext", "subjectAltName=DNS:example.com", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(make, check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    return Certificate(cert, key, key, "")


async def serve(space: dict[str, Any], example: Certificate, http2: bool) -> asyncio.Server:
    """Returns the context for TLS that the comments of the chapter describe."""
    code = SERVER[SERVER.index("# When using TLS") :]
    lines = [line.removeprefix("# ") for line in code.splitlines() if "(" in line]
    assert len(lines) == 3
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(example.cert, example.key)
    # Python no longer has NPN, and the tests have only this address.
    code = "\n".join(line for line in lines if "npn" not in line).replace(
        "'', 8000", "'127.0.0.1', 0"
    )
    loop = asyncio.get_running_loop()
    names = {**space, "ssl_context": context, "event_loop": loop}
    await run(code if http2 else code.replace("'h2', ", ""), names)
    server: asyncio.Server = names["server"]
    return server


@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("at_hand", [False, True])
@pytest.mark.parametrize("loop", ["given", "None"])
def test_the_chapter_runs(
    example: Certificate, monkeypatch: pytest.MonkeyPatch, http2: bool, at_hand: bool, loop: str
) -> None:
    real = socket.getaddrinfo

    async def main() -> None:
        running = asyncio.get_running_loop()
        note = Notes()
        space: dict[str, Any] = {
            "cno": cno,
            "note": note,
            "event_loop": running if loop == "given" else None,
            "all_data_is_available": at_hand,
            "max_buffered_chunks": 2,
        }
        await run(told(SERVER), space)
        server = await serve(space, example, http2)
        port = server.sockets[0].getsockname()[1]

        def lookup(host: Any, *more: Any, **options: Any) -> Any:
            if host == "example.com":
                host, more = "127.0.0.1", (port, *more[1:])
            return real(host, *more, **options)

        monkeypatch.setattr(socket, "getaddrinfo", lookup)
        code = told(CLIENT.replace("example.com/path', ...)", "example.com/path')"))
        await run(code, space)
        assert space["response"].code == 200
        assert await soon(space["response"].payload.read()) == b"!!!\n"
        await soon(space["response"].conn.wait_closed())
        assert type(space["client"]) is cno.Client

        # The alternatives in the comments.
        declining = code[
            code.index("client = await") : code.index("response = await client.request('POST'")
        ]
        declining = re.sub(r"note\(.await push.*\n *# or ", "", declining)
        assert "    push.cancel()" in declining
        await run(declining, space)
        channel = cno.Channel(1)
        posting = asyncio.create_task(space["client"].request("POST", "/whatever", [], channel))
        await soon(channel.put(b"payload"))
        channel.close()
        assert (await soon(posting)).code == 200
        space["client"].close()
        server.close()
        check(note, running, http2)

    asyncio.run(main())


def check(note: Notes, loop: asyncio.AbstractEventLoop, http2: bool) -> None:
    """Every value has the type that the chapter says."""
    pushes = {"push.method", "push.path", "push.headers", "await push.response"}
    assert set(note.types) == {
        *(f"request.{name}" for name in ("method", "path", "headers", "conn", "payload")),
        *(f"client.{name}" for name in ("loop", "transport", "is_http2", "scheme", "authority")),
        *(f"response.{name}" for name in ("code", "headers", "payload")),
        *(pushes if http2 else ()),
    }
    for name, values in note.values.items():
        for value in values:
            match note.types[name]:
                case "[(str, str)]":
                    assert {(type(k), type(v)) for k, v in value} <= {(str, str)}
                case "asyncio.BaseEventLoop":
                    assert value is loop
                case written:
                    kind = eval(
                        written,
                        {"asyncio": asyncio, "cno": cno, "str": str, "int": int, "bool": bool},
                    )
                    assert isinstance(value, kind), name
    assert note.values["client.is_http2"][0] is http2
    assert note.values["client.scheme"][0] == "https"
    assert note.values["client.authority"][0] == "example.com"
    first = note.values["request.headers"][0]
    assert ("user-agent", "libcno/0.1") in first
    if http2:
        assert note.values["push.method"][0] == "GET"
        assert note.values["push.path"][0] == "/index.css"
        assert ("x-extra-header", "value") in note.values["push.headers"][0]
        inherited = [(":scheme", "https"), (":authority", "example.com")]
        assert note.values["push.headers"][0][:2] == inherited


def test_every_value_is_looked_at() -> None:
    assert len(LINE.findall(SERVER)) == 5
    assert len(LINE.findall(CLIENT)) == 12
