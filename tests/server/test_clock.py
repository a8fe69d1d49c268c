"""cno/server/clock.py: timeouts for a head, a body, reading the response, and the next request.

The tests call `tick` of the connections with times of their choice.
"""

import asyncio
import contextlib
from typing import Any

import pytest
from peer import Peer, answer, both, h1, h2_only, hello, over, read_body
from wire import H2, soon

from cno.server.connection import ServerConnection

BLOCK = bytes(65536)


def connections(peer: Peer) -> set[ServerConnection]:
    return peer.server._site.connections


async def accepted(peer: Peer) -> ServerConnection:
    """Waits for the one connection of the server and returns it."""
    await until(lambda: connections(peer))
    (connection,) = connections(peer)
    return connection


def later(peer: Peer, seconds: float) -> None:
    """Calls `tick` of all connections with a time that is `seconds` from now."""
    now = asyncio.get_running_loop().time()
    for connection in list(connections(peer)):
        connection.tick(now + seconds)


async def until(condition: Any) -> None:
    """Waits until a condition is true."""

    async def wait() -> None:
        while not condition():
            await asyncio.sleep(0)

    await soon(wait())


# ---- the answer ---------------------------------------------------------------------------------


@over("h1", "h2")
async def test_an_answer_that_is_read_slowly_is_not_cut_as_idle(peer: Peer) -> None:
    """The keep-alive time begins when the client has the response, not when it was written."""
    size = 8 << 20

    async def app(scope, receive, send):
        await answer(send, bytes(size))

    await peer.start(app, timeout_keep_alive=1.0)
    client = await peer.connect(buffer=65536)
    if isinstance(client, H2):
        client.h2.increment_flow_control_window(size)
        client.h2.update_settings({4: size})  # SETTINGS_INITIAL_WINDOW_SIZE
    exchange = await client.start("GET", "/")
    connection = await accepted(peer)
    await until(lambda: not connection.writable)
    # The transport has room for the rest: the response is written, and the client has not read it.
    transport = connection._transport
    transport.set_write_buffer_limits(high=size * 2)
    connection.resume_writing()
    await until(lambda: not connection.running)
    assert transport.get_write_buffer_size() > 0
    for seconds in (1, 2, 3, 10, 15):
        later(peer, seconds)
    response = await exchange.response()
    assert len(response.body) == size


@both
async def test_who_takes_nothing_of_the_answer_is_cut(peer: Peer) -> None:
    ended = asyncio.Event()

    async def app(scope, receive, send):
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                await send({"type": "http.response.body", "body": BLOCK, "more_body": True})
        except OSError:
            ended.set()
            raise

    await peer.start(app, timeout_response_write=7.0)
    client = await peer.connect(buffer=4096)
    await client.start("GET", "/")
    connection = await accepted(peer)
    blocked = connection._stalled if peer.version == "h2" else connection._waiting
    await until(lambda: blocked)
    await asyncio.sleep(0)
    later(peer, 1)
    later(peer, 6)
    assert not ended.is_set()
    later(peer, 9)
    await soon(ended.wait())
    assert len(connections(peer)) == (1 if peer.version == "h2" else 0)


@h2_only
async def test_a_window_that_stays_closed_costs_one_stream_alone(peer: Peer) -> None:
    async def app(scope, receive, send):
        await answer(send, BLOCK * 2 if scope["path"] == "/big" else b"ok")

    client = await peer.serve(app, timeout_response_write=7.0)
    assert isinstance(client, H2)
    client.credit = False
    client.h2.increment_flow_control_window(len(BLOCK))  # of the connection
    exchange = await client.start("GET", "/big")
    connection = await accepted(peer)
    await until(lambda: connection._stalled)
    later(peer, 1)
    later(peer, 9)
    assert (await exchange.response()).reset == 8
    assert (await client.ask("/")).body == b"ok"


@h1
async def test_who_has_closed_its_side_does_not_wait_for_ever(peer: Peer) -> None:
    """The client may have gone, which only an attempt to write would show."""
    ended = asyncio.Event()

    async def app(scope, receive, send):
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    peer.cuts = True
    client = await peer.serve(app, timeout_response_write=7.0)
    await client.start("GET", "/")
    client.wire.fin()
    connection = await accepted(peer)
    await until(lambda: connection._half_closed)
    later(peer, 1)
    later(peer, 7)
    assert not connection._over
    later(peer, 9)
    assert connection._over
    with contextlib.suppress(ConnectionError):
        assert await client.wire.receive() == b""
    for stream in connection.running:
        stream.task.cancel()
    await soon(ended.wait())


# ---- the body -----------------------------------------------------------------------------------


@both
async def test_a_body_that_does_not_come_is_answered_with_408(peer: Peer) -> None:
    told: list[str] = []
    parts: list[bytes] = []

    async def app(scope, receive, send):
        while (message := await receive())["type"] == "http.request":
            parts.append(message["body"])
        told.append(message["type"])

    client = await peer.serve(app, timeout_request_body=7.0)
    exchange = await client.start("POST", "/", [("content-length", "10")], more=True)
    connection = await accepted(peer)
    await until(lambda: any(s.awaited() for s in connection.streams.values()))
    later(peer, 1)
    await exchange.write(b"hello")
    await until(lambda: b"".join(parts) == b"hello")
    await until(lambda: any(s.awaited() for s in connection.streams.values()))
    later(peer, 7.5)  # a chunk has come in between, and the time counts from there
    later(peer, 13)
    assert not told
    later(peer, 15)
    assert (await exchange.response()).status == 408
    await until(lambda: told)
    assert told == ["http.disconnect"]


@both
async def test_a_body_that_nobody_reads_may_take_its_time(peer: Peer) -> None:
    go = asyncio.Event()

    async def app(scope, receive, send):
        await go.wait()
        await answer(send, await read_body(receive))

    client = await peer.serve(app, timeout_request_body=7.0)
    exchange = await client.start("POST", "/", [("content-length", "5")], more=True)
    await peer.barrier()
    later(peer, 1)
    later(peer, 100)
    go.set()
    await exchange.write(b"hello", end=True)
    assert (await exchange.response()).body == b"hello"


@both
async def test_a_body_behind_the_beginning_of_its_answer_may_take_its_time(peer: Peer) -> None:
    """Both sides may talk in turns."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"yes? ", "more_body": True})
        await send({"type": "http.response.body", "body": await read_body(receive)})

    client = await peer.serve(app, timeout_request_body=7.0)
    exchange = await client.start("POST", "/", [("content-length", "5")], more=True)
    await exchange.head()
    later(peer, 1)
    later(peer, 100)
    await exchange.write(b"hello", end=True)
    assert (await exchange.response()).body == b"yes? hello"


# ---- the head -----------------------------------------------------------------------------------


@h1
async def test_a_head_that_is_not_completed(peer: Peer) -> None:
    """The timeout of a head counts from the first byte of the head, also for a later head."""
    client = await peer.serve(hello, timeout_request_head=7.0, timeout_keep_alive=2.0)
    await client.wire.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET /")
    connection = await accepted(peer)
    await until(lambda: connection.engine.head_begun)
    for seconds in (1, 2, 4, 6):
        later(peer, seconds)
    assert not connection._over
    await client.wire.send(b" HTTP/1.1\r\n")
    await peer.barrier()
    later(peer, 9)
    assert connection._over
    assert b"\r\n\r\n" in await client.wire.read_all()


@both
async def test_nothing_comes_at_all(peer: Peer) -> None:
    await peer.start(hello, timeout_request_head=7.0)
    client = await peer.connect(begin=False)
    connection = await accepted(peer)
    later(peer, 6)
    assert not connection._over
    later(peer, 8)
    assert connection._over
    await client.wire.read_all()


@h2_only
async def test_a_head_whose_continuation_does_not_come(peer: Peer) -> None:
    """No other frame may come before the CONTINUATION, so that the whole connection ends."""
    go = asyncio.Event()

    async def app(scope, receive, send):
        await go.wait()
        await answer(send)

    client = await peer.serve(app, timeout_request_head=7.0)
    await client.start("GET", "/")
    await client.wire.send(b"\0\0\1\1\1\0\0\0\3\x82")  # HEADERS without END_HEADERS
    connection = await accepted(peer)
    await until(lambda: connection.engine.head_begun)
    later(peer, 1)
    later(peer, 6)
    assert not connection._over
    later(peer, 9)
    assert connection._over
    go.set()


@pytest.mark.parametrize("name", ["request_head", "request_body", "response_write"])
@over("h1", loops=["asyncio"])
async def test_0_is_for_ever(peer: Peer, name: str) -> None:
    client = await peer.serve(hello, **{f"timeout_{name}": 0.0})
    assert (await client.ask()).body == b"ok"
