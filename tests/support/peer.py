"""The harness for tests that serve an application in this process.

A test is a coroutine function under `@over(...)`. Its parameter `peer` serves an application and
makes connections to the server.
"""

import asyncio
import contextlib
import functools
import importlib.util
import inspect
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

import pytest
from wire import H1, H2, PATIENCE, Client, Secure, Wire, soon

import cno
import cno.asgi
import cno.process.compiled
import cno.server.connection

# The ways to serve: asyncio and uvloop with the compiled classes; asyncio without them.
LOOPS = [
    "asyncio",
    "python",
    pytest.param(
        "uvloop",
        marks=pytest.mark.skipif(not importlib.util.find_spec("uvloop"), reason="no uvloop"),
    ),
]


def over(
    *versions: str, loops: Iterable[Any] = LOOPS, make: Callable[[str], "Peer"] | None = None
) -> Callable[[Callable[..., Any]], Any]:
    """Makes a test of a coroutine function whose first parameter is `peer`.

    The test runs for each version of HTTP and each loop. `make` makes the peer for a version.
    """

    def decorate(test: Callable[..., Any]) -> Callable[..., Any]:
        def call(version: str, loop: str, **more: Any) -> None:
            with python_classes() if loop == "python" else contextlib.nullcontext():
                run(lambda: _with_peer(test, (make or Peer)(version), more), loop)

        functools.update_wrapper(call, test)
        del call.__wrapped__
        own = [
            inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD)
            for name in ("version", "loop")
        ]
        others = list(inspect.signature(test).parameters.values())[1:]
        call.__signature__ = inspect.Signature([*own, *others])
        marked = pytest.mark.parametrize("version", versions)(call)
        return pytest.mark.parametrize("loop", list(loops))(marked)

    return decorate


both = over("h1", "h2")
h1 = over("h1")
h2_only = over("h2")


@contextlib.contextmanager
def python_classes() -> Iterator[None]:
    """Switches to the classes written in Python, instead of those compiled in cno.engine._fast."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cno.process.compiled, "CONNECTION", cno.server.connection.ServerConnection)
        patch.setattr(cno.process.compiled, "REQUEST", cno.asgi.Request)
        yield


def run(main: Callable[[], Awaitable[None]], loop_name: str, seconds: float = 3 * PATIENCE) -> None:
    """Runs a coroutine on a new loop. Fails if the loop's exception handler was called."""
    loop: asyncio.AbstractEventLoop
    if loop_name == "uvloop":
        import uvloop

        loop = uvloop.new_event_loop()
    else:
        loop = asyncio.new_event_loop()
    complaints: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    try:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(asyncio.wait_for(main(), seconds))
    finally:
        try:
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            loop.close()
    assert not complaints, complaints


async def _with_peer(test: Callable[..., Any], peer: "Peer", more: dict[str, Any]) -> None:
    try:
        await test(peer, **more)
    except BaseException:
        await peer.leave(force=True)
        raise
    await peer.leave()
    if not peer.cuts:
        assert not [line for line in peer.log if "still open" in line], peer.log


class Peer:
    """The client's side of a server in this process: starts the server, connects, collects the log.

    A test sets `cuts` if the server has to cut connections at the end.
    """

    def __init__(self, version: str) -> None:
        self.version = version
        self.log: list[str] = []
        self.access: list[str] = []
        self.cuts = False
        self.server: Any = None
        self.clients: list[Client] = []
        self._records: list[logging.LogRecord] = []
        self._stack = contextlib.AsyncExitStack()

    async def serve(self, app: Any, **options: Any) -> "Client":
        """Serves an application and returns the first connection."""
        await self.start(app, **options)
        return await self.connect()

    async def start(self, app: Any, **options: Any) -> None:
        """Serves an application."""
        given = {"lifespan": "off", "timeout_graceful_shutdown": 1.0, **options}
        if "uds" not in given and "fd" not in given:
            given.setdefault("port", 0)
        self._stack.enter_context(listening("cno.error", self.log))
        self._stack.enter_context(listening("cno.access", self.access))
        self.server = await self._stack.enter_async_context(cno.serve(app, **given))

    async def connect(
        self,
        version: str | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        buffer: int | None = None,
        begin: bool = True,
    ) -> "Client":
        """Makes a connection; `buffer` is the size of the socket's receive buffer."""
        listener = self.server.sockets[0]
        loop = asyncio.get_running_loop()
        version = version or self.version
        sock = socket.socket(listener.family, socket.SOCK_STREAM)
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        wire: Wire
        try:
            await soon(loop.sock_connect(sock, listener.getsockname()))
            if tls is not None:
                tls.set_alpn_protocols(["h2" if version == "h2" else "http/1.1"])
                reader, writer = await soon(
                    asyncio.open_connection(sock=sock, ssl=tls, server_hostname="localhost")
                )
                wire = Secure(sock, reader, writer)
            else:
                wire = Wire(sock)
        except BaseException:
            sock.close()
            raise
        client = H1(wire) if version == "h1" else H2(wire)
        self.clients.append(client)
        if begin:
            await client.begin()
        return client

    async def barrier(self) -> None:
        """Returns when the server has seen everything that was sent before.

        A new connection gets an answer, which the event loop makes after all earlier events.
        """
        client = await self.connect("h1")
        name = client.wire.name
        await client.wire.send(b"no request\r\n\r\n")
        await client.wire.read_all()
        client.close()
        self.log[:] = [line for line in self.log if name not in line]

    async def leave(self, *, force: bool = False) -> None:
        """Closes every client, then the server."""
        for client in self.clients:
            client.close()
        if force and self.server is not None:
            self.server.force()
        await soon(self._stack.aclose())


@contextlib.contextmanager
def listening(name: str, lines: list[str]):
    """Collects the messages of a logger in `lines`."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            if record.exc_info and record.exc_info[1] is not None:
                text += f" [{record.exc_info[1]!r}]"
            lines.append(f"{record.levelname}: {text}")

    logger, handler = logging.getLogger(name), Handler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


# ---- applications -------------------------------------------------------------------------------


async def answer(send: Any, body: bytes = b"ok", status: int = 200, headers: Any = None) -> None:
    """Sends a whole response in two messages."""
    start = {"type": "http.response.start", "status": status}
    start["headers"] = [(b"content-length", b"%d" % len(body))] if headers is None else headers
    await send(start)
    await send({"type": "http.response.body", "body": body})


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers "ok"."""
    await answer(send)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """An application that reads the whole body and sends the body back."""
    await answer(send, await read_body(receive))


async def read_body(receive: Any) -> bytes:
    """Returns the whole body. Raises ConnectionError when the client leaves before the end."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the client has left")
        body += message["body"]
        if not message["more_body"]:
            return bytes(body)


def note(app: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[None]]:
    """Wraps an application: `.done()` waits for the result of a call, a value or an exception."""
    results: asyncio.Queue[Any] = asyncio.Queue()

    async def noted(scope: Any, receive: Any, send: Any) -> None:
        try:
            results.put_nowait(await app(scope, receive, send))
        except BaseException as error:
            results.put_nowait(error)
            raise

    noted.done = lambda: soon(results.get())  # type: ignore[attr-defined]
    return noted
