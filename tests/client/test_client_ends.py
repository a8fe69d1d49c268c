"""cno.Client against scripted servers: what goes wrong, what takes too long, and the end."""

import asyncio
import copy
import gc
import logging
import ssl
from typing import Any

import pytest
from asking import BIG, ask, both, cancel, engines, exchange, h1, h2_only, secure, until
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, PingFrame, WindowUpdateFrame
from scripted import Clock, H2Server, Stage
from wire import soon

import cno
import cno.client.connection
import cno.client.link
from tools import Certificate


def again(error: BaseException) -> None:
    """An error of ours can be copied and is what its documentation says."""
    assert isinstance(error, cno.RequestFailed)
    assert isinstance(error, ConnectionError)
    assert str(copy.copy(error)) == str(error)
    assert str(error)


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
    again(caught.value)
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
    again(caught.value)
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
    again(caught.value)
    assert not caught.value.unprocessed
    with pytest.raises(cno.ConnectionLost):  # and once more
        await response.payload.read()
    with pytest.raises(cno.Unprocessed):
        await soon(other)


@h1
async def test_what_came_before_the_cut_can_be_read(peer: Stage) -> None:
    """As long as nobody has asked for more than that."""
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


@pytest.mark.parametrize("polite", [True, False], ids=["close_notify", "fin"])
@h1
async def test_a_body_up_to_the_end_of_tls(
    peer: Stage, certificate: Certificate, polite: bool
) -> None:
    """RFC 9112 section 9.8: without close_notify it may have been cut."""
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
        again(caught.value)
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
    again(caught.value)
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
    again(caught.value)
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
    again(caught.value)
    assert caught.value.unprocessed
    assert await exchange(client, server)


@h2_only
async def test_a_refusal_behind_a_response(peer: Stage) -> None:
    """RFC 9113 section 8.7: then it was processed, whatever the server says."""
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
    again(caught.value)
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
    """Who waits for the next turn gets none that was there before it."""
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
    again(caught.value)
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
    again(caught.value)
    assert caught.value.reason
    with pytest.raises(cno.Unprocessed):
        await soon(other)
    assert client.is_closed
    await soon(server.until(lambda: server.goaways))
    assert server.goaways[0][1] != 0
    await soon(client.wait_closed())


# ---- what came while nothing was asked -----------------------------------------------------------

STRAY = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


@pytest.mark.parametrize("within_tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("words", [STRAY, b""], ids=["408", "end"])
@both
async def test_what_came_before_a_request(
    peer: Stage, certificate: Certificate, within_tls: bool, words: bytes
) -> None:
    """The loop was busy and has not read it. RFC 9112 section 9.2: it is no answer to the request,
    of which nothing is sent then."""
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
        again(caught.value)
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
    again(caught.value)
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
    await until(lambda: client._waiters)
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


# ---- time ----------------------------------------------------------------------------------------


@both
async def test_p8_nothing_comes(peer: Stage) -> None:
    clock = Clock()
    client, server = await peer.meet(clock, timeout=10.0)
    task, asked = await ask(client, server)
    other = asyncio.ensure_future(client.request("GET", "/other", timeout=None))
    await asyncio.sleep(0)
    clock.pass_by(9.9)
    await asyncio.sleep(0)
    assert not task.done()
    clock.pass_by(0.2)
    with pytest.raises(cno.RequestTimeout, match="10 s") as caught:
        await soon(task)
    again(caught.value)
    assert isinstance(caught.value, TimeoutError)
    assert not caught.value.unprocessed
    if peer.version == "h2":
        assert await soon(asked.is_reset()) == 8
        asked = await soon(server.request())
        clock.pass_by(10000)
        await asked.respond()
        assert (await soon(other)).code == 200
        assert not client.streams
    else:
        with pytest.raises(cno.Unprocessed):
            await soon(other)
        assert client.is_closed


@both
async def test_p8_a_turn_that_does_not_come(peer: Stage) -> None:
    clock = Clock()
    client, server = await peer.meet(clock, timeout=None)
    if isinstance(server, H2Server):
        await server.settings(max_concurrent_streams=1)
        await server.ping()
    task, asked = await ask(client, server)
    other = asyncio.ensure_future(client.request("GET", "/other", timeout=10.0))
    third = asyncio.ensure_future(client.request("GET", "/third"))
    await asyncio.sleep(0)
    clock.pass_by(10)
    with pytest.raises(cno.RequestTimeout) as caught:
        await soon(other)
    again(caught.value)
    assert caught.value.unprocessed  # nothing of it was sent
    clock.pass_by(100000)
    await asked.respond()
    assert (await soon(task)).code == 200
    asked = await soon(server.request())
    assert asked.target == "/third"
    await asked.respond()
    assert (await soon(third)).code == 200


@both
async def test_p8_a_body_that_stops(peer: Stage) -> None:
    clock = Clock()
    client, server = await peer.meet(clock, timeout=10.0)
    task, asked = await ask(client, server)
    clock.pass_by(9)
    await asked.head(103)
    await until(lambda: client.streams[1].deadline == clock.time() + 10)
    clock.pass_by(9)
    await asked.head(200)
    response = await soon(task)
    clock.pass_by(100)  # nobody waits
    reading = asyncio.ensure_future(response.payload.readexactly(4))
    await asyncio.sleep(0)
    clock.pass_by(9)
    await asked.write(b"so")
    await until(lambda: len(response.payload._buffer) == 2)
    clock.pass_by(9)
    await asked.write(b"me")
    assert await soon(reading) == b"some"
    clock.pass_by(100)
    reading = asyncio.ensure_future(response.payload.read())
    await asyncio.sleep(0)
    clock.pass_by(9.9)
    await asyncio.sleep(0)
    assert not reading.done()
    clock.pass_by(0.2)
    with pytest.raises(cno.RequestTimeout) as caught:
        await soon(reading)
    again(caught.value)
    if peer.version == "h2":
        assert await soon(asked.is_reset()) == 8
        assert await exchange(client, server)
    else:
        await soon(client.wait_closed())


@both
async def test_p8_an_upload_that_is_not_taken(peer: Stage) -> None:
    clock = Clock()
    client, server = await peer.meet(clock, timeout=10.0)
    server.credit = False
    task, asked = await ask(client, server, "POST", "/", [], (BIG for _ in range(64)))

    def stuck() -> bool:
        deadline = client.streams[1].deadline
        return deadline is not None and deadline < clock.time() + 10

    await until(lambda: client._waiters or client._blocked)
    for _ in range(5):
        clock.pass_by(9)
        assert not task.done()
        server.credit = True
        while stuck():  # until some of it was taken
            await soon(asked.received(len(asked.body) + 1))
            await asyncio.sleep(0)
        server.credit = False
        await until(lambda: client._waiters or client._blocked)
    clock.pass_by(11)
    with pytest.raises(cno.RequestTimeout):
        await soon(task)
    if isinstance(server, H2Server):
        server.credit = True
        assert await soon(asked.is_reset()) == 8


@both
async def test_p8_the_time_that_a_body_takes_to_be_made(peer: Stage) -> None:
    """It is not the server's."""
    clock = Clock()
    client, server = await peer.meet(clock, timeout=10.0)
    channel = cno.Channel()
    task, asked = await ask(client, server, "POST", "/", [], channel)
    for _ in range(3):
        await channel.put(b"some")
        await soon(asked.received(1))
        asked.body.clear()
        for _ in range(3):
            await asyncio.sleep(0)
        clock.pass_by(100)
    assert not task.done()
    channel.close()
    await soon(asked.whole())
    clock.pass_by(9)
    assert not task.done()
    clock.pass_by(2)
    with pytest.raises(cno.RequestTimeout):
        await soon(task)


@both
async def test_p8_an_upload_behind_a_complete_response(peer: Stage) -> None:
    """Nobody waits for it, but others may wait for its end."""
    clock = Clock()
    client, server = await peer.meet(clock, timeout=10.0)
    server.credit = False
    task, asked = await ask(client, server, "POST", "/", [], (BIG for _ in range(64)))
    await until(lambda: client._waiters or client._blocked)
    await asked.respond(200, b"enough")
    response = await soon(task)
    assert await soon(response.payload.read()) == b"enough"
    assert client.streams
    clock.pass_by(11)
    await until(lambda: not client.streams)
    if isinstance(server, H2Server):
        server.credit = True
        assert await soon(asked.is_reset()) == 8
        assert await exchange(client, server)
    else:
        await soon(client.wait_closed())


@h1
async def test_the_rest_of_a_response_that_takes_too_long(peer: Stage) -> None:
    """One octet now and then does not keep the others waiting."""
    clock = Clock()
    client, server = await peer.meet(clock, timeout=None)
    task, asked = await ask(client, server)
    await asked.head(200)
    response = await soon(task)
    response.close()
    other = asyncio.ensure_future(client.request("GET", "/other"))
    for _ in range(3):
        seen = client.streams[1]._discarded
        await asked.write(b"x")
        await until(lambda seen=seen: client.streams[1]._discarded > seen)
        clock.pass_by(cno.client.connection.READ_PAST / 4)
    assert not other.done()
    clock.pass_by(cno.client.connection.READ_PAST / 2)
    with pytest.raises(cno.Unprocessed):
        await soon(other)


@h1
async def test_the_rest_of_a_response_that_was_closed_while_read(peer: Stage) -> None:
    clock = Clock()
    client, server = await peer.meet(clock)
    task, asked = await ask(client, server)
    await asked.head(200)
    response = await soon(task)
    reading = asyncio.ensure_future(response.payload.read())
    await asyncio.sleep(0)
    response.close()
    with pytest.raises(cno.RequestFailed, match="closed"):
        await soon(reading)
    clock.pass_by(cno.client.connection.PATIENCE)
    assert client.is_closed
    await soon(client.wait_closed())


@h2_only
async def test_a_push_that_does_not_come(peer: Stage) -> None:
    clock = Clock()
    client, server = await peer.meet(clock, timeout=10.0)
    task, asked = await ask(client, server)
    promise = await asked.promise("/pushed")
    await asked.respond(200, b"ok")
    response = await soon(task)
    [push] = [push async for push in response.pushed]
    clock.pass_by(100)  # nobody waits
    waiting = asyncio.ensure_future(asyncio.wait_for(push.response, 60))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    clock.pass_by(11)
    with pytest.raises(cno.RequestTimeout):
        await soon(waiting)
    await soon(server.until(lambda: server.pushed_back))
    assert server.pushed_back == [promise.id]
    assert await exchange(client, server)


@both
async def test_p8_no_timeout(peer: Stage) -> None:
    clock = Clock()
    client, server = await peer.meet(clock, timeout=None)
    task, asked = await ask(client, server)
    clock.pass_by(10**6)
    await asked.head(200)
    response = await soon(task)
    reading = asyncio.ensure_future(response.payload.read())
    await asyncio.sleep(0)
    clock.pass_by(10**6)
    await asked.write(b"ok", end=True)
    assert await soon(reading) == b"ok"
    # Nor when only this request has none.
    client, server = await peer.meet(clock, timeout=1.0)
    task, asked = await ask(client, server, timeout=None)
    clock.pass_by(10**6)
    await asked.respond()
    assert (await soon(task)).code == 200


@both
async def test_p8_an_idle_connection(peer: Stage) -> None:
    clock = Clock()
    client, server = await peer.meet(clock, timeout_idle=10.0, timeout=None)
    clock.pass_by(9)
    task, asked = await ask(client, server)
    clock.pass_by(100)
    assert not client.is_closed
    await asked.respond(200, b"ok")
    response = await soon(task)
    assert await soon(response.payload.read()) == b"ok"
    clock.pass_by(9)
    assert await exchange(client, server)
    clock.pass_by(9)
    assert not client.is_closed
    clock.pass_by(1)
    assert client.is_closed
    await soon(client.wait_closed())
    with pytest.raises(cno.Unprocessed):
        await client.request("GET", "/")
    client, server = await peer.meet(clock, timeout_idle=10.0)  # never used
    clock.pass_by(10)
    await soon(client.wait_closed())


@both
async def test_promises_that_do_not_come(peer: Stage) -> None:
    """Whoever waits for a promise waits no longer than for the body. HTTP/1 has no promises."""
    clock = Clock()
    client, server = await peer.meet(clock, timeout=10.0)
    task, asked = await ask(client, server)
    await asked.head(200)
    response = await soon(task)
    waiting = asyncio.ensure_future(response.pushed.__anext__())
    if peer.version == "h1":
        with pytest.raises(StopAsyncIteration):
            await soon(waiting)
        await asked.write(b"ok", end=True)
        assert await soon(response.payload.read()) == b"ok"
        return
    await asyncio.sleep(0)
    clock.pass_by(9)
    await asked.promise("/one")
    assert (await soon(waiting)).path == "/one"
    clock.pass_by(100)  # nobody waits
    waiting = asyncio.ensure_future(response.pushed.__anext__())
    await asyncio.sleep(0)
    clock.pass_by(9)
    await asked.write(b"some")
    await until(lambda: len(response.payload._buffer) == 4)
    clock.pass_by(9)
    assert not waiting.done()
    clock.pass_by(2)
    with pytest.raises(cno.RequestTimeout) as caught:
        await soon(waiting)
    again(caught.value)
    assert [push async for push in response.pushed] == []
    assert await soon(asked.is_reset()) == 8
    assert await exchange(client, server)


@h2_only
async def test_promises_behind_a_window_that_nobody_opens(peer: Stage) -> None:
    """The body waits for its reader, and the reader of the promises for the end of the body."""
    clock = Clock()
    client, server = await peer.meet(clock, timeout=10.0)
    task, asked = await ask(client, server)
    await asked.head(200)
    response = await soon(task)
    waiting = asyncio.ensure_future(response.pushed.__anext__())
    await soon(asked.fill_window())
    clock.pass_by(11)
    with pytest.raises(cno.RequestTimeout):
        await soon(waiting)


@both
async def test_a_request_behind_a_timeout(peer: Stage) -> None:
    """The connection has ended: that is not the timeout of this request."""
    clock = Clock()
    client, server = await peer.meet(clock, timeout=10.0)
    task, _ = await ask(client, server)
    queued = asyncio.ensure_future(client.request("GET", "/queued", timeout=None))
    if peer.version == "h2":
        await soon(server.request())
    await asyncio.sleep(0)
    clock.pass_by(11)
    with pytest.raises(cno.RequestTimeout):
        await soon(task)
    if peer.version == "h2":
        server.wire.reset()
        with pytest.raises(cno.ConnectionLost):
            await soon(queued)
        await soon(client.wait_closed())
    else:
        with pytest.raises(cno.Unprocessed, match="has ended") as caught:
            await soon(queued)
        assert "for 10 s" not in str(caught.value)
        assert "for 10 s" in str(caught.value.__cause__)
    for _ in range(2):
        with pytest.raises(cno.Unprocessed, match="has ended") as caught:
            await client.request("GET", "/next")
        again(caught.value)
        assert "for 10 s" not in str(caught.value)
        assert isinstance(caught.value.__cause__, cno.ConnectionLost)


# ---- PING ----------------------------------------------------------------------------------------


@h2_only
async def test_ping(peer: Stage) -> None:
    client, server = await peer.meet()
    pings = [asyncio.ensure_future(client.ping()) for _ in range(3)]
    await asyncio.sleep(0)
    await server.ping()
    for ping in pings:
        assert 0 <= await soon(ping) < 60
    payloads = [f.opaque_data for f in server.frames if isinstance(f, PingFrame)]
    assert len(set(payloads)) == len(payloads)
    assert not client.pings


@h1
async def test_http1_has_no_ping(peer: Stage) -> None:
    client, server = await peer.meet()
    with pytest.raises(RuntimeError):
        await client.ping()
    assert await exchange(client, server)


@h2_only
async def test_a_ping_without_an_answer(peer: Stage) -> None:
    client, server = await peer.meet(timeout=0.01)
    with pytest.raises(cno.RequestTimeout) as caught:
        await soon(client.ping())
    again(caught.value)
    assert not client.pings
    client, server = await peer.meet()
    ping = asyncio.ensure_future(client.ping())
    await asyncio.sleep(0)
    server.wire.fin()
    with pytest.raises(cno.ConnectionLost):
        await soon(ping)
    with pytest.raises(cno.RequestFailed):
        await client.ping()


@h2_only
async def test_pings_at_intervals(peer: Stage) -> None:
    clock = Clock()
    client, server = await peer.meet(clock, ping_interval=10.0, timeout=None)

    def pings() -> int:
        return sum(isinstance(f, PingFrame) and not f.flags for f in server.frames)

    await server.ping()
    clock.pass_by(10)  # something has come
    assert await exchange(client, server)
    assert pings() == 0
    clock.pass_by(10)
    clock.pass_by(10)
    await soon(server.until(lambda: pings() == 1))
    await server.ping()
    task, _ = await ask(client, server)
    clock.pass_by(10)
    clock.pass_by(10)
    await soon(server.until(lambda: pings() == 2))
    assert not client.is_closed
    await server.ping()
    clock.pass_by(30)
    with pytest.raises(cno.ConnectionLost, match="PING"):
        await soon(task)
    assert client.is_closed
    await soon(client.wait_closed())


@h1
async def test_no_pings_at_intervals_on_http1(peer: Stage) -> None:
    clock = Clock()
    client, server = await peer.meet(clock, ping_interval=10.0, timeout=None)
    clock.pass_by(1000)
    assert await exchange(client, server)


# ---- memory --------------------------------------------------------------------------------------


async def fails(task: Any, kind: type[BaseException]) -> None:
    """It does, and is not raised here: a traceback keeps all that it has passed."""
    await soon(asyncio.wait([task]))
    assert type(task.exception()) is kind


def begin(client: cno.Client, *args: Any, **options: Any) -> Any:
    return asyncio.ensure_future(client.request(*(args or ("GET", "/")), **options))


async def _fails_by_end(client: cno.Client, server: Any) -> None:
    task, queued = begin(client), begin(client)
    await soon(server.request())
    server.close()
    await fails(task, cno.ConnectionLost)
    await fails(queued, cno.ConnectionLost if client.is_http2 else cno.Unprocessed)


async def _fails_by_body(client: cno.Client, server: Any) -> None:
    def body() -> Any:
        yield b"some"
        raise KeyError("made up")

    await fails(begin(client, "POST", "/", [], body()), KeyError)


async def _fails_while_blocked(client: cno.Client, server: Any) -> None:
    server.credit = False
    task = begin(client, "POST", "/", [], (BIG for _ in range(64)))
    await soon(server.request())
    await until(lambda: client._waiters or client._blocked)
    server.close()
    await fails(task, cno.ConnectionLost)


async def _fails_behind_a_promise(client: cno.Client, server: Any) -> None:
    if client.is_http2:
        task, asked = await ask(client, server, timeout=0.01)
        await asked.head(200)
        waiting = asyncio.ensure_future((await soon(task)).pushed.__anext__())
        await fails(waiting, cno.RequestTimeout)


async def _fails_while_read(client: cno.Client, server: Any) -> None:
    task, asked = await ask(client, server)
    await asked.head(200)
    await asked.write(b"some")
    reading = asyncio.ensure_future((await soon(task)).payload.readexactly(100))
    await asyncio.sleep(0)
    server.close()
    await fails(reading, cno.ConnectionLost)


async def _fails_in_time(client: cno.Client, server: Any) -> None:
    await fails(begin(client, timeout=0.001), cno.RequestTimeout)
    if client.is_http2:
        client.timeout = 0.001
        await fails(asyncio.ensure_future(client.ping()), cno.RequestTimeout)


async def _fails_with_a_ping(client: cno.Client, server: Any) -> None:
    if client.is_http2:
        ping = asyncio.ensure_future(client.ping())
        await asyncio.sleep(0)
        server.close()
        await fails(ping, cno.ConnectionLost)


async def _is_cancelled(client: cno.Client, server: Any) -> None:
    task, _ = await ask(client, server, "POST", "/", [], cno.Channel())
    queued = begin(client)
    await asyncio.sleep(0)
    for cancelled in (queued, task):
        cancelled.cancel()
        await soon(asyncio.wait([cancelled]))


async def _cannot_be_sent(client: cno.Client, server: Any) -> None:
    await fails(begin(client, "GET", "/", [("x", "\n")]), ValueError)
    await fails(begin(client, "POST", "/", [("content-length", "5")], [b"four"]), ValueError)


async def _breaks_the_protocol(client: cno.Client, server: Any) -> None:
    task, _ = await ask(client, server)
    await server.wire.send(bytes(100))
    await fails(task, cno.BadResponse)


@pytest.mark.parametrize(
    "fail",
    [
        _fails_by_end,
        _fails_by_body,
        _fails_while_blocked,
        _fails_while_read,
        _fails_behind_a_promise,
        _fails_in_time,
        _fails_with_a_ping,
        _is_cancelled,
        _cannot_be_sent,
        _breaks_the_protocol,
    ],
)
@both
async def test_p1_failures_keep_nothing(peer: Stage, fail: Any) -> None:
    peer.listen()
    gc.collect()
    gc.disable()
    logging.getLogger("cno.error").propagate = False  # or pytest keeps what is logged
    try:
        before = engines()
        for _ in range(3):
            client, server = await peer.meet()
            await fail(client, server)
            client.close()
            server.close()
            await soon(client.wait_closed())
            peer.ours.clear()
            peer.theirs.clear()
        del client, server
        for _ in range(10):
            await asyncio.sleep(0)
        assert engines() == before
    finally:
        gc.enable()
        logging.getLogger("cno.error").propagate = True
