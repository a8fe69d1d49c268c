"""cno/server/request.py: requests and responses of the seed's API, on real sockets.

P1 to P9 are defects that the first libcno had.
"""

import asyncio
import contextlib
import gc
import logging
import random
import ssl
import weakref
from collections.abc import AsyncIterator
from typing import Any

import pytest
from bare import Transport
from native import SERVED, Site, both, h2_only, hello, noted, plain
from peer import over
from pressure import BLOCK
from wire import H1, H2, H2Exchange, soon

import cno
from tools import Certificate

# ---- requests ----------------------------------------------------------------------------------


@both
async def test_a_request_as_the_seed_has_it(peer: Site) -> None:
    seen: dict[str, Any] = {}

    async def handle(request: cno.Request) -> None:
        seen.update(method=request.method, path=request.path, headers=request.headers)
        assert isinstance(request.conn, cno.Server)
        assert request.conn.loop is asyncio.get_running_loop()
        assert request.conn.transport.get_extra_info("peername")[0] == "127.0.0.1"
        assert isinstance(request.payload, asyncio.StreamReader)
        assert await request.payload.read() == b""
        assert request.headers is request.headers
        await request.respond(200, [("content-length", "4")], b"!!!\n")

    client = await peer.serve(handle)
    response = await client.ask("/a%20b?q=1", [("X-One", "1")])
    assert plain(response) == (200, b"!!!\n")
    assert response.one("content-length") == "4"
    scheme = "http" if peer.version == "h2" else "unknown"
    assert seen == {
        "method": "GET",
        "path": "/a%20b?q=1",
        "headers": [(":scheme", scheme), (":authority", "localhost"), ("x-one", "1")],
    }


@both
async def test_octets_that_are_not_utf8(peer: Site) -> None:
    """A field that is not UTF-8 does not end the connection."""

    async def handle(request: cno.Request) -> None:
        assert dict(request.headers)["x-a"] == "caf\u00e9"
        assert dict(request.headers)["x-b"] == "caf\u00e9"
        assert dict(request.raw_headers)[b"x-b"] == b"caf\xc3\xa9"
        await request.respond(200, [(b"x-c", b"\xe9"), ("x-d", "\u00e9")])

    client = await peer.serve(handle)
    response = await client.ask("/", [("x-a", "caf\u00e9"), ("x-b", "caf\u00c3\u00a9")])
    assert response.status == 200, peer.log
    assert dict(response.headers)[b"x-c"] == b"\xe9"
    assert dict(response.headers)[b"x-d"] == b"\xc3\xa9"
    assert (await client.ask("/", [("x-a", "caf\u00e9"), ("x-b", "caf\u00c3\u00a9")])).status == 200


@both
async def test_request_trailers(peer: Site) -> None:
    async def handle(request: cno.Request) -> None:
        assert await request.payload.read() == b"body"
        assert request.trailers == [("x-sum", "caf\u00e9")]
        await request.respond(204)

    client = await peer.serve(handle)
    if isinstance(client, H1):
        head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        response = await client.raw(head + b"4\r\nbody\r\n0\r\nX-Sum: caf\xe9\r\n\r\n")
    else:
        assert isinstance(client, H2)
        exchange = await client.start("POST", "/", more=True)
        await exchange.write(b"body")
        client.h2.send_headers(exchange.id, [(b"x-sum", b"caf\xe9")], end_stream=True)
        await client.flush()
        response = await exchange.response()
    assert response.status == 204, peer.log


@over("h1", "h2", loops=SERVED, make=Site)
async def test_p9_tls_and_who_is_there(peer: Site, certificate: Certificate) -> None:
    secure = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    secure.load_cert_chain(certificate.cert, certificate.key)
    secure.set_alpn_protocols(["h2", "http/1.1"])

    async def handle(request: cno.Request) -> None:
        ssl_object = request.conn.transport.get_extra_info("ssl_object")
        version = f"{ssl_object.version()} {request.conn.http_version} {request.conn.scheme}"
        await request.respond(200, [], version.encode())

    await peer.start(handle, tls=secure)
    trust = ssl.create_default_context(cafile=str(certificate.cert))
    client = await peer.connect(tls=trust)
    version = {"h1": "1.1", "h2": "2"}[peer.version]
    assert plain(await client.ask()) == (200, f"TLSv1.3 {version} https".encode())


# ---- responses ---------------------------------------------------------------------------------


@both
async def test_response_trailers(peer: Site) -> None:
    count = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal count
        for _ in range(3):
            count += 1
            yield b"x"

    async def handle(request: cno.Request) -> None:
        if request.path == "/late":
            await request.respond(200, [], body(), trailers=lambda: [("X-Count", str(count))])
        else:
            await request.respond(200, [], b"xxx", trailers=[("x-count", "3")])

    client = await peer.serve(handle)
    for path in ("/late", "/"):
        response = await client.ask(path)
        assert plain(response) == (200, b"xxx")
        assert response.trailers == [(b"x-count", b"3")]


@both
async def test_trailers_are_not_for_http_1_0(peer: Site) -> None:
    async def handle(request: cno.Request) -> None:
        request.inform(103, [("link", "</x>")])
        await request.respond(200, [], b"body", trailers=[("x-count", "3")])

    await peer.start(handle)
    client = await peer.connect("h1")
    assert isinstance(client, H1)
    response = await client.raw(b"GET / HTTP/1.0\r\n\r\n")
    assert (response.body, response.framing, response.interim) == (b"body", "close", [])


@both
async def test_informational_heads(peer: Site) -> None:
    async def handle(request: cno.Request) -> None:
        request.inform(103, [("Link", "</style.css>; rel=preload")])
        request.inform(102, [])
        for code in (99, 100, 101, 200):
            with pytest.raises(ValueError):
                request.inform(code, [])
        await request.respond(200, [], b"ok")
        with pytest.raises(RuntimeError):
            request.inform(103, [])

    response = await (await peer.serve(noted(handle))).ask()
    assert plain(response) == (200, b"ok")
    assert response.interim == [103, 102]
    assert not peer.log


@both
async def test_p3_what_cannot_be_sent_raises_and_harms_nobody(peer: Site) -> None:
    go = asyncio.Event()

    async def handle(request: cno.Request) -> None:
        if request.path == "/other":
            await go.wait()
            await request.respond(200, [], b"other")
            return
        for code, headers, body in [
            (200, [("bad\nname", "x")], b""),
            (200, [("name", "bad\nvalue")], b""),
            (200, [("content-length", "5")], b"four"),
            (200, [("content-length", "3")], b"four"),
            (200, [(":status", "200")], b""),
            (99, [], b""),
            (1000, [], b""),
        ]:
            with pytest.raises(ValueError):
                await request.respond(code, headers, body)
        with pytest.raises((TypeError, AttributeError)):
            await request.respond(200, [("name", 5)], b"")  # type: ignore[list-item]
        await request.respond(200, [], b"at last")
        with pytest.raises(RuntimeError, match="already"):
            await request.respond(200, [], b"again")
        go.set()

    handle = noted(handle)
    client = await peer.serve(handle)
    other = await (client if peer.version == "h2" else await peer.connect()).start("GET", "/other")
    assert plain(await client.ask()) == (200, b"at last")
    assert await handle.done() is None
    assert plain(await other.response()) == (200, b"other")
    assert await handle.done() is None
    assert not peer.log


@h2_only
async def test_p3_a_request_that_is_cancelled_takes_nobody_down(peer: Site) -> None:
    go = asyncio.Event()

    async def handle(request: cno.Request) -> None:
        if request.path == "/other":
            await go.wait()
            await request.respond(200, [], BLOCK * 4)
        else:
            await request.respond(200, [], (BLOCK for _ in range(1 << 20)))

    client = await peer.serve(handle)
    other = await client.start("GET", "/other")
    for _ in range(5):
        exchange = await client.start()
        await exchange.body(1)
        await exchange.give_up()
    go.set()
    assert plain(await other.response()) == (200, BLOCK * 4)
    assert not peer.log


@h2_only
async def test_p3_a_thousand_requests_of_which_many_are_cancelled(peer: Site) -> None:
    """Every response belongs to its request, and no request stays behind."""

    async def handle(request: cno.Request) -> None:
        if request.path.startswith("/drop"):
            await request.respond(200, [], (BLOCK for _ in range(1 << 20)))
        else:
            data = await request.payload.read()
            await request.respond(200, [], [request.path.encode(), data])

    client = await peer.serve(handle)
    chance = random.Random(7)
    for number in range(1000):
        kind = chance.choice(["get", "post", "drop", "half"])
        exchange = await client.start("POST", f"/{kind}{number}", more=kind != "get")
        body = bytes(chance.randrange(100000)) if kind != "get" else b""
        if kind in ("drop", "half"):
            await exchange.write(body[:50000], end=False)
            if chance.random() < 0.5:
                await client.ping()  # type: ignore[attr-defined]
            await exchange.give_up()
            continue
        if kind == "post":
            await exchange.write(body, end=True)
        response = await exchange.response()
        assert plain(response) == (200, f"/{kind}{number}".encode() + body)
    await client.ping()  # type: ignore[attr-defined]
    (server,) = peer.group.connections
    while server.running:
        await asyncio.sleep(0)
    assert not server.streams
    assert not server._waiting
    assert not server.parts
    assert not peer.log


async def _pipelined_to_a_full_transport() -> None:
    served = 0

    async def handle(request: cno.Request) -> None:
        nonlocal served
        served += 1
        await request.respond(200, [], bytes(10000))

    server = cno.Server(asyncio.get_running_loop(), handle)
    wire = Transport()
    wire.protocol = server
    server.connection_made(wire)  # type: ignore[arg-type]
    wire.stop()
    server.data_received(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 50)
    for _ in range(50):
        await asyncio.sleep(0)
    assert (served, wire.take()) == (1, b"")
    wire.go()
    while served < 50:
        await asyncio.sleep(0)
    server.connection_lost(None)
    await server.group.drain(0)


def test_pipelined_responses_that_nobody_reads() -> None:
    """One response waits beyond what the transport takes, however many requests have come."""
    asyncio.run(asyncio.wait_for(_pipelined_to_a_full_transport(), 10))


@both
async def test_a_tunnel(peer: Site) -> None:
    """CONNECT is granted by 200; payload and body are the two directions of the tunnel."""

    async def handle(request: cno.Request) -> None:
        if dict(request.headers)[":authority"] == "no:1":
            await request.respond(405)
        else:
            await request.respond(200, [], request.payload)

    client = await peer.serve(handle)
    if isinstance(client, H1):
        await client.wire.send(b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\nearly")
        while await client.line():
            pass
        for words in (b"early", b"late"):
            while len(client.buffer) < len(words):
                assert await client.fill()
            assert bytes(client.buffer) == words
            client.buffer.clear()
            await client.wire.send(b"late")
        client.close()
        client = await peer.connect()
        assert isinstance(client, H1)
        response = await client.raw(b"CONNECT no:1 HTTP/1.1\r\nHost: no:1\r\n\r\n")
        assert response.status == 405
    else:
        assert isinstance(client, H2)
        tunnel = await client.open([(":method", "CONNECT"), (":authority", "h:1")], more=True)
        await tunnel.head()
        for words in (b"early", b"late"):
            await tunnel.write(words)
            assert (await tunnel.body(len(tunnel.got.body) + len(words))).body.endswith(words)
        await tunnel.write(b"", end=True)
        assert plain(await tunnel.response()) == (200, b"earlylate")
        refused = await client.open([(":method", "CONNECT"), (":authority", "no:1")], more=True)
        assert (await refused.response()).status == 405
    assert not peer.log


# ---- push --------------------------------------------------------------------------------------


@h2_only
async def test_push(peer: Site) -> None:
    seen = []

    async def handle(request: cno.Request) -> None:
        if request.path == "/":
            request.push("GET", "/a.css", [("X-Extra", "1")])
            request.push("GET", "/b.css", [(":authority", "other")])
            with pytest.raises(ValueError):
                request.push("GET", "no path", [])
            await request.respond(200, [], b"page")
            request.push("GET", "/late.css")
        else:
            request.push("GET", "/deeper.css")
            assert await request.payload.read() == b""
            seen.append((request.id, request.method, request.path, request.headers))
            await request.respond(200, [], b"style")

    client = await peer.serve(handle)
    assert isinstance(client, H2)
    for stream in (2, 4):
        client.exchanges[stream] = H2Exchange(client, stream)
    assert plain(await client.ask()) == (200, b"page")
    for stream in (2, 4):
        assert plain(await client.exchanges[stream].response()) == (200, b"style")
    scheme = (":scheme", "http")
    assert seen == [
        (2, "GET", "/a.css", [scheme, (":authority", "localhost"), ("x-extra", "1")]),
        (4, "GET", "/b.css", [scheme, (":authority", "other")]),
    ]
    await client.ping()
    assert not [frame for frame in client.frames if frame.stream_id == 6]
    assert not peer.log


@both
async def test_push_where_it_is_not_wanted(peer: Site) -> None:
    async def handle(request: cno.Request) -> None:
        request.push("GET", "/a.css", [])
        await request.respond(200, [], b"page")

    client = await peer.serve(handle)
    if isinstance(client, H2):
        client.h2.update_settings({2: 0})
        await client.flush()
        await client.ping()
    assert plain(await client.ask()) == (200, b"page")
    assert not peer.log


@h2_only
async def test_push_within_the_limit_of_streams(peer: Site) -> None:
    go = asyncio.Event()

    async def handle(request: cno.Request) -> None:
        if request.path == "/":
            for number in range(10):
                request.push("GET", f"/{number}")
            go.set()
        await go.wait()
        await request.respond(200, [], b"ok")

    client = await peer.serve(handle, h2_max_concurrent_streams=4)
    assert isinstance(client, H2)
    assert plain(await client.ask()) == (200, b"ok")
    await client.ping()
    promised = {f.promised_stream_id for f in client.frames if hasattr(f, "promised_stream_id")}
    assert promised == {2, 4, 6, 8}
    assert not [f for f in client.frames if type(f).__name__ == "RstStreamFrame"]


# ---- the handler's life ------------------------------------------------------------------------


@both
async def test_p4_a_handler_is_not_cancelled_because_it_has_answered(peer: Site) -> None:
    go = asyncio.Event()

    async def handle(request: cno.Request) -> str:
        await request.respond(200, [], b"ok")
        await go.wait()
        return "to the end"

    handle = noted(handle)
    client = await peer.serve(handle)
    assert plain(await client.ask()) == (200, b"ok")
    client.close()
    await peer.barrier()
    await peer.barrier()
    go.set()
    assert await handle.done() == "to the end"


@both
async def test_a_handler_is_cancelled_when_the_client_leaves(peer: Site) -> None:
    async def handle(request: cno.Request) -> None:
        await asyncio.Event().wait()

    handle = noted(handle)
    client = await peer.serve(handle)
    exchange = await client.start()
    await peer.barrier()
    await exchange.give_up()
    assert isinstance(await handle.done(), asyncio.CancelledError)
    assert not peer.log


@h2_only
async def test_requests_that_are_cancelled_in_the_read_that_brings_them(peer: Site) -> None:
    """The limit of streams counts them no longer, although their tasks have not begun."""
    client = await peer.serve(hello, h2_max_concurrent_streams=1)
    for _ in range(3):
        stream = client.h2.get_next_available_stream_id()  # type: ignore[attr-defined]
        fields = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")]
        client.h2.send_headers(stream, fields, end_stream=True)  # type: ignore[attr-defined]
        client.h2.reset_stream(stream, 8)  # type: ignore[attr-defined]
        await client.flush()  # type: ignore[attr-defined]
        await client.ping()  # type: ignore[attr-defined]
    (server,) = peer.group.connections
    assert not server.running
    assert plain(await client.ask()) == (200, b"hello")
    assert not peer.log


@both
async def test_a_handler_that_cuts_its_own_connection_in_its_first_step(peer: Site) -> None:
    async def handle(request: cno.Request) -> None:
        request.conn.cut()
        with pytest.raises(cno.ClientDisconnected):
            await request.respond(200)
        await asyncio.sleep(0)

    handle = noted(handle)
    client = await peer.serve(handle)
    await client.start()
    assert isinstance(await handle.done(), asyncio.CancelledError)
    await client.closed()  # type: ignore[attr-defined]
    assert not peer.log


@both
async def test_what_a_handler_sees_that_goes_on_after_the_client_has_left(peer: Site) -> None:
    async def handle(request: cno.Request) -> list[str]:
        seen = []
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        for attempt in (
            lambda: request.respond(200, [], b"x"),
            lambda: request.payload.read(),
        ):
            try:
                await attempt()
            except cno.ClientDisconnected as error:
                seen.append(type(error).__name__)
        request.push("GET", "/")
        return seen

    handle = noted(handle)
    client = await peer.serve(handle)
    exchange = await client.start("POST", "/", [("content-length", "5")], more=True)
    await peer.barrier()
    await exchange.give_up()
    assert await handle.done() == ["ClientDisconnected"] * 2
    assert not peer.log


@both
async def test_a_response_that_nobody_cancels_ends_when_the_client_has_left(peer: Site) -> None:
    async def handle(request: cno.Request) -> None:
        body = (BLOCK for _ in iter(int, 1))
        responding = asyncio.ensure_future(request.respond(200, [], body))
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        with pytest.raises(cno.ClientDisconnected):
            await soon(responding)

    handle = noted(handle)
    client = await peer.serve(handle)
    exchange = await client.start()
    await exchange.body(1)
    await exchange.give_up()
    assert await handle.done() is None


@both
@pytest.mark.parametrize("handle", [lambda request: None, lambda: 1, noted(lambda request: 1)])
async def test_a_handler_that_is_none(peer: Site, handle: Any) -> None:
    assert (await (await peer.serve(handle)).ask()).status == 500
    assert len(peer.log) == 1


@both
async def test_a_handler_that_forgets_to_answer(peer: Site) -> None:
    async def handle(request: cno.Request) -> None:
        pass

    assert (await (await peer.serve(handle)).ask()).status == 500
    assert len(peer.log) == 1


@both
async def test_a_handler_that_somebody_else_cancels(peer: Site) -> None:
    async def handle(request: cno.Request) -> None:
        raise asyncio.CancelledError

    assert (await (await peer.serve(handle)).ask()).status == 500


# ---- memory ------------------------------------------------------------------------------------


@both
async def test_p1_everything_is_freed_without_the_collector(peer: Site) -> None:
    # Otherwise pytest keeps the records of the log alive.
    logging.getLogger("cno.error").propagate = False
    requests: list[weakref.ref[Any]] = []

    async def handle(request: cno.Request) -> None:
        requests.append(weakref.ref(request))
        requests.append(weakref.ref(request.payload))
        if request.path == "/fails":
            raise KeyError("made up")
        if request.path == "/stream":
            await request.respond(200, [], request.payload)
        elif request.path == "/wrong":
            with pytest.raises(ValueError):
                await request.respond(200, [("bad\n", "")])
            await request.respond(200)
        elif request.path == "/leaves":
            assert await request.payload.read()
        else:
            await request.payload.read()
            request.push("GET", "/pushed")
            await request.respond(200, [], b"ok")

    await peer.start(handle)
    gc.collect()
    gc.disable()
    try:
        for path in ("/", "/stream", "/wrong", "/fails", "/leaves"):
            client = await peer.connect()
            exchange = await client.start("POST", path, more=True)
            if path == "/leaves":
                await peer.barrier()
                await exchange.give_up()
            else:
                await exchange.write(b"body", end=True)
                await exchange.response()
            client.close()
        for _ in range(3):
            await peer.barrier()
        assert len(requests) >= 10
        assert not [ref() for ref in requests if ref() is not None]
        # The server side of the last barrier is still open.
        assert not [ref() for ref in peer.made[:-1] if ref() is not None]
    finally:
        gc.enable()
        logging.getLogger("cno.error").propagate = True
