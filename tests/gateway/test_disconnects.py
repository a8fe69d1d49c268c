"""What becomes of applications whose client has gone (ids D5 and D6), and of streams that count."""

import asyncio
import contextlib
import gc
from typing import Any

import pytest
from peer import Peer, answer, both, h2_only, note, over, read_body
from starlette.responses import StreamingResponse
from wire import H2, soon

import cno.server.group

START = {"type": "http.response.start", "status": 200, "headers": []}


def part(body: bytes, *, more: bool = True) -> dict[str, Any]:
    """A message with a part of the body."""
    return {"type": "http.response.body", "body": body, "more_body": more}


@both
async def test_d5_a_silent_stream_of_starlette_ends_with_its_client(peer: Peer) -> None:
    closed = asyncio.Event()

    async def events() -> Any:
        try:
            yield b"data: hello\n\n"
            await asyncio.Event().wait()
        finally:
            closed.set()

    async def app(scope, receive, send):
        await StreamingResponse(events())(scope, receive, send)

    exchange = await (await peer.serve(app)).start()
    await exchange.body(5)
    await exchange.give_up()
    await soon(closed.wait())


@both
async def test_d5_an_application_that_waits_in_receive(peer: Peer) -> None:
    @note
    async def app(scope, receive, send):
        await read_body(receive)
        await send(START)
        await send(part(b"hello"))
        message = await receive()
        with pytest.raises(OSError):
            await send(part(b"more"))
        return message["type"]

    exchange = await (await peer.serve(app)).start()
    await exchange.body(5)
    await exchange.give_up()
    assert await app.done() == "http.disconnect"


@pytest.mark.parametrize("leaves", ["before", "while"])
@both
async def test_d6_who_answers_nobody_is_cancelled_while_draining(
    peer: Peer, leaves: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cno.server.group, "MERCY", 0.05)

    @note
    async def app(scope, receive, send):
        await send(START)
        await send(part(b"hello"))
        try:
            await asyncio.Event().wait()  # listens to nobody
        except asyncio.CancelledError:
            return "cancelled"

    client = await peer.serve(app, timeout_graceful_shutdown=None)
    exchange = await client.start()
    await exchange.body(5)
    if leaves == "before":
        await exchange.give_up()
        await peer.barrier()
        peer.server.close()
    else:
        peer.server.close()
        await asyncio.sleep(0)
        await exchange.give_up()
    assert await app.done() == "cancelled"
    client.close()
    await soon(peer.server.wait_closed())


@both
async def test_d6_who_has_answered_in_full_is_waited_for(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cno.server.group, "MERCY", 0.01)
    go = asyncio.Event()

    @note
    async def app(scope, receive, send):
        await answer(send)
        await go.wait()
        return "ended"

    client = await peer.serve(app, timeout_graceful_shutdown=None)
    assert (await client.ask()).body == b"ok"
    client.close()
    peer.server.close()
    closing = asyncio.ensure_future(peer.server.wait_closed())
    await asyncio.wait([closing], timeout=0.2)
    assert not closing.done()
    go.set()
    assert await app.done() == "ended"
    await soon(closing)


@both
async def test_d6_who_does_not_end_when_cancelled_is_not_waited_for(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cno.server.group, "MERCY", 0.02)
    go = asyncio.Event()

    async def app(scope, receive, send):
        await send(START)
        await send(part(b"hello"))
        while not go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await go.wait()

    client = await peer.serve(app, timeout_graceful_shutdown=None)
    exchange = await client.start()
    await exchange.body(5)
    await exchange.give_up()
    client.close()
    peer.server.close()
    await soon(peer.server.wait_closed())
    assert [line for line in peer.log if "does not end" in line]
    go.set()


@both
async def test_d4_the_server_asks_streams_to_end(peer: Peer) -> None:
    """receive() says http.disconnect, and what is sent then still reaches the client."""

    @note
    async def app(scope, receive, send):
        await read_body(receive)
        await send(START)
        await send(part(b"hello"))
        message = await receive()
        await send(part(b" goodbye", more=False))
        return message["type"]

    exchange = await (await peer.serve(app)).start()
    await exchange.body(5)
    peer.server._site.tell()
    assert await app.done() == "http.disconnect"
    response = await exchange.response()
    assert (response.body, response.complete) == (b"hello goodbye", True)


# ---- streams that count (RFC 9113 section 5.1.2) -------------------------------------------------


@h2_only
async def test_streams_that_were_answered_in_full_do_not_count(peer: Peer) -> None:
    """Background tasks run on, and the next requests are served."""
    go = asyncio.Event()
    running = 0

    async def app(scope, receive, send):
        nonlocal running
        running += 1
        await answer(send)
        await go.wait()
        running -= 1

    client = await peer.serve(app, h2_max_concurrent_streams=10)
    for _ in range(25):
        assert (await client.ask()).body == b"ok"
    assert running == 25
    go.set()


@h2_only
async def test_streams_that_were_reset_count_while_their_application_runs(peer: Peer) -> None:
    go = asyncio.Event()

    async def app(scope, receive, send):
        if scope["path"] == "/stuck":
            await go.wait()
        await answer(send)

    client = await peer.serve(app, h2_max_concurrent_streams=10)
    assert isinstance(client, H2)
    for _ in range(10):
        exchange = await client.start("GET", "/stuck")
        await exchange.give_up()
    assert (await client.ask()).reset == 7  # REFUSED_STREAM
    go.set()
    await peer.barrier()
    assert (await client.ask()).body == b"ok"


# ---- the access log ------------------------------------------------------------------------------


@both
async def test_the_access_log_says_how_a_response_ended(peer: Peer) -> None:
    go = asyncio.Event()

    @note
    async def app(scope, receive, send):
        if scope["path"] == "/whole":
            await answer(send, b"hello")
        elif scope["path"] == "/cut":
            await send(START)
            await send(part(b"hel"))
            raise LookupError
        elif scope["path"] == "/left":
            await go.wait()

    client = await peer.serve(app)
    await client.ask("/whole")
    await client.ask("/cut")
    client = await peer.connect()
    exchange = await client.start("GET", "/left")
    await peer.barrier()
    await exchange.give_up()
    client.close()
    await peer.barrier()
    go.set()
    for _ in range(3):
        await app.done()
    version = "2" if peer.version == "h2" else "1.1"
    lines = [line.split(" - ")[1] for line in peer.access if "no request" not in line]
    lines = [line for line in lines if "400" not in line]
    assert len(lines) == 3, peer.access
    for line, path, rest in zip(
        lines, ("whole", "cut", "left"), ("200 5", "200 3", "499 0"), strict=True
    ):
        assert line.startswith(f'"GET /{path} HTTP/{version}" {rest} '), line
        assert line.endswith(" ms" if path == "whole" else " ms cut"), line


@over("h1")
async def test_the_access_log_has_what_the_engine_refuses(peer: Peer) -> None:
    for data, line in (
        (b"GET /a HTTP/1.1\r\n\r\n", '"GET /a" 400 '),
        (b"GET /%s HTTP/1.1\r\nhost: x\r\n\r\n" % (b"a" * 20000), " 414 "),
        (b"GET /b HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 200 + b"\r\n", '"GET /b" 431 '),
        (b"GET /c HTTP/2.3\r\nhost: x\r\n\r\n", '"GET /c" 505 '),
        (b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n", '"CONNECT a:1" 501 '),
    ):
        if peer.server is None:
            await peer.start(answer, header=[("x-frame-options", "DENY")])
        client = await peer.connect()
        await client.wire.send(data)
        got = await client.wire.read_all()
        assert b"\r\ndate: " in got
        assert b"\r\nserver: cno\r\n" in got
        assert b"\r\nx-frame-options: DENY\r\n" in got
        assert line in peer.access[-1], peer.access


@both
async def test_d5_a_fast_stream_of_starlette_is_closed_without_the_collector(peer: Peer) -> None:
    closed = asyncio.Event()

    async def events() -> Any:
        try:
            while True:
                yield b"data: hello\n\n"
                await asyncio.sleep(0)
        finally:
            closed.set()

    async def app(scope, receive, send):
        await StreamingResponse(events())(scope, receive, send)

    gc.collect()
    gc.disable()
    try:
        exchange = await (await peer.serve(app)).start()
        await exchange.body(5000)
        await exchange.give_up()
        await soon(closed.wait())
    finally:
        gc.enable()


@both
async def test_d2_who_does_not_listen_is_told_by_the_next_send(peer: Peer) -> None:
    lost = asyncio.Event()

    @note
    async def app(scope, receive, send):
        await read_body(receive)
        await send(START)
        await send(part(b"hello"))
        await lost.wait()
        with pytest.raises(OSError):
            await send(part(b"more"))

    exchange = await (await peer.serve(app)).start()
    await exchange.body(5)
    await exchange.give_up()
    await peer.barrier()
    lost.set()
    assert await app.done() is None


@both
async def test_d2_one_send_passes_until_a_listener_has_run(peer: Peer) -> None:
    sent = 0

    @note
    async def app(scope, receive, send):
        nonlocal sent
        await read_body(receive)
        listening = asyncio.ensure_future(receive())
        await send(START)
        try:
            while True:
                await send(part(b"hello"))
                sent += 1
                await asyncio.sleep(0)
        except OSError:
            return (await listening)["type"]

    exchange = await (await peer.serve(app)).start()
    await exchange.body(5)
    await exchange.give_up()
    assert await app.done() == "http.disconnect"


@both
async def test_s8_a_cancelled_send_breaks_the_response_off(peer: Peer) -> None:
    """Half of a part is written: what is sent afterwards must not look like the rest."""
    refused = asyncio.Event()

    async def app(scope, receive, send):
        await send(START)
        sending = asyncio.ensure_future(send(part(bytes(16 << 20))))
        await asyncio.wait([sending], timeout=0.2)
        sending.cancel()
        await asyncio.wait([sending])
        with pytest.raises(OSError):
            await send(part(b"", more=False))
        refused.set()

    client = await peer.serve(app)
    exchange = await client.start()
    await soon(refused.wait())
    assert not (await exchange.response()).complete
