"""cno.client.link: contexts, what has come before a request, and the end of a transport."""

from __future__ import annotations

import asyncio
import contextvars
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asking import BIG, ask, both, check_failure, exchange, h1, h2_only, secure, until
from hyperframe.frame import (
    GoAwayFrame,
)
from scripted import Clock, H2Server, Stage
from wire import soon

import cno
import cno.client.connection
import cno.client.dial
import cno.client.exchange
import cno.client.link
import cno.client.turns
import cno.client.upload
from cno.client.alarm import Alarm
from tools import Certificate

# ---- the server ends it --------------------------------------------------------------------------


@pytest.mark.parametrize("polite", [True, False], ids=["close_notify", "fin"])
@h1
async def test_a_body_up_to_the_end_of_tls(
    peer: Stage, certificate: Certificate, polite: bool
) -> None:
    """RFC 9112 section 9.8: without close_notify the body may have been cut."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate.cert, certificate.key)
    authority = peer.listen(tls)
    trust = ssl.create_default_context(cafile=str(certificate.cert))
    connecting = asyncio.ensure_future(cno.connect(None, f"https://{authority}", ssl_ctx=trust))
    server = await peer.accept()
    client = await soon(connecting)
    peer.ours.append(client)
    task, _ = await ask(client, server)
    await server.wire.send(b"HTTP/1.1 200 OK\r\n\r\nsome")
    response = await soon(task)
    assert await soon(response.payload.readexactly(4)) == b"some"
    if polite:
        server.wire.writer.close()
        assert await soon(response.payload.read()) == b""
    else:
        server.wire.sock.shutdown(1)
        with pytest.raises(cno.ConnectionLost):
            await soon(response.payload.read())
    await soon(client.wait_closed())


# ---- what came while nothing was asked -----------------------------------------------------------


STRAY = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


@pytest.mark.parametrize("within_tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("words", [STRAY, b""], ids=["408", "end"])
@both
async def test_what_came_before_a_request(
    peer: Stage, certificate: Certificate, within_tls: bool, words: bytes
) -> None:
    """The loop was busy and has not read what came. RFC 9112 section 9.2: that is no answer to the
    request, of which nothing is sent."""
    if within_tls:
        client, server = await secure(peer, certificate)
    else:
        client, server = await peer.meet()
    assert await exchange(client, server)
    frame = GoAwayFrame(0, last_stream_id=1).serialize() if peer.version == "h2" else words
    if not within_tls:
        if words:
            server.wire.sock.sendall(frame)
        server.wire.fin()
    else:
        if words:
            server.wire.writer.write(frame)
        server.wire.writer.close()
        if asyncio.get_running_loop().__class__.__module__.startswith("uvloop"):
            client.transport.pause_reading()  # uvloop writes at the end of a turn
            for _ in range(5):
                await asyncio.sleep(0)
            client.transport.resume_reading()
    channel = cno.Channel(1)
    await channel.put(b"body")
    asking = [
        asyncio.ensure_future(client.request("POST", "/pay", [], channel)),
        asyncio.ensure_future(client.request("GET", "/next")),
    ]
    for task in asking:
        with pytest.raises(cno.Unprocessed) as caught:
            await soon(task)
        check_failure(caught.value)
    assert channel.full()  # it may be sent on another connection
    assert client.is_closed


@pytest.mark.parametrize("within_tls", [False, True], ids=["plain", "tls"])
@h2_only
async def test_frames_that_came_before_a_request(
    peer: Stage, certificate: Certificate, within_tls: bool
) -> None:
    if within_tls:
        client, server = await secure(peer, certificate)
    else:
        client, server = await peer.meet()
    for _ in range(3):
        server.h2.ping(bytes(8))
        data = server.h2.data_to_send()
        server.wire.writer.write(data) if within_tls else server.wire.sock.sendall(data)
        assert await exchange(client, server)


# ---- contexts ------------------------------------------------------------------------------------


whose: contextvars.ContextVar[str] = contextvars.ContextVar("whose", default="nobody's")


def begin(name: str, call: Any) -> Any:
    """Runs what a function returns as a task in which `whose` has this value."""

    async def main() -> Any:
        whose.set(name)
        return await call()

    return asyncio.ensure_future(main())


Seen = list[tuple[str, str]]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """The calls of some methods of a client, with the context in which they are made."""
    calls: Seen = []
    for kind, name in (
        (cno.Client, "data_received"),
        (cno.Client, "resume_writing"),
        (cno.Client, "connection_lost"),
        (cno.Client, "close"),
        (Alarm, "_ring"),
    ):

        def call(
            *args: Any,
            name: str = name,
            method: Any = getattr(kind, name),  # noqa: B008
        ) -> Any:
            calls.append((name, whose.get()))
            return method(*args)

        # Of the class: uvloop has bound them when a connection is made.
        monkeypatch.setattr(kind, name, call)
    return calls


@both
async def test_informational_responses(peer: Stage) -> None:
    """Each function runs in the context of the request that it was given to."""
    client, server = await peer.meet()
    said: list[Any] = []

    def inform(code: int, _: Any) -> None:
        said.append((code, whose.get()))

    for name in ("one's", "two's"):
        task = begin(name, lambda: client.request("GET", "/", inform=inform))
        asked = await soon(server.request())
        await asked.head(103)
        await asked.respond()
        assert (await soon(task)).code == 200
    assert said == [(103, "one's"), (103, "two's")]


@both
async def test_bodies(peer: Stage) -> None:
    """A body, and the function for its trailers, run in the context of their request, even if that
    has waited for its turn."""
    client, server = await peer.meet()
    if isinstance(server, H2Server):
        await server.settings(max_concurrent_streams=1)
        await server.ping()
    seen: list[str] = []

    async def body() -> AsyncIterator[bytes]:
        for _ in range(3):
            await asyncio.sleep(0)
            seen.append(whose.get())
            yield b"x"

    def trailers() -> Any:
        seen.append(whose.get())
        return []

    first = begin("first's", lambda: client.request("GET", "/"))
    asked = await soon(server.request())
    second = begin("second's", lambda: client.request("POST", "/", [], body(), trailers=trailers))
    await asyncio.sleep(0)
    await asked.respond()
    assert (await soon(first)).code == 200
    asked = await soon(server.request())
    assert await soon(asked.whole()) == b"xxx"
    await asked.respond()
    assert (await soon(second)).code == 200
    assert seen == ["second's"] * 4


@h1
async def test_reading_that_a_reader_resumes(peer: Stage, seen: Seen) -> None:
    """The callbacks of the loop do not run in the context of the reader from then on."""
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    sending = asyncio.ensure_future(asked.respond(200, BIG))
    response = await soon(task)
    await until(lambda: not client._reading)
    seen.clear()
    assert await soon(begin("reader's", lambda: response.payload.read(-1))) == BIG
    await soon(sending)
    assert await exchange(client, server)
    assert seen
    assert {name for _, name in seen} == {"nobody's"}


@both
async def test_writing_that_a_request_has_begun(peer: Stage, seen: Seen) -> None:
    client, server = await peer.meet()
    server.credit = False
    seen.clear()
    parts = (BIG for _ in range(64))
    task = begin("writer's", lambda: client.request("POST", "/", [], parts))
    asked = await soon(server.request())
    await until(lambda: client._waiting or client.parts)
    server.credit = True
    await soon(asked.received(10 * len(BIG)))
    server.close()
    await soon(asyncio.wait([task]))
    assert task.exception() is not None
    await soon(client.wait_closed())
    assert ("connection_lost", "nobody's") in seen
    assert {name for _, name in seen} == {"nobody's"}


@both
async def test_timers_that_a_request_has_set(peer: Stage, seen: Seen) -> None:
    client, server = await peer.meet(timeout_idle=0.01)
    seen.clear()
    task = begin("first's", lambda: client.request("GET", "/", timeout=0.001))
    await soon(asyncio.wait([task]))
    assert isinstance(task.exception(), cno.RequestTimeout)
    if peer.version == "h2":
        await server.request()
    await soon(client.wait_closed())
    assert ("_ring", "nobody's") in seen
    assert {name for _, name in seen} == {"nobody's"}


@both
async def test_a_connection_that_a_request_has_closed(peer: Stage, seen: Seen) -> None:
    client, server = await peer.meet()
    seen.clear()

    async def close() -> None:
        assert await exchange(client, server)
        client.close()

    await soon(begin("closer's", close))
    await soon(client.wait_closed())
    assert [name for call, name in seen if call == "connection_lost"] == ["nobody's"]


@h2_only
async def test_a_connection_that_has_a_context_of_its_own(peer: Stage, seen: Seen) -> None:
    """The callbacks of a connection run in the context in which the connection was made."""
    peer.listen()
    meeting = begin("maker's", peer.meet)
    client, server = await soon(meeting)
    seen.clear()
    task = begin("reader's", lambda: client.request("GET", "/"))
    asked = await soon(server.request())
    await asked.respond(200, b"ok")
    response = await soon(task)
    assert await soon(response.payload.read()) == b"ok"
    assert seen
    assert {name for _, name in seen} == {"maker's"}


# ---- the end of TLS ------------------------------------------------------------------------------


@both
async def test_a_server_that_does_not_end_tls(peer: Stage, certificate: Certificate) -> None:
    """The client has no use for the close_notify of the server, and does not wait for it."""
    clock: Any = Clock()
    client, server = await secure(peer, certificate, loop=clock)
    assert await exchange(client, server)
    server.wire.writer.transport.pause_reading()
    client.close()
    await soon(client.wait_closed())  # no time has passed by
    server.wire.writer.transport.resume_reading()
    assert await soon(server.closed()) == "fin"  # ours has come


@both
async def test_a_server_that_takes_nothing_of_tls(peer: Stage, certificate: Certificate) -> None:
    """The server has some time to take the last words of the client."""
    clock: Any = Clock()
    client, server = await secure(peer, certificate, loop=clock)
    if isinstance(server, H2Server):
        server.h2.increment_flow_control_window(2**30)
        await server.settings(initial_window_size=2**30)
        await server.ping()
    server.wire.writer.transport.pause_reading()
    parts = (bytes(65536) for _ in range(1000))
    task = asyncio.ensure_future(client.request("POST", "/", [], parts))
    await until(lambda: client._waiting)
    for _ in range(10):
        await asyncio.sleep(0)
    client.close()
    with pytest.raises(cno.ConnectionLost):
        await soon(task)
    closing = asyncio.ensure_future(client.wait_closed())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not closing.done()
    clock.pass_by(cno.client.link.LINGER)
    await soon(closing)
