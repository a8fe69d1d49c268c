"""ASGI: the request's body and the client's end (www.rst). One test per rule, named by its id."""

import asyncio
import contextlib
import socket
from typing import Any

import pytest
from peer import Peer, answer, both, h1, h2_only, note, read_body
from wire import H1, H2, soon

EMPTY = {"type": "http.request", "body": b"", "more_body": False}
GONE = {"type": "http.disconnect"}
START = {"type": "http.response.start", "status": 200, "headers": []}


async def messages(receive: Any) -> list[dict[str, Any]]:
    """All that there is up to the end of the body or of the client."""
    got = []
    while True:
        got.append(await receive())
        if not got[-1].get("more_body"):
            return got


@both
async def test_r1_a_request_without_a_body(peer: Peer) -> None:
    async def app(scope, receive, send):
        message = await receive()
        await answer(send)
        return message

    app = note(app)
    client = await peer.serve(app)
    for method in ("GET", "POST"):
        await client.ask(method=method)
        assert await app.done() == EMPTY
    await client.ask(method="POST", headers=[("content-length", "0")])
    assert await app.done() == EMPTY


@both
async def test_r2_the_body_is_decoded(peer: Peer) -> None:
    async def app(scope, receive, send):
        body = await read_body(receive)
        await answer(send, body)
        return [name for name, _ in scope["headers"]]

    app = note(app)
    client = await peer.serve(app)
    if isinstance(client, H1):
        response = await client.raw(
            b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
            b"5;name=value\r\nhello\r\n00a\r\n, chunked \r\n5\r\nworld\r\n"
            b"0\r\nx-trailer: 1\r\ncontent-length: 3\r\n\r\n"
        )
    else:
        exchange = await client.start("POST", more=True)
        await exchange.write(b"hello, chunked ")
        await exchange.write(b"world")
        client.h2.send_headers(exchange.id, [(b"x-trailer", b"1")], end_stream=True)
        await client.flush()
        response = await exchange.response()
    assert response.body == b"hello, chunked world"
    assert b"x-trailer" not in await app.done()
    assert (await client.ask(method="POST", body=b"next")).body == b"next"


@both
async def test_r3_a_body_streams(peer: Peer) -> None:
    """What was sent is there before the rest is."""

    async def app(scope, receive, send):
        await send(START)
        while (message := await receive())["more_body"]:
            await send({**message, "type": "http.response.body"})
        await send({**message, "type": "http.response.body"})

    exchange = await (await peer.serve(app)).start("POST", more=True)
    for size in range(1, 4):
        await exchange.write(b"x")
        assert (await exchange.body(size)).body == b"x" * size
    await exchange.write(b"", end=True)
    assert (await exchange.response()).complete


SIZE = 1 << 20


@both
async def test_r3_an_application_that_does_not_read_stops_the_client(peer: Peer) -> None:
    go = asyncio.Event()

    async def app(scope, receive, send):
        await go.wait()
        body = await read_body(receive)
        await answer(send, b"%d" % len(body))

    await peer.start(app)
    # What is in the kernel does not count, so there must be little of it.
    peer.server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    client = await peer.connect()
    client.wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
    exchange = await client.start("POST", headers=[("content-length", str(SIZE))], more=True)
    sent = 0
    if isinstance(client, H1):
        block = bytes(8192)
        with contextlib.suppress(BlockingIOError):
            while sent < SIZE:
                try:
                    sent += client.wire.sock.send(block)
                except BlockingIOError:
                    await peer.barrier()
                    sent += client.wire.sock.send(block)
        assert sent < 65536 * 6
        rest = asyncio.ensure_future(exchange.write(bytes(SIZE - sent), end=True))
    else:
        await client.ping()
        sent = client.h2.local_flow_control_window(exchange.id)
        await exchange.write(bytes(sent))
        await client.ping()
        assert client.h2.local_flow_control_window(exchange.id) == 0
        assert sent == 65535
        rest = asyncio.ensure_future(exchange.write(bytes(SIZE - sent), end=True))
    go.set()
    await soon(rest)
    assert (await exchange.response()).body == b"%d" % SIZE


@both
async def test_r4_receive_waits_for_the_end_of_the_response(peer: Peer) -> None:
    go = asyncio.Event()

    async def app(scope, receive, send):
        await receive()
        waiting = asyncio.ensure_future(receive())
        await go.wait()
        assert not waiting.done()
        await send(START)
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        assert not waiting.done()
        await send({"type": "http.response.body", "body": b"y"})
        return await soon(waiting)

    app = note(app)
    exchange = await (await peer.serve(app)).start()
    await peer.barrier()
    go.set()
    await exchange.response()
    assert await app.done() == GONE


@both
async def test_r4_receive_waits_for_the_end_of_the_client(peer: Peer) -> None:
    async def app(scope, receive, send):
        await receive()
        return await receive()

    app = note(app)
    exchange = await (await peer.serve(app)).start()
    await peer.barrier()
    await exchange.give_up()
    assert await app.done() == GONE


@both
async def test_r5_disconnect_any_number_of_times(peer: Peer) -> None:
    async def app(scope, receive, send):
        return [await receive() for _ in range(5)][1:]

    app = note(app)
    exchange = await (await peer.serve(app)).start()
    await peer.barrier()
    await exchange.give_up()
    assert await app.done() == [GONE] * 4


@both
async def test_r5_disconnect_after_the_response_any_number_of_times(peer: Peer) -> None:
    async def app(scope, receive, send):
        await answer(send)
        return [await receive() for _ in range(3)]

    app = note(app)
    await (await peer.serve(app)).ask()
    assert await app.done() == [GONE] * 3


@both
async def test_r6_receive_may_be_cancelled(peer: Peer) -> None:
    waiting = asyncio.Event()

    async def app(scope, receive, send):
        got = []
        for _ in range(3):
            with contextlib.suppress(asyncio.TimeoutError):
                got.append(await asyncio.wait_for(receive(), 0))
        waiting.set()
        while not got or got[-1]["more_body"]:
            task = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
            if not task.cancel():
                got.append(task.result())
            else:
                with contextlib.suppress(asyncio.CancelledError):
                    got.append(await task)
        task = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        assert task.cancel()
        await answer(send, b"".join(message["body"] for message in got))

    exchange = await (await peer.serve(app)).start("POST", more=True)
    await soon(waiting.wait())
    body = bytes(range(256)) * 300
    for at in range(0, len(body), 1000):
        await exchange.write(body[at : at + 1000])
    await exchange.write(b"", end=True)
    assert (await exchange.response()).body == body


@both
async def test_r7_two_at_once(peer: Peer) -> None:
    async def app(scope, receive, send):
        both = [asyncio.ensure_future(receive()) for _ in range(2)]
        done, left = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result() for task in done] == [EMPTY]
        await asyncio.wait(left, timeout=0)
        assert not any(task.done() for task in left)
        await answer(send)
        return [await soon(task) for task in left]

    app = note(app)
    assert (await (await peer.serve(app)).ask()).status == 200
    assert await app.done() == [GONE]


@both
async def test_r7_two_at_once_share_a_body(peer: Peer) -> None:
    waiting = asyncio.Event()

    async def app(scope, receive, send):
        both = [asyncio.ensure_future(messages(receive)) for _ in range(2)]
        await asyncio.sleep(0)
        waiting.set()
        done, left = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        first = [message for task in done for message in task.result()]
        await answer(send)
        second = await soon(left.pop())
        return [*first, *second]

    app = note(app)
    exchange = await (await peer.serve(app)).start("POST", more=True)
    await soon(waiting.wait())
    for _ in range(3):
        await exchange.write(b"abc")
        await peer.barrier()
    await exchange.write(b"", end=True)
    await exchange.response()
    got = await app.done()
    assert b"".join(message.get("body", b"") for message in got) == b"abc" * 3
    assert got[-1] == GONE
    assert GONE not in got[:-1]


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
@h1
async def test_r8_a_body_that_is_cut(peer: Peer, how: str, framing: str) -> None:
    async def app(scope, receive, send):
        got = await messages(receive)
        assert got.pop() == GONE
        with pytest.raises(OSError):
            await answer(send)
        return b"".join(message["body"] for message in got)

    app = note(app)
    client = await peer.serve(app)
    headers = [("content-length", "10")] if framing == "length" else []
    exchange = await client.start("POST", headers=headers, more=True)
    await exchange.write(b"hello")
    await peer.barrier()
    if how == "fin":
        client.wire.fin()
    else:
        client.wire.reset()
    assert b"hello".startswith(await app.done())


@pytest.mark.parametrize("how", ["reset", "fin", "rst", "goaway"])
@h2_only
async def test_r8_a_stream_that_is_cut(peer: Peer, how: str) -> None:
    async def app(scope, receive, send):
        got = await messages(receive)
        return got[-1]

    app = note(app)
    client = await peer.serve(app)
    exchange = await client.start("POST", more=True)
    await exchange.write(b"hello")
    await peer.barrier()
    if how == "reset":
        await exchange.give_up()
    elif how == "fin":
        client.wire.fin()
    elif how == "rst":
        client.wire.reset()
    else:
        client.h2.close_connection(error_code=2)
        await client.flush()
        client.wire.fin()
    assert await app.done() == GONE


@both
async def test_r9_100_continue_at_the_first_receive(peer: Peer) -> None:
    go = asyncio.Event()

    async def app(scope, receive, send):
        await go.wait()
        await answer(send, await read_body(receive))

    client = await peer.serve(app)
    headers = [("expect", "100-continue"), ("content-length", "5")]
    exchange = await client.start("POST", headers=headers, more=True)
    if isinstance(client, H2):
        await client.ping()
        assert not exchange.got.interim
    else:
        await peer.barrier()
        assert not client.wire.waiting()
    go.set()
    if isinstance(client, H2):
        await client.until(lambda: exchange.got.interim)
        assert exchange.got.interim == [100]
    else:
        assert await client.line() == b"HTTP/1.1 100 Continue"
        assert await client.line() == b""
    await exchange.write(b"hello", end=True)
    response = await exchange.response()
    assert (response.status, response.body) == (200, b"hello")


@both
async def test_r9_no_100_after_an_answer(peer: Peer) -> None:
    async def app(scope, receive, send):
        await answer(send, b"too large", 413)
        return await receive()

    app = note(app)
    client = await peer.serve(app)
    headers = [("expect", "100-continue"), ("content-length", "5")]
    exchange = await client.start("POST", headers=headers, more=True)
    response = await exchange.response()
    assert (response.status, response.interim, response.complete) == (413, [], True)
    assert await app.done() == GONE
    if isinstance(client, H1):
        # The body may or may not follow: nobody can tell, so the connection cannot be used again.
        assert await client.closed() == "fin"


@both
async def test_r9_no_100_once_the_body_is_there(peer: Peer) -> None:
    go = asyncio.Event()

    async def app(scope, receive, send):
        await go.wait()
        await answer(send, await read_body(receive))

    client = await peer.serve(app)
    headers = [("expect", "100-continue"), ("content-length", "5")]
    exchange = await client.start("POST", headers=headers, more=True)
    await exchange.write(b"hello", end=True)
    await peer.barrier()
    go.set()
    response = await exchange.response()
    assert (response.body, response.interim) == (b"hello", [])


@h1
async def test_r9_no_100_for_http_1_0(peer: Peer) -> None:
    async def app(scope, receive, send):
        await answer(send, await read_body(receive))

    client = await peer.serve(app)
    response = await client.raw(
        b"POST / HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\nhello"
    )
    assert (response.status, response.interim, response.body) == (200, [], b"hello")


@pytest.mark.parametrize("size", [1000, 200_000, 5_000_000])
@both
async def test_r10_an_answer_to_a_body_that_was_not_read(peer: Peer, size: int) -> None:
    """The client sends all the same; the answer gets through to it, whole."""

    async def app(scope, receive, send):
        if scope["method"] == "POST":
            await answer(send, b"n" * 100_000, 413)
        else:
            await answer(send)

    client = await peer.serve(app)
    exchange = await client.start("POST", headers=[("content-length", str(size))], more=True)
    await exchange.write(b"x")

    async def upload() -> None:
        with contextlib.suppress(ConnectionError):
            await exchange.write(bytes(size - 1), end=True)

    if isinstance(client, H1):
        uploading = asyncio.ensure_future(upload())
        response = await exchange.response()
        await soon(uploading)
    else:
        response = await exchange.response()
        await client.ping()
        assert not client.goaways
        frames = [frame for frame in client.frames if frame.stream_id == exchange.id]
        assert frames[-1].type == 3  # RST_STREAM, without an error (RFC 9113 section 8.1)
        assert frames[-1].error_code == 0
    assert (response.status, len(response.body)) == (413, 100_000)
    if isinstance(client, H2) or (size <= 1000 and not client.ended):
        assert (await client.ask()).status == 200
    elif size > 1_000_000:
        await soon(client.closed())
        assert client.ended


@h1
async def test_r11_a_client_that_says_no_more_is_answered(peer: Peer) -> None:
    go = asyncio.Event()

    async def app(scope, receive, send):
        await read_body(receive)
        await go.wait()
        await send(START)
        for _ in range(10):
            await send({"type": "http.response.body", "body": b"x" * 10000, "more_body": True})
        await send({"type": "http.response.body"})

    client = await peer.serve(app)
    exchange = await client.start("POST", more=True)
    await exchange.write(b"hello", end=True)
    client.wire.fin()
    await peer.barrier()
    go.set()
    response = await exchange.response()
    assert response.complete
    assert len(response.body) == 100_000
    assert await client.closed() == "fin"


@h1
async def test_r11_receive_tells_that_the_client_says_no_more(peer: Peer) -> None:
    async def app(scope, receive, send):
        assert await receive() == EMPTY
        assert await receive() == GONE
        with pytest.raises(OSError):
            await answer(send)
        return "told"

    app = note(app)
    client = await peer.serve(app)
    await client.start()
    await peer.barrier()
    client.wire.fin()
    assert await app.done() == "told"
    # Nothing, or a 500; but it ends, and does not hold up a shutdown.
    await asyncio.wait_for(client.wire.read_all(), 1)
    assert [line for line in peer.log if line.startswith("ERROR")] == []


@h1
async def test_r11_pipelined_requests_before_the_end_are_answered(peer: Peer) -> None:
    async def app(scope, receive, send):
        await asyncio.sleep(0)
        await answer(send, scope["path"].encode())

    client = await peer.serve(app)
    await client.wire.send(
        b"GET /1 HTTP/1.1\r\nhost: x\r\n\r\nGET /2 HTTP/1.1\r\nhost: x\r\n\r\n"
        b"GET /3 HTTP/1.1\r\nhost: x\r\n\r\n"
    )
    client.wire.fin()
    assert [(await client.response()).body for _ in range(3)] == [b"/1", b"/2", b"/3"]
    assert await client.closed() == "fin"


@h2_only
async def test_r12_a_reset_ends_one_stream(peer: Peer) -> None:
    go = asyncio.Event()

    async def app(scope, receive, send):
        await receive()
        if scope["path"] == "/bad":
            return await receive()
        await go.wait()
        waiting = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        assert not waiting.done()
        await answer(send, b"fine")
        return await waiting

    app = note(app)
    client = await peer.serve(app)
    good = await client.start("GET", "/good")
    bad = await client.start("GET", "/bad")
    await client.ping()
    await bad.give_up()
    assert await app.done() == GONE
    go.set()
    assert (await good.response()).body == b"fine"


@h2_only
async def test_r12_goaway_ends_no_stream(peer: Peer) -> None:
    go = asyncio.Event()

    async def app(scope, receive, send):
        await receive()
        waiting = asyncio.ensure_future(receive())
        await go.wait()
        assert not waiting.done()
        await answer(send, b"fine")
        await waiting

    client = await peer.serve(app)
    exchange = await client.start()
    await client.ping()
    # Behind the back of h2, which would take no more frames.
    await client.wire.send(bytes.fromhex("000008 07 00 00000000 00000000 00000000"))
    await client.ping()
    go.set()
    response = await exchange.response()
    assert (response.body, response.complete) == (b"fine", True)


@pytest.mark.parametrize(("length", "body"), [(10, b"hello"), (3, b"hello"), (5, b"")])
@h2_only
async def test_r13_content_length_does_not_match(peer: Peer, length: int, body: bytes) -> None:
    async def app(scope, receive, send):
        got = await messages(receive)
        assert got[-1] == GONE
        return sum(len(message.get("body", b"")) for message in got)

    app = note(app)
    client = await peer.serve(app)
    exchange = await client.start("POST", headers=[("content-length", str(length))], more=True)
    await client.ping()
    await exchange.write(body, end=True)
    response = await exchange.response()
    assert response.reset == 1  # PROTOCOL_ERROR
    assert await app.done() <= length
    assert not client.goaways
    await client.ping()


@h2_only
async def test_r13_content_length_without_any_body(peer: Peer) -> None:
    client = await peer.serve(answer)
    exchange = await client.start("POST", headers=[("content-length", "5")])
    assert (await exchange.response()).reset == 1
    await client.ping()


# ---- disconnect ---------------------------------------------------------------------------------


@both
async def test_d1_a_pending_receive_is_told_at_once(peer: Peer) -> None:
    times: list[float] = []

    async def app(scope, receive, send):
        await receive()
        assert await receive() == GONE
        times.append(asyncio.get_running_loop().time())

    app = note(app)
    exchange = await (await peer.serve(app)).start()
    await peer.barrier()
    before = asyncio.get_running_loop().time()
    await exchange.give_up()
    await app.done()
    assert times[0] - before < 0.5


@both
async def test_d2_the_next_send_raises(peer: Peer) -> None:
    gone = asyncio.Event()

    async def app(scope, receive, send):
        await receive()
        await send(START)
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await gone.wait()
        with pytest.raises(ConnectionError) as error:
            await send({"type": "http.response.body", "body": b"y", "more_body": True})
        return error.value

    app = note(app)
    exchange = await (await peer.serve(app)).start()
    await exchange.body(1)
    await exchange.give_up()
    await peer.barrier()
    gone.set()
    error = await app.done()
    assert isinstance(error, OSError)
    assert isinstance(error, ConnectionResetError)
    assert str(error)


@both
async def test_d2_the_start_raises_too(peer: Peer) -> None:
    async def app(scope, receive, send):
        await receive()
        await receive()
        with pytest.raises(OSError):
            await send(START)
        return True

    app = note(app)
    exchange = await (await peer.serve(app)).start()
    await peer.barrier()
    await exchange.give_up()
    assert await app.done() is True


@both
async def test_d3_the_application_is_not_cancelled(peer: Peer) -> None:
    told, go = asyncio.Event(), asyncio.Event()

    async def app(scope, receive, send):
        await receive()
        await receive()
        told.set()
        await go.wait()
        return "to the end"

    app = note(app)
    exchange = await (await peer.serve(app)).start()
    await peer.barrier()
    await exchange.give_up()
    await soon(told.wait())
    await peer.barrier()
    go.set()
    assert await app.done() == "to the end"


@both
async def test_d4_applications_are_told_at_the_deadline(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cno.process.service.FAREWELL", 0.05)
    peer.cuts = True

    async def app(scope, receive, send):
        await receive()
        await send(START)
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        message = await receive()
        with pytest.raises(OSError):
            while True:  # what is sent goes on to reach the client, until the connection is cut
                await send({"type": "http.response.body", "body": b"y", "more_body": True})
                await asyncio.sleep(0)
        return message

    app = note(app)
    exchange = await (await peer.serve(app, timeout_graceful_shutdown=0.1)).start()
    await exchange.body(1)
    peer.server.close()
    assert await app.done() == GONE
    await soon(peer.server.wait_closed())
    assert not (await exchange.response()).complete
