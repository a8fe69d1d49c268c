"""docs/python.md: the programs run and print the output below them; tables and figures are true.

Each ```python block runs in the namespace of the blocks before it in its chapter. The commands of a
```console block talk to a server of the last `handle`. A ```text block is all output since the
```text block before it: of the ```python blocks, and of the last `main`, which gets the address of
a server of the last `handle`.
"""

import asyncio
import contextlib
import inspect
import io
import logging
import re
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import blocks, chapter
from wire import soon

import cno
import cno.asgi
import cno.client.connection
import cno.client.dial
import cno.client.errors
import cno.client.exchange
import cno.client.protocol
import cno.client.upload
import cno.engine.events
import cno.engine.results
import cno.gateway.scope
import cno.observe.logs
import cno.process.heap
import cno.process.service
import cno.raw
import cno.server.group
import cno.server.protocol
import cno.transport.connection
import cno.transport.writing
from cno.observe import access
from tools import Certificate, tool

ROOT = Path(__file__).resolve().parent.parent.parent
TEXT = (ROOT / "docs" / "python.md").read_text()


def rows(text: str, columns: int) -> Iterator[list[str]]:
    """The cells of the tables that have so many columns, without the headings."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line[1:-1].split("|")]
        if line.startswith("| `") and len(cells) == columns:
            yield cells


def words(cell: str) -> list[str]:
    """The words of a cell that are in backquotes."""
    return re.findall(r"`([^`]+)`", cell)


SERVER = chapter(TEXT, "The server")
APPLICATIONS = chapter(TEXT, "Applications")
CLIENT = chapter(TEXT, "The client")
RAW = chapter(TEXT, "Without sockets")


def commands(block: str) -> list[tuple[str, str]]:
    """The commands of a ```console block, each with its output."""
    parts = re.split(r"^\$ (.*)\n", block, flags=re.MULTILINE)
    assert parts[0] == ""
    return list(zip(parts[1::2], parts[2::2], strict=True))


async def printed(command: str, handle: Any) -> str:
    """The output of a command, with the port of a server of `handle` in the place of 8000."""
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
    for kind, block in blocks(SERVER):
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


def test_the_bounds_of_memory_are_those_of_the_source() -> None:
    table = SERVER.partition("\n### Memory\n")[2].partition("\n### ")[0]
    told = dict(re.findall(r"^\| ([\w/0-9 ,-]+) \| (\d+) \|", table, re.MULTILINE))
    config = (ROOT / "csrc" / "config.h").read_text()
    limits = dict(re.findall(r"^#define (CNO_\w+) (\d+)$", config, re.MULTILINE))
    read = 262144  # of asyncio (max_size of a transport) and of uvloop
    assert {name: int(size) for name, size in told.items()} == {
        "unread body, HTTP/1": cno.transport.connection.BODY_BUFFER,
        "unread body, HTTP/2": int(limits["CNO_DEFAULT_STREAM_WINDOW"]),
        "input behind an unanswered HTTP/1 request": read,
        "head of a request": int(limits["CNO_MAX_H1_HEAD"]),
        "output in the transport": cno.transport.writing.WRITE_HIGH,
        "one hand-over of a body": cno.transport.writing.BULK,
        "output that no writer waits for": cno.transport.writing.OUTPUT_HIGH,
    }
    assert f"at most {read} bytes" in table
    assert f"{cno.transport.writing.BULK_SECURE} bytes, copied, inside TLS" in table
    assert f"at least {cno.transport.writing.LEND} bytes" in table


def test_the_options_are_all_there() -> None:
    listed = set(re.findall(r"^\| `(\w+)` \| .* \| .* \|$", SERVER, re.MULTILINE))
    assert set(cno.server.protocol.ServerOptions.__annotations__) == listed


# ---- applications -------------------------------------------------------------------------------


def test_the_lines_of_the_access_log() -> None:
    """The lines on the page, taken apart and logged again, are the same lines."""
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Lines()
    handler.setFormatter(cno.observe.logs.AccessFormatter())
    logger, level = cno.observe.logs.access, cno.observe.logs.access.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    ((_, shown),) = [block for block in blocks(APPLICATIONS) if block[0] == "text"]
    try:
        for line in shown.splitlines():
            whole = re.fullmatch(r"INFO: +(\S+) - \"(\S+) ([^ \"]+)(.*)", line)
            assert whole is not None
            peer, method, target, rest = whole.groups()
            if found := re.match(r" HTTP/(\S+)\" (\d+) [A-Z]+ (\d+) (\S+) ms( cut)?$", rest):
                version, status, size, ms, cut = found.groups()
                access.request(
                    *(peer, method, target, version, int(status), int(size), float(ms) / 1000),
                    whole=not cut,
                )
            else:
                status, reason = re.findall(r"^\" (\d+) (\S+)$", rest)[0]
                access.refused(peer, method, target.encode(), int(status), reason)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert lines == shown.splitlines()
    assert len(lines) == 3
    assert f"`{reason}`" in (ROOT / "docs" / "engine.md").read_text()


def test_the_facts_about_applications_are_those_of_the_source() -> None:
    text = " ".join(APPLICATIONS.split()).replace("'", '"')
    assert str(cno.gateway.scope.ASGI).replace("'", '"') in text
    assert f"the status is {cno.asgi.CLIENT_LEFT} if the client has left" in text
    assert f"up to {cno.process.heap.TRIM >> 20} MiB of freed memory" in text
    assert f"allocations of {cno.process.heap.MMAP >> 20} MiB and more" in text
    assert all(f"`{name}`" in text for name in cno.process.heap.VARIABLES)
    assert cno.process.service.FAREWELL == cno.server.group.MERCY == 1.0
    assert text.count("one second") + text.count("one more second") == 4


# ---- the client ---------------------------------------------------------------------------------


async def run_main(space: dict[str, Any], certificate: Certificate) -> None:
    """Runs a `main` against a server of its `handle`, inside TLS if `main` takes a certificate."""
    loop = asyncio.get_running_loop()
    group = cno.ServerGroup(loop, upgrade=True)
    arguments, context = [], None
    if "cafile" in inspect.signature(space["main"]).parameters:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate.cert, certificate.key)
        context.set_alpn_protocols(["h2", "http/1.1"])
        arguments.append(str(certificate.cert))
    listener = await loop.create_server(
        lambda: cno.Server(loop, space["handle"], group=group), "127.0.0.1", 0, ssl=context
    )
    try:
        host, port = listener.sockets[0].getsockname()
        await soon(space["main"](f"{host}:{port}", *arguments))
    finally:
        listener.close()
        await group.drain(0.0)


def play(text: str, certificate: Certificate) -> int:
    """Runs the programs of a chapter and compares their output. Returns the number of outputs."""
    space: dict[str, Any] = {"__name__": "docs"}
    out, compared = io.StringIO(), 0
    for kind, block in blocks(text):
        if kind == "python":
            with contextlib.redirect_stdout(out):
                exec(compile(block, "docs/python.md", "exec"), space)
            continue
        assert kind == "text"
        with contextlib.redirect_stdout(out):
            if "main" in space:
                asyncio.run(run_main(space, certificate))
        assert out.getvalue() == block
        out, compared = io.StringIO(), compared + 1
    return compared


def test_the_client(certificate: Certificate) -> None:
    assert play(CLIENT, certificate) >= 8


def defaults(function: Any) -> dict[str, Any]:
    """The keyword-only parameters of a function, with their defaults."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }


def test_the_options_of_the_client_are_all_there() -> None:
    told: dict[str, dict[str, str]] = {"Client": {}, "connect": {}, "request": {}}
    for option, of, unit, default, _ in rows(CLIENT, 5):
        told[of][words(option)[0]] = default
        annotations = {
            **cno.client.protocol.ClientOptions.__annotations__,
            **cno.client.dial.ConnectOptions.__annotations__,
            **cno.client.protocol.RequestOptions.__annotations__,
        }
        seconds = "float" in str(annotations[words(option)[0]])
        assert (unit == "seconds") == seconds, option
    functions = {"Client": cno.Client, "connect": cno.connect, "request": cno.Client.request}
    for of, function in functions.items():
        expected = {name: str(value) for name, value in defaults(function).items()}
        expected = {n: v.replace("Ellipsis", "...") for n, v in expected.items()}
        assert told[of] == expected, of


def test_the_typed_options_are_those_of_the_functions() -> None:
    """The source lists the options twice: as parameters, and as the types of **options."""
    of_client = set(defaults(cno.Client))
    of_connect = of_client | set(defaults(cno.connect))
    of_request = set(defaults(cno.Client.request))
    assert set(cno.client.protocol.ClientOptions.__annotations__) == of_client
    assert set(cno.client.dial.ConnectOptions.__annotations__) == of_connect
    assert set(cno.client.protocol.RequestOptions.__annotations__) == of_request
    assert set(cno.client.dial.RequestOnceOptions.__annotations__) == of_connect | of_request


def test_the_errors_of_the_client_are_all_there() -> None:
    table = CLIENT.partition("\n### Errors\n")[2].partition("\n### ")[0]
    told = {words(cells[0])[0]: cells[1] for cells in rows(table, 3)}
    classes = {
        f"cno.{name}": kind
        for name, kind in vars(cno.client.errors).items()
        if isinstance(kind, type) and issubclass(kind, ConnectionError)
        if kind is not ConnectionError
    }
    assert {
        name: ", ".join(
            base.__name__ if base.__module__ == "builtins" else f"`cno.{base.__name__}`"
            for base in kind.__bases__
        )
        for name, kind in classes.items()
    } == told
    for name, kind in classes.items():
        assert getattr(cno, name.removeprefix("cno.")) is kind


def test_what_the_classes_have_is_there() -> None:
    """Every public attribute is in one of the tables."""
    told = {word.removesuffix("()") for cells in rows(CLIENT, 2) for word in words(cells[0])}
    for kind in (cno.Client, cno.Response):
        own = {name for name in vars(kind) if not name.startswith("_")}
        assert own - told <= {"request", "ends_connection"}, kind
    for name in ("method", "path", "headers", "response", "cancel()"):
        assert f"push.{name}`" in CLIENT


def test_the_figures_are_those_of_the_source() -> None:
    text = " ".join(CLIENT.split())
    window, buffered = (
        cno.client.connection.WINDOW // 1024,
        cno.transport.connection.BODY_BUFFER // 1024,
    )
    assert f"the {window} KiB of a stream of HTTP/2 and the {buffered} KiB of HTTP/1" in text
    assert f"up to {cno.client.exchange.DISCARD // 1024} KiB are read past" in text
    assert f"at most {cno.transport.connection.BODY_BUFFER // 1024} KiB of it" in " ".join(
        SERVER.split()
    )
    assert cno.client.upload.EXPECT == 1.0
    assert "has said nothing for a second" in text


# ---- the engine ---------------------------------------------------------------------------------


def test_the_engine(certificate: Certificate) -> None:
    assert play(RAW, certificate) >= 9


CORE = re.sub(r"//[^\n]*", "", (ROOT / "csrc" / "core.h").read_text())


def test_every_function_is_reachable() -> None:
    told = dict(rows(RAW, 2))
    functions = set(re.findall(r"\b(cno_[a-z]\w*)\(", CORE))
    assert {words(cell)[0] for cell in told if "`cno_" in cell} == functions
    for function in functions - {"cno_init", "cno_fini"}:
        call = words(told[f"`{function}`"])[0]
        name, _, arguments = call.partition("(")
        member = inspect.getattr_static(cno.raw.Connection, name)
        assert isinstance(member, property) == (not arguments), call
        if arguments and "..." not in arguments:
            given = re.findall(r"(\w+)(?:=\w+)?[,)]", call)
            assert given == [n for n in inspect.signature(member).parameters if n != "self"], call


def test_every_option_is_reachable() -> None:
    options = CORE.split("enum CNO_CONNECTION_OPTIONS {")[1].split("}")[0]
    told = {words(name)[0]: words(call)[0] for name, call in rows(RAW, 2) if "`CNO_" in name}
    assert set(told) == set(re.findall(r"CNO_\w+", options))
    for option, call in told.items():
        conn = cno.raw.Connection(server=True)
        eval(f"conn.{call}", {"conn": conn})
        assert conn._engine.conn.options & getattr(cno.raw, option), option


def test_every_event_can_be_overridden() -> None:
    told = {words(name)[0]: words(calls) for name, calls in rows(RAW, 2) if "`on_" in name}
    assert set(told) == set(re.findall(r"\(\*(on_\w+)\)", CORE))
    methods = {name for name in vars(cno.raw.Connection) if name.startswith("on_")}
    assert {re.match(r"\w*", call)[0] for calls in told.values() for call in calls} - {
        "CNO_MESSAGE_UPGRADE"
    } == methods  # type: ignore[index]
    for calls in told.values():
        for call in calls:
            name, _, arguments = call.partition("(")
            if arguments:
                parameters = inspect.signature(getattr(cno.raw.Connection, name)).parameters
                assert re.findall(r"\w+", arguments) == [*parameters][1:], call


def test_every_error_of_the_engine_is_there() -> None:
    told = {words(cells[1])[0]: words(cells[0])[0] for cells in rows(RAW, 3)}
    assert told == {
        name: cno.engine.results._ERRORS[code].__name__
        for name, code in cno.engine.events.CONSTANTS.items()
        if name.startswith("CNO_ERRNO_") and name != "CNO_ERRNO_NOT_IMPLEMENTED"
    }
    for name in told.values():
        assert issubclass(getattr(cno.raw, name), ConnectionError)
