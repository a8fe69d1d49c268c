"""cno.client.connection: its end by the server or by the client, and broken protocols."""

from __future__ import annotations

import asyncio
import copy
import gc
from typing import Any

import pytest
from asking import ask, both, cancel, check_failure, engines, exchange, h1, h2_only, until
from hyperframe.frame import (
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    SettingsFrame,
    WindowUpdateFrame,
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

# ---- responses -----------------------------------------------------------------------------------


@both
async def test_a_client_is_closed_by_async_with(peer: Stage) -> None:
    client, server = await peer.meet()
    async with client:
        assert await exchange(client, server)
    assert client.is_closed
    assert await soon(server.closed()) == "fin"
    with pytest.raises(cno.RequestFailed) as caught:
        await client.request("GET", "/")
    assert caught.value.unprocessed


# ---- pushes --------------------------------------------------------------------------------------


@h2_only
async def test_push_can_be_switched_off(peer: Stage) -> None:
    client, server = await peer.meet(push=False)
    assert await exchange(client, server)
    settings = next(f for f in server.frames if isinstance(f, SettingsFrame))
    assert settings.settings[SettingsFrame.ENABLE_PUSH] == 0
    client, server = await peer.meet()
    assert await exchange(client, server)
    settings = next(f for f in server.frames if isinstance(f, SettingsFrame))
    assert settings.settings.get(SettingsFrame.ENABLE_PUSH, 1) == 1


# ---- memory --------------------------------------------------------------------------------------


@both
async def test_connections_are_freed_without_the_collector(peer: Stage) -> None:
    peer.listen()
    gc.collect()
    gc.disable()
    try:
        before = engines()
        for i in range(20):
            client, server = await peer.meet(timeout_idle=1000.0, ping_interval=1000.0)
            for _ in range(3):
                assert await exchange(client, server)
            task, asked = await ask(client, server, "POST", "/", [], cno.Channel())
            await asked.head(200)
            response = await soon(task)
            if i % 2:
                response.close()
            client.close()
            server.close()
            await soon(client.wait_closed())
            peer.ours.clear()
            peer.theirs.clear()
        del client, server, task, asked, response
        for _ in range(10):
            await asyncio.sleep(0)
        assert engines() == before
    finally:
        gc.enable()


# ---- the server ends it --------------------------------------------------------------------------


@both
async def test_the_server_closes_before_the_response(peer: Stage) -> None:
    client, server = await peer.meet()
    task, _ = await ask(client, server)
    other = asyncio.ensure_future(client.request("GET", "/other"))
    if isinstance(server, H2Server):
        await server.request()
    server.wire.fin()
    with pytest.raises(cno.ConnectionLost, match="closed the connection") as caught:
        await soon(task)
    check_failure(caught.value)
    assert not caught.value.unprocessed
    with pytest.raises(cno.RequestFailed) as caught:
        await soon(other)
    assert caught.value.unprocessed == (peer.version == "h1")
    await soon(client.wait_closed())
    assert client.is_closed


@both
async def test_the_server_closes_an_idle_connection(peer: Stage) -> None:
    client, server = await peer.meet()
    assert await exchange(client, server)
    server.wire.fin()
    await soon(client.wait_closed())
    assert client.is_closed
    with pytest.raises(cno.Unprocessed) as caught:
        await client.request("GET", "/")
    check_failure(caught.value)
    assert caught.value.unprocessed


@pytest.mark.parametrize("how", ["fin", "reset"])
@pytest.mark.parametrize("framing", ["length", "chunked", "in a chunk", "in a chunk's end"])
@h1
async def test_a_body_that_is_cut(peer: Stage, framing: str, how: str) -> None:
    client, server = await peer.meet()
    task, _ = await ask(client, server)
    other = asyncio.ensure_future(client.request("GET", "/other"))
    chunked = b"transfer-encoding: chunked\r\n\r\n"
    head, body = {
        "length": (b"content-length: 10\r\n\r\n", b"some"),
        "chunked": (chunked, b"4\r\nsome\r\n"),
        "in a chunk": (chunked, b"9\r\nsome"),
        "in a chunk's end": (chunked, b"4\r\nsome\r\n0\r\n"),
    }[framing]
    await server.wire.send(b"HTTP/1.1 200 OK\r\n" + head + body)
    response = await soon(task)
    assert await soon(response.payload.readexactly(4)) == b"some"
    server.wire.fin() if how == "fin" else server.wire.reset()
    with pytest.raises(cno.ConnectionLost) as caught:
        await soon(response.payload.read())
    check_failure(caught.value)
    assert not caught.value.unprocessed
    with pytest.raises(cno.ConnectionLost):  # and once more
        await response.payload.read()
    with pytest.raises(cno.Unprocessed):
        await soon(other)


@h1
async def test_what_came_before_the_cut_can_be_read(peer: Stage) -> None:
    """As long as the reader has not asked for more than has come."""
    client, server = await peer.meet()
    task, _ = await ask(client, server)
    await server.wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nso\nme")
    server.wire.fin()
    response = await soon(task)
    await soon(client.wait_closed())
    assert await response.payload.readline() == b"so\n"
    assert await response.payload.read(100) == b"me"
    with pytest.raises(cno.ConnectionLost):
        await response.payload.read(100)


@h1
async def test_a_body_up_to_the_end_of_the_connection(peer: Stage) -> None:
    client, server = await peer.meet()
    task, _ = await ask(client, server)
    other = asyncio.ensure_future(client.request("GET", "/other"))
    await server.wire.send(b"HTTP/1.1 200 OK\r\n\r\nso")
    response = await soon(task)
    await server.wire.send(b"me")
    server.wire.fin()
    assert await soon(response.payload.read()) == b"some"
    with pytest.raises(cno.Unprocessed):
        await soon(other)


@h1
async def test_a_body_up_to_a_reset(peer: Stage) -> None:
    client, server = await peer.meet()
    task, _ = await ask(client, server)
    await server.wire.send(b"HTTP/1.1 200 OK\r\n\r\nsome")
    response = await soon(task)
    assert await soon(response.payload.readexactly(4)) == b"some"
    server.wire.reset()
    with pytest.raises(cno.ConnectionLost):
        await soon(response.payload.read())


@h1
async def test_connection_close_with_others_in_the_queue(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    others = [asyncio.ensure_future(client.request("GET", "/other")) for _ in range(3)]
    await asked.respond(200, b"last", [("connection", "close")])
    response = await soon(task)
    assert await soon(response.payload.read()) == b"last"
    for other in others:
        with pytest.raises(cno.Unprocessed) as caught:
            await soon(other)
        check_failure(caught.value)
    assert client.is_closed
    await soon(client.wait_closed())


@h1
async def test_connection_close_is_known_before_the_end(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    await asked.head(200, [("connection", "close")])
    response = await soon(task)
    assert client.is_closed
    with pytest.raises(cno.Unprocessed):
        await soon(client.request("GET", "/"))
    await asked.write(b"last", end=True)
    assert await soon(response.payload.read()) == b"last"


# ---- GOAWAY and RST_STREAM -----------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 11])
@h2_only
async def test_goaway(peer: Stage, code: int) -> None:
    client, server = await peer.meet()
    one, first = await ask(client, server, "GET", "/1")
    two, _ = await ask(client, server, "GET", "/2")
    frame = GoAwayFrame(0, last_stream_id=first.id, error_code=code)
    await server.send_frames(frame)
    with pytest.raises(cno.Unprocessed) as caught:
        await soon(two)
    check_failure(caught.value)
    assert client.is_closed
    with pytest.raises(cno.Unprocessed):
        await soon(client.request("GET", "/3"))
    await first.respond(200, b"finished")
    response = await soon(one)
    assert await soon(response.payload.read()) == b"finished"
    await soon(client.wait_closed())


@h2_only
async def test_goaway_with_others_in_the_queue(peer: Stage) -> None:
    client, server = await peer.meet()
    await server.settings(max_concurrent_streams=1)
    await server.ping()
    one, first = await ask(client, server, "GET", "/1")
    others = [asyncio.ensure_future(client.request("GET", "/other")) for _ in range(3)]
    await asyncio.sleep(0)
    await server.send_frames(GoAwayFrame(0, last_stream_id=first.id))
    for other in others:  # at once, not behind the first
        with pytest.raises(cno.Unprocessed):
            await soon(other)
    await first.respond()
    assert (await soon(one)).code == 200


@h2_only
async def test_goaway_that_only_announces(peer: Stage) -> None:
    client, server = await peer.meet()
    one, first = await ask(client, server)
    await server.send_frames(GoAwayFrame(0, last_stream_id=2**31 - 1))
    await first.respond()
    assert (await soon(one)).code == 200
    with pytest.raises(cno.Unprocessed):
        await soon(client.request("GET", "/"))
    await soon(client.wait_closed())


@pytest.mark.parametrize("code", [0, 1, 2, 8, 11, 13, 0xFFFFFFFF])
@h2_only
async def test_resets(peer: Stage, code: int) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    await asked.give_up(code)
    with pytest.raises(cno.StreamReset) as caught:
        await soon(task)
    check_failure(caught.value)
    assert caught.value.code == code
    assert copy.copy(caught.value).code == code
    assert not caught.value.unprocessed
    task, asked = await ask(client, server)
    await asked.head(200)
    await asked.write(b"some")
    response = await soon(task)
    assert await soon(response.payload.readexactly(4)) == b"some"
    await asked.give_up(code)
    with pytest.raises(cno.StreamReset) as caught:
        await soon(response.payload.read())
    assert caught.value.code == code
    assert await exchange(client, server)
    assert not client.streams


@h2_only
async def test_a_stream_that_was_refused(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    await asked.give_up(7)
    with pytest.raises(cno.Unprocessed) as caught:
        await soon(task)
    check_failure(caught.value)
    assert caught.value.unprocessed
    assert await exchange(client, server)


@h2_only
async def test_a_refusal_behind_a_response(peer: Stage) -> None:
    """RFC 9113 section 8.7: the request was processed, whatever the server says."""
    client, server = await peer.meet()
    task, asked = await ask(client, server, "POST", "/", [], cno.Channel())
    await asked.head(200)
    response = await soon(task)
    await asked.give_up(7)
    with pytest.raises(cno.RequestFailed) as caught:
        await soon(response.payload.read())
    assert not caught.value.unprocessed


# ---- the server breaks the protocol --------------------------------------------------------------


MALFORMED = [
    b"nonsense\r\n\r\n",
    b"HTTP/1.1 99 Low\r\n\r\n",
    b"HTTP/2.0 200 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    b"HTTP/1.1 200 OK\nx: y\n\n",
    b"HTTP/1.1 200 OK\r\nx: " + bytes([65]) * 70000,
]


@pytest.mark.parametrize("octets", MALFORMED, ids=lambda octets: repr(octets[:40]))
@h1
async def test_responses_that_are_none(peer: Stage, octets: bytes) -> None:
    client, server = await peer.meet()
    task, _ = await ask(client, server)
    other = asyncio.ensure_future(client.request("GET", "/other"))
    await server.wire.send(octets)
    with pytest.raises(cno.BadResponse) as caught:
        await soon(task)
    check_failure(caught.value)
    assert caught.value.reason
    assert caught.value.reason in str(caught.value)
    assert copy.copy(caught.value).reason == caught.value.reason
    assert not caught.value.unprocessed
    with pytest.raises(cno.Unprocessed):
        await soon(other)
    await soon(client.wait_closed())


@h1
async def test_a_chunk_that_is_none(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    await asked.head(200)
    await asked.write(b"some")
    response = await soon(task)
    assert await soon(response.payload.readexactly(4)) == b"some"
    await server.wire.send(b"xyz\r\n")
    with pytest.raises(cno.BadResponse):
        await soon(response.payload.read())


@h1
async def test_a_response_to_no_request(peer: Stage) -> None:
    client, server = await peer.meet()
    assert await exchange(client, server)
    await server.wire.send(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
    await soon(client.wait_closed())
    assert client.is_closed
    with pytest.raises(cno.Unprocessed):
        await client.request("GET", "/")


@h1
async def test_a_response_ahead_of_its_request(peer: Stage) -> None:
    """A response that came before its request was written is no answer to the request."""
    client, server = await peer.meet()
    task, _ = await ask(client, server)
    other = asyncio.ensure_future(client.request("GET", "/other"))
    await asyncio.sleep(0)
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    await server.wire.send(answer + answer)
    response = await soon(task)
    assert await soon(response.payload.read()) == b"ok"
    with pytest.raises(cno.Unprocessed):
        await soon(other)
    assert await soon(server.wire.read_all()) == b""


@h1
async def test_a_server_of_http_1_0(peer: Stage) -> None:
    client, server = await peer.meet()
    task, _ = await ask(client, server)
    fields = b"connection: keep-alive\r\ncontent-length: 2\r\n\r\nok"
    await server.wire.send(b"HTTP/1.0 200 OK\r\n" + fields)
    response = await soon(task)
    assert await soon(response.payload.read()) == b"ok"
    task, _ = await ask(client, server)
    await server.wire.send(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok")
    response = await soon(task)
    assert await soon(response.payload.read()) == b"ok"
    assert client.is_closed
    assert await soon(server.wire.read_all()) == b""


@pytest.mark.parametrize(
    "fields",
    [
        [(":status", "200"), ("Upper", "x")],
        [(":status", "200"), ("connection", "close")],
        [("x", "y")],
        [(":status", "abc")],
        [(":status", "200"), (":path", "/")],
        [(":status", "200"), ("content-length", "5")],
        [(":status", "101")],
    ],
    ids=repr,
)
@h2_only
async def test_responses_that_end_their_streams(peer: Stage, fields: Any) -> None:
    client, server = await peer.meet()
    other, waiting = await ask(client, server, "GET", "/other")
    task, asked = await ask(client, server)
    block = server.h2.encoder.encode([(k.encode(), v.encode()) for k, v in fields])
    await server.send_frames(HeadersFrame(asked.id, block, flags=["END_HEADERS", "END_STREAM"]))
    with pytest.raises(cno.BadResponse) as caught:
        await soon(task)
    check_failure(caught.value)
    assert caught.value.reason
    await soon(server.until(lambda: asked.reset is not None))
    assert asked.reset == 1
    await waiting.respond()
    assert (await soon(other)).code == 200
    assert await exchange(client, server)
    assert not client.streams


@h2_only
async def test_a_body_that_is_not_as_long_as_was_said(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    await asked.head(200, [("content-length", "5")])
    response = await soon(task)
    await server.send_frames(DataFrame(asked.id, b"four", flags=["END_STREAM"]))
    with pytest.raises(cno.BadResponse):
        await soon(response.payload.read())
    assert await exchange(client, server)


@pytest.mark.parametrize(
    "frame",
    [
        WindowUpdateFrame(0, window_increment=2**31 - 1),
        HeadersFrame(1, b"\xff\xff\xff\xff\xff", flags=["END_HEADERS"]),
        DataFrame(2, b"x"),
    ],
    ids=["window", "hpack", "idle"],
)
@h2_only
async def test_faults_that_end_the_connection(peer: Stage, frame: Any) -> None:
    client, server = await peer.meet()
    await server.settings(max_concurrent_streams=1)
    await server.ping()
    task, _ = await ask(client, server)
    other = asyncio.ensure_future(client.request("GET", "/other"))
    await asyncio.sleep(0)
    await server.send_frames(frame)
    with pytest.raises(cno.BadResponse) as caught:
        await soon(task)
    check_failure(caught.value)
    assert caught.value.reason
    with pytest.raises(cno.Unprocessed):
        await soon(other)
    assert client.is_closed
    await soon(server.until(lambda: server.goaways))
    assert server.goaways[0][1] != 0
    await soon(client.wait_closed())


# ---- the client ends it --------------------------------------------------------------------------


@both
async def test_close_with_requests_under_way(peer: Stage) -> None:
    client, server = await peer.meet()
    if isinstance(server, H2Server):
        await server.settings(max_concurrent_streams=2)
        await server.ping()
        reading, asked = await ask(client, server)
        await asked.head(200)
        response = await soon(reading)
    task, _ = await ask(client, server)
    queued = asyncio.ensure_future(client.request("GET", "/queued"))
    await asyncio.sleep(0)
    client.close()
    client.close()
    assert client.is_closed
    with pytest.raises(cno.RequestFailed) as caught:
        await soon(task)
    check_failure(caught.value)
    assert not caught.value.unprocessed  # who knows?
    if peer.version == "h2":
        with pytest.raises(cno.RequestFailed) as caught:
            await soon(response.payload.read())
        assert not caught.value.unprocessed
    with pytest.raises(cno.Unprocessed):
        await soon(queued)
    with pytest.raises(cno.Unprocessed):
        await soon(client.request("GET", "/"))
    if isinstance(server, H2Server):
        await soon(server.until(lambda: server.ended))
        assert server.goaways == [(0, 0)]
    else:
        assert await soon(server.wire.read_all()) == b""
    await soon(client.wait_closed())
    await soon(client.wait_closed())


@both
async def test_close_with_a_server_that_reads_nothing(peer: Stage) -> None:
    clock = Clock()
    client, server = await peer.meet(clock)
    if isinstance(server, H2Server):
        server.h2.increment_flow_control_window(2**30)
        await server.settings(initial_window_size=2**30)
        await server.ping()
    task, _ = await ask(client, server, "POST", "/", [], (bytes(65536) for _ in range(1000)))
    await until(lambda: client._waiting)
    client.close()
    with pytest.raises(cno.ConnectionLost):
        await soon(task)
    closing = asyncio.ensure_future(client.wait_closed())
    await asyncio.sleep(0)
    clock.pass_by(cno.client.link.LINGER)
    await soon(closing)


@both
async def test_close_before_there_is_a_connection(peer: Stage) -> None:
    peer.listen()
    assert peer.listener is not None
    client = peer.make()
    await soon(client.wait_closed())
    client.close()
    await soon(client.wait_closed())
    host, port = peer.listener.getsockname()
    await soon(client.loop.create_connection(lambda: client, host, port))
    server = await peer.accept(begin=False)
    assert await soon(server.wire.read_all()) == b""
    await soon(client.wait_closed())
    with pytest.raises(cno.Unprocessed):
        await client.request("GET", "/")


@both
async def test_wait_closed_may_be_cancelled(peer: Stage) -> None:
    client, server = await peer.meet()
    waiting = asyncio.ensure_future(client.wait_closed())
    await asyncio.sleep(0)
    await cancel(waiting)
    assert await exchange(client, server)
    client.close()
    await soon(client.wait_closed())
