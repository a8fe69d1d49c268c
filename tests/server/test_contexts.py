"""H19: context variables that one request sets are seen by no other request, push or handler."""

import asyncio
import contextvars
import logging
from typing import Any

from native import SERVED, Site
from peer import Peer, answer, both, h1, over, read_body
from wire import H2, soon

import cno

USER: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")

LARGE = 1 << 20


async def leaky(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the value of USER at the beginning of the request, and sets another value."""
    seen = USER.get()
    USER.set(scope["path"])
    await asyncio.sleep(0)
    await read_body(receive)
    await answer(send, seen.encode())


@h1
async def test_h19_pipelined_requests(peer: Peer) -> None:
    client = await peer.serve(leaky)
    one = b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n"
    await client.wire.send(b"".join(one % number for number in range(5)))
    for _ in range(5):
        assert (await client.response()).body == b"nobody"


@both
async def test_h19_a_request_after_a_paused_upload(peer: Peer) -> None:
    client = await peer.serve(leaky)
    for _ in range(2):
        response = await client.ask("/upload", method="POST", body=bytes(LARGE))
        assert response.body == b"nobody"
        for path in ("/a", "/b"):
            assert (await client.ask(path)).body == b"nobody"


@both
async def test_h19_requests_of_one_connection_at_the_same_time(peer: Peer) -> None:
    client = await peer.serve(leaky)
    if isinstance(client, H2):
        exchanges = [await client.start("GET", f"/{number}") for number in range(5)]
        for exchange in exchanges:
            assert (await exchange.response()).body == b"nobody"
    assert (await client.ask("/last")).body == b"nobody"


@both
async def test_h19_a_request_sees_the_context_of_the_server(peer: Peer) -> None:
    """Each request has a copy of the context in which the server was started."""
    USER.set("server")
    client = await peer.serve(leaky)
    for _ in range(3):
        assert (await client.ask("/x")).body == b"server"


@h1
async def test_h19_reading_that_an_application_resumes(peer: Peer) -> None:
    """The connection reads on in its own context, in which the filter of a log line is called."""
    seen: list[str] = []

    class Filter:
        def filter(self, record: Any) -> bool:
            seen.append(USER.get())
            return True

    keep = Filter()
    logging.getLogger("cno.error").addFilter(keep)  # type: ignore[arg-type]
    try:
        client = await peer.serve(leaky)
        response = await client.ask("/upload", method="POST", body=bytes(LARGE))
        assert response.body == b"nobody"
        await client.wire.send(b"nonsense\r\n\r\n")
        await client.wire.read_all()
    finally:
        logging.getLogger("cno.error").removeFilter(keep)  # type: ignore[arg-type]
    assert seen
    assert set(seen) == {"nobody"}


@over("h1", "h2", loops=SERVED, make=Site)
async def test_h19_handlers_and_pushes_of_a_server(peer: Site) -> None:
    seen: list[tuple[str, str]] = []

    async def handle(request: cno.Request) -> None:
        seen.append((request.path, USER.get()))
        USER.set(request.path)
        if request.path == "/page":
            request.push("GET", "/pushed")
        await request.payload.read()
        await request.respond(200, [], b"ok")

    client = await peer.serve(handle)
    assert (await client.ask("/page", method="POST", body=bytes(LARGE))).status == 200
    assert (await client.ask("/next")).status == 200
    assert {user for _, user in seen} == {"nobody"}
    paths = [path for path, _ in seen]
    assert ("/pushed" in paths) == (peer.version == "h2")


@over("h1", loops=SERVED, make=Site)
async def test_h19_pipelined_requests_of_a_server(peer: Site) -> None:
    async def handle(request: cno.Request) -> None:
        seen = USER.get()
        USER.set(request.path)
        await asyncio.sleep(0)
        await request.respond(200, [], seen.encode())

    client = await peer.serve(handle)
    one = b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n"
    await client.wire.send(b"".join(one % number for number in range(5)))
    for _ in range(5):
        assert (await soon(client.response())).body == b"nobody"
