"""Connections that have ended leave nothing behind, without the cyclic collector."""

import asyncio
import gc
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from peer import LOOPS, listening, run

import cno
from cno import raw

# Number of connections with one answered request, with CNO_SOAK=1 (make soak) and without. Every
# other
# kind of connection has a tenth of that number.
COUNT = 10000 if os.environ.get("CNO_SOAK") else 1000

KINDS = ("Client", "Engine", "Exchange", "Pair", "Payload", "Request", "Response", "Server", "Task")


def alive() -> Counter[str]:
    """Counts the objects that belong to connections, by type."""
    names = Counter(type(item).__name__ for item in gc.get_objects())
    return Counter({name: names[name] for name in KINDS if names[name]})


@contextmanager
def collected_by_count() -> Iterator[None]:
    """Checks that no object that is made in the block is left at its end."""
    gc.collect()
    gc.disable()
    try:
        before = alive()
        yield
        assert alive() - before == Counter()
    finally:
        gc.enable()
        gc.collect()


# ---- cno.raw ------------------------------------------------------------------------------------


class Pair(raw.Connection):
    """One of two connections that exchange their output in memory."""

    other: "Pair"

    def __init__(self, *, server: bool) -> None:
        super().__init__(server=server)
        self.sent: list[bytes] = []
        self.got = b""

    def on_writev(self, chunks: list[bytes]) -> None:
        self.sent += chunks

    def on_message_head(self, stream: int, code: int, *head: Any) -> None:
        if not code:
            self.write_head(stream, 200, "OK", "", [("content-length", "5")], False)
            self.write_data(stream, b"hello", True)

    def on_message_data(self, stream: int, data: bytes) -> None:
        self.got += data


@pytest.mark.parametrize("version", ["h1", "h2"])
def test_pairs_of_raw_connections(version: str) -> None:
    fields = [(":scheme", "http"), (":authority", "localhost")]
    with collected_by_count():
        for _ in range(10000):
            client, server = Pair(server=False), Pair(server=True)
            for each in (client, server):
                each.connection_made(version == "h2")
            client.write_head(client.next_stream, 0, "GET", "/", fields, True)
            while client.sent or server.sent:
                for near, far in ((client, server), (server, client)):
                    octets, near.sent = b"".join(near.sent), []
                    far.data_received(octets)
            assert client.got == b"hello"
            client.connection_lost()
            server.connection_lost()
        del client, server, each, near, far


# ---- cno.Client and cno.Server ------------------------------------------------------------------


class Site:
    """A handler that waits for an event if the path says so."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def handle(self, request: cno.Request) -> None:
        if request.path == "/cut":
            request.conn.cut()
        elif request.path == "/echo":
            await request.respond(200, [], await request.payload.read())
        elif request.path == "/shielded":
            with suppress(ConnectionError):
                await asyncio.shield(request.respond(200, [], forever()))
        elif request.path == "/endless":
            await request.respond(200, [], forever())
        else:
            if request.path == "/wait":
                await self.go.wait()
            await request.respond(200, [], bytes(500000) if request.path == "/large" else b"hello")


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def begun(what: Awaitable[Any]) -> "asyncio.Future[Any]":
    """Starts a task and lets the loop run for some turns."""
    task = asyncio.ensure_future(what)
    await turns(9)
    return task


async def failure(task: "asyncio.Future[Any]") -> "type[BaseException]":
    """Returns the exception of a task. Raising would make a cycle of this frame, task and
    exception."""
    await asyncio.wait([task])
    error = task.exception()
    assert error is not None
    return type(error)


async def pieces() -> AsyncIterator[bytes]:
    for piece in (b"abc", b"def"):
        yield piece
        await asyncio.sleep(0)


async def forever() -> AsyncIterator[bytes]:
    while True:
        yield bytes(65536)


async def broken() -> AsyncIterator[bytes]:
    yield b"abc"
    raise KeyError("made up")


async def hello(client: cno.Client) -> None:
    response = await client.request("GET", "/")
    assert await response.payload.read() == b"hello"


async def echo(client: cno.Client) -> None:
    response = await client.request("POST", "/echo", [], pieces())
    assert await response.payload.read() == b"abcdef"


async def unread(client: cno.Client) -> None:
    await client.request("GET", "/large")


async def closed(client: cno.Client) -> None:
    async with await client.request("GET", "/large") as response:
        await response.payload.readexactly(5)


async def closed_by_the_server(client: cno.Client) -> None:
    with pytest.raises(cno.RequestFailed):
        await client.request("GET", "/cut")


async def closed_while_it_is_read(client: cno.Client) -> None:
    response = await client.request("GET", "/endless")
    reading = await begun(response.payload.readexactly(1 << 40))
    client.close()
    assert issubclass(await failure(reading), cno.RequestFailed)


async def closed_while_it_is_written(client: cno.Client) -> None:
    response = await client.request("GET", "/shielded")
    await response.payload.readexactly(100000)


async def closed_with_requests_that_wait(client: cno.Client) -> None:
    waiting = [await begun(client.request("GET", "/wait")) for _ in range(3)]
    client.close()
    for each in waiting:
        assert issubclass(await failure(each), cno.RequestFailed)


async def cancelled(client: cno.Client) -> None:
    waiting = await begun(client.request("GET", "/wait"))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def cancelled_upload(client: cno.Client) -> None:
    uploading = await begun(client.request("POST", "/wait", [], forever()))
    uploading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await uploading


async def failed_upload(client: cno.Client) -> None:
    with pytest.raises(KeyError):
        await client.request("POST", "/echo", [], broken())


async def refused(client: cno.Client) -> None:
    with pytest.raises(ValueError):
        await client.request("GET", "/", [("a", "b\n")])


USES = (
    hello,
    echo,
    unread,
    closed,
    closed_by_the_server,
    closed_while_it_is_read,
    closed_while_it_is_written,
    closed_with_requests_that_wait,
    cancelled,
    cancelled_upload,
    failed_upload,
    refused,
)


async def live(site: Site, version: str, use: Callable[[cno.Client], Awaitable[None]]) -> None:
    """The whole life of a client and its server."""
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    _, server = await loop.connect_accepted_socket(lambda: cno.Server(loop, site.handle), far)
    _, client = await loop.create_connection(
        lambda: cno.Client(loop, "localhost", "http", force_http2=version == "h2"), sock=near
    )
    site.go.clear()
    async with client:
        await use(client)
    site.go.set()
    while server.group.connections:
        await asyncio.sleep(0)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
@pytest.mark.parametrize("version", ["h1", "h2"])
@pytest.mark.parametrize("loop", [loop for loop in LOOPS if loop != "python"])
def test_clients_and_servers(version: str, loop: str, use: Any) -> None:
    async def main() -> None:
        site = Site()
        await live(site, version, use)
        with collected_by_count():
            for _ in range(COUNT if use is hello else COUNT // 10):
                await live(site, version, use)
            await turns(9)

    with listening("cno.error", []):
        run(main, loop, 600.0)
