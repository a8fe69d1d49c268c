"""cno.Server: requests and responses of the seed's API, on real sockets.

P1-P9 are the defects that the first libcno had.
"""

import asyncio
import contextlib
import gc
import io
import logging
import random
import socket
import ssl
import weakref
from collections.abc import AsyncIterator
from typing import Any

import pytest
from native import SERVED, Site, both, h1, h2_only, hello, noted, plain
from peer import over
from wire import H1, H2, H2Exchange, soon

import cno
import cno.transport.body
from tools import Certificate

BLOCK = bytes(65536)


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
    """A field of one client never ends its connection."""

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
async def test_a_body_in_all_the_ways_to_read_it(peer: Site) -> None:
    async def handle(request: cno.Request) -> None:
        payload = request.payload
        assert await payload.readline() == b"line\n"
        assert await payload.readexactly(200000) == bytes(200000)  # more than a window
        assert await payload.readuntil(b";") == b"until;"
        assert await payload.read(3) == b"the"
        assert request.trailers == []
        assert await payload.read() == b" rest"
        assert await payload.read() == b""
        assert payload.at_eof()
        await request.respond(200, [], b"ok")

    client = await peer.serve(handle)
    exchange = await client.start("POST", "/", more=True)
    await exchange.write(b"line\n" + bytes(200000) + b"until;the rest", end=True)
    assert plain(await exchange.response()) == (200, b"ok")


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


@both
async def test_100_is_answered_when_the_payload_is_read(peer: Site) -> None:
    go = asyncio.Event()

    async def handle(request: cno.Request) -> None:
        payload = request.payload
        await go.wait()
        assert await payload.read() == b"body"
        await request.respond(200)

    client = await peer.serve(handle)
    fields = [("expect", "100-continue"), ("content-length", "4")]
    exchange = await client.start("POST", "/", fields, more=True)
    await peer.barrier()
    assert not client.wire.waiting() or isinstance(client, H2)
    assert not exchange.got.interim
    go.set()
    if isinstance(client, H1):
        assert (await client.line()) == b"HTTP/1.1 100 Continue"
        assert (await client.line()) == b""
    else:
        await client.until(lambda: exchange.got.interim)  # type: ignore[attr-defined]
    await exchange.write(b"body", end=True)
    assert (await exchange.response()).status == 200


@both
async def test_no_100_for_a_body_that_is_not_read(peer: Site) -> None:
    client = await peer.serve(hello)
    fields = [("expect", "100-continue"), ("content-length", "4")]
    response = await (await client.start("POST", "/", fields, more=True)).response()
    assert (response.status, response.interim) == (200, [])


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
async def test_p6_every_response_is_framed(peer: Site) -> None:
    async def handle(request: cno.Request) -> None:
        await request.respond(int(request.path[1:]), [], b"")

    client = await peer.serve(handle)
    for code in (200, 204, 304, 404, 200):
        response = await client.ask(f"/{code}")
        assert plain(response) == (code, b"")
        if code in (200, 404):
            assert response.one("content-length") == "0"


async def numbers(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        await asyncio.sleep(0)
        yield part


class Later:
    """A file whose read() is a coroutine function."""

    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)

    async def read(self, size: int) -> bytes:
        await asyncio.sleep(0)
        return self.file.read(size)


BODIES = {
    "bytes": lambda: b"a body",
    "bytearray": lambda: bytearray(b"a body"),
    "memoryview": lambda: memoryview(b"a body"),
    "list": lambda: [b"a ", bytearray(b"bo"), memoryview(b"dy"), b""],
    "generator": lambda: (part for part in (b"a ", b"body")),
    "async": lambda: numbers(b"a ", b"", b"body"),
    "file-object": lambda: io.BytesIO(b"a body"),
    "async-file": lambda: Later(b"a body"),
}


@both
@pytest.mark.parametrize("kind", BODIES)
async def test_kinds_of_bodies(peer: Site, kind: str) -> None:
    async def handle(request: cno.Request) -> None:
        await request.respond(200, [], BODIES[kind]())

    client = await peer.serve(handle)
    for _ in range(2):
        response = await client.ask()
        assert plain(response) == (200, b"a body")
        sized = kind in ("bytes", "bytearray", "memoryview")
        assert response.one("content-length") == ("6" if sized else None)
    response = await client.ask(method="HEAD")
    assert plain(response) == (200, b"")
    assert (await client.ask()).body == b"a body"


@both
async def test_none_is_no_body(peer: Site) -> None:
    async def handle(request: cno.Request) -> None:
        await request.respond(200, body=None)

    assert plain(await (await peer.serve(handle)).ask()) == (200, b"")


@both
async def test_a_file_has_a_length(peer: Site, tmp_path: Any) -> None:
    (tmp_path / "file").write_bytes(b"skipped" + BLOCK * 5)

    async def handle(request: cno.Request) -> None:
        with open(tmp_path / "file", "rb") as file:
            file.seek(7)
            await request.respond(200, [], file)

    response = await (await peer.serve(handle)).ask()
    assert plain(response) == (200, BLOCK * 5)
    assert response.one("content-length") == str(len(BLOCK) * 5)


@both
async def test_a_payload_is_a_body(peer: Site) -> None:
    async def handle(request: cno.Request) -> None:
        await request.respond(200, [], request.payload)

    client = await peer.serve(handle)
    exchange = await client.start("POST", "/", more=True)
    await exchange.write(b"one")
    assert (await exchange.body(3)).body == b"one"
    await exchange.write(b"two", end=True)
    assert plain(await exchange.response()) == (200, b"onetwo")


@both
async def test_a_channel_of_the_seed(peer: Site) -> None:
    async def handle(request: cno.Request) -> None:
        channel = cno.Channel(2, loop=request.conn.loop)
        await channel.put(b"!!!")
        await channel.put(b"\n")
        channel.close()
        await request.respond(200, [], channel)

    assert plain(await (await peer.serve(handle)).ask()) == (200, b"!!!\n")


@both
async def test_p9_no_item_of_a_channel_is_lost(peer: Site) -> None:
    async def handle(request: cno.Request) -> None:
        channel = cno.Channel(1)
        puts = [asyncio.create_task(channel.put(b"%d," % n)) for n in range(10)]
        await asyncio.sleep(0)
        channel.close()
        await request.respond(200, [], channel)
        await asyncio.gather(*puts)

    handle = noted(handle)
    response = await (await peer.serve(handle)).ask()
    assert plain(response) == (200, b"0,1,2,3,4,5,6,7,8,9,")
    assert await handle.done() is None


@both
@pytest.mark.parametrize("how", ["HEAD", "leave", "bad field", "204"])
async def test_whoever_fills_a_channel_never_waits_for_nobody(peer: Site, how: str) -> None:
    filled: asyncio.Queue[Any] = asyncio.Queue()

    async def fill(channel: cno.Channel) -> None:
        try:
            while True:
                await channel.put(BLOCK)
        except BrokenPipeError as error:
            filled.put_nowait(error)

    async def handle(request: cno.Request) -> None:
        channel = cno.Channel(1)
        task = asyncio.create_task(fill(channel))
        try:
            code = 204 if how == "204" else 200
            await request.respond(code, [("bad\n", "")] if how == "bad field" else [], channel)
        finally:
            await task

    client = await peer.serve(handle)
    exchange = await client.start("HEAD" if how == "HEAD" else "GET", "/")
    if how == "leave":
        await exchange.body(1)
        await exchange.give_up()
    assert isinstance(await soon(filled.get()), BrokenPipeError)
    peer.log.clear()


@both
async def test_a_body_that_fails_is_broken_off(peer: Site) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"part"
        raise KeyError("made up")

    async def handle(request: cno.Request) -> None:
        with pytest.raises(KeyError):
            await request.respond(200, [], body())

    handle = noted(handle)
    response = await (await peer.serve(handle)).ask()
    assert response.status == 200
    assert not response.complete
    assert await handle.done() is None
    assert len(peer.log) == 0, peer.log


@both
async def test_a_channel_that_is_closed_with_an_error_is_broken_off(peer: Site) -> None:
    async def handle(request: cno.Request) -> None:
        channel = cno.Channel(2)
        channel.put_nowait(b"part")
        channel.close(KeyError("made up"))
        await request.respond(200, [], channel)

    response = await (await peer.serve(handle)).ask()
    assert not response.complete
    assert response.body in (b"part", b"")
    assert [line for line in peer.log if "made up" in line] == peer.log
    assert len(peer.log) == 1


@both
@pytest.mark.parametrize("body", ["text", 5, [b"x", "text"], {"a": 1}])
async def test_a_body_that_is_none(peer: Site, body: Any) -> None:
    async def handle(request: cno.Request) -> None:
        with pytest.raises(TypeError):
            await request.respond(200, [], body)

    handle = noted(handle)
    client = await peer.serve(handle)
    response = await client.ask()
    assert await handle.done() is None
    assert response.status in (200, 500)
    assert not (response.status == 200 and response.complete)
    peer.log.clear()


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
    """Every answer that comes is the right one, and nothing stays behind."""

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
    assert not server._parts
    assert not peer.log


@both
@pytest.mark.parametrize("body", [[b"12345678901"], [b"123"]])
async def test_a_stream_of_another_length_is_broken_off(peer: Site, body: Any) -> None:
    async def handle(request: cno.Request) -> None:
        with pytest.raises(ValueError):
            await request.respond(200, [("content-length", "10")], body)

    handle = noted(handle)
    response = await (await peer.serve(handle)).ask()
    assert await handle.done() is None
    assert not response.complete


@both
async def test_fields_of_the_group(peer: Site) -> None:
    client = await peer.serve(hello, server_header=True, date_header=False, header=["X-A: b"])
    response = await client.ask()
    assert (response.one("server"), response.one("date"), response.one("x-a")) == ("cno", None, "b")
    bare = await (await peer.connect()).ask()
    assert bare.one("server") == "cno"


@both
async def test_a_tunnel(peer: Site) -> None:
    """CONNECT, granted by 200: the payload is what comes out of it, the body what goes in."""

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
    """Their places are free again, though their tasks had not begun."""
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
@pytest.mark.parametrize("where", ["read", "readexactly", "readline"])
async def test_a_reader_learns_that_the_client_has_left(peer: Site, where: str) -> None:
    results: asyncio.Queue[Any] = asyncio.Queue()

    async def read(payload: asyncio.StreamReader) -> None:
        try:
            await {"readexactly": lambda: payload.readexactly(100)}.get(
                where, getattr(payload, where)
            )()
        except Exception as error:
            results.put_nowait(error)

    async def handle(request: cno.Request) -> None:
        tasks.append(asyncio.create_task(read(request.payload)))
        await asyncio.Event().wait()

    tasks: list[Any] = []
    client = await peer.serve(handle)
    exchange = await client.start("POST", "/", [("content-length", "5")], more=True)
    await exchange.write(b"x")
    await peer.barrier()
    await exchange.give_up()
    assert isinstance(await soon(results.get()), ConnectionError)
    assert not peer.log


@both
async def test_p5_a_failure_is_500_and_logged_once(peer: Site) -> None:
    async def handle(request: cno.Request) -> None:
        if request.path == "/fails":
            raise KeyError("made up")
        await hello(request)

    client = await peer.serve(handle)
    response = await client.ask("/fails")
    assert response.status == 500
    assert response.complete
    assert b"made up" not in response.body
    assert len([line for line in peer.log if "made up" in line]) == len(peer.log) == 1
    if peer.version == "h1":
        client = await peer.connect()
    assert plain(await client.ask()) == (200, b"hello")


@both
async def test_p5_a_failure_behind_the_head_is_a_reset(peer: Site) -> None:
    async def handle(request: cno.Request) -> None:
        channel = cno.Channel(1)
        answering = asyncio.create_task(request.respond(200, [], channel))
        await channel.put(b"part")
        await channel.put(b"part")
        await channel.put(b"part")
        try:
            raise KeyError("made up")
        finally:
            tasks.append(answering)

    tasks: list[Any] = []
    client = await peer.serve(handle)
    response = await client.ask()
    assert response.status == 200
    assert not response.complete
    assert response.reset == (2 if peer.version == "h2" else None)
    assert len(peer.log) == 1
    tasks[0].cancel()


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


@both
@pytest.mark.parametrize("before", [True, False])
async def test_a_body_is_not_to_be_had_behind_the_answer(peer: Site, before: bool) -> None:
    async def handle(request: cno.Request) -> None:
        if before:
            assert not request.payload.at_eof()
        await request.respond(200, [], b"early")
        with pytest.raises(ConnectionAbortedError):
            await request.payload.read()

    handle = noted(handle)
    client = await peer.serve(handle)
    exchange = await client.start("POST", "/", [("content-length", "5")], more=True)
    assert (await exchange.response()).status == 200
    assert await handle.done() is None


@h1
async def test_a_drain_finds_a_client_that_has_just_gone(peer: Site) -> None:
    client = await peer.serve(hello)
    exchange = await client.start("POST", "/", [("content-length", "10")], more=True)
    assert (await exchange.response()).status == 200
    client.wire.reset()
    peer.group.shutdown()
    await soon(peer.group.wait_closed())


@both
async def test_a_body_that_fails_when_its_reader_is_about_to_go_on(peer: Site) -> None:
    async def handle(request: cno.Request) -> None:
        reading = asyncio.ensure_future(request.payload.readexactly(10))
        await asyncio.sleep(0)
        request.feed(b"abc")
        await request.respond(200)
        with pytest.raises(ConnectionAbortedError):
            await soon(reading)

    handle = noted(handle)
    client = await peer.serve(handle)
    exchange = await client.start("POST", "/", [("content-length", "10")], more=True)
    assert (await exchange.response()).status == 200
    assert await handle.done() is None


@h1
async def test_p9_a_half_closed_client_has_its_answer(peer: Site) -> None:
    go = asyncio.Event()

    async def handle(request: cno.Request) -> None:
        await go.wait()
        await request.respond(200, [], BLOCK * 4)

    client = await peer.serve(handle)
    exchange = await client.start()
    client.wire.fin()
    await peer.barrier()
    go.set()
    assert plain(await exchange.response()) == (200, BLOCK * 4)


@both
async def test_p9_nothing_is_said_when_connections_are_lost(peer: Site) -> None:
    """The harness fails on whatever the loop has to complain about."""
    await peer.start(hello)
    for _ in range(5):
        client = await peer.connect()
        assert (await client.ask()).status == 200
        client.wire.reset()
    await peer.barrier()
    assert not peer.log


@h2_only
async def test_p9_a_window_that_opens_for_somebody_who_has_gone(peer: Site) -> None:
    """on_flow_increase finds futures that are cancelled."""

    async def handle(request: cno.Request) -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(request.respond(200, [], BLOCK * 4), 0.01)

    handle = noted(handle)
    client = await peer.serve(handle)
    assert isinstance(client, H2)
    client.credit = False
    exchange = await client.start()
    client.h2.increment_flow_control_window(1 << 20)
    assert (await exchange.response()).reset is not None
    assert await handle.done() is None
    await client.ping()
    assert not peer.log


@both
async def test_p2_a_subclass_has_its_own_methods(peer: Site) -> None:
    """What a subclass overrides is called, whatever was made before."""
    lost: asyncio.Queue[Any] = asyncio.Queue()

    class Mine(cno.Server):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            lost.put_nowait(self.http_version)

    await peer.start(hello)
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: Mine(None, hello), "127.0.0.1", 0)
    peer.server, other = listener, peer.server
    client = await peer.connect()
    assert (await client.ask()).status == 200
    client.close()
    assert await soon(lost.get()) == {"h1": "1.1", "h2": "2"}[peer.version]
    peer.server = other
    listener.close()


# ---- back-pressure -----------------------------------------------------------------------------


class Pump:
    """Does something again and again in the background; `.count` says how often."""

    def __init__(self, step: Any) -> None:
        self.count = 0
        self._step = step
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            await self._step()
            self.count += 1

    async def stuck(self, peer: Site) -> int:
        """Waits until it does not go on, though the server and this loop do."""
        for _ in range(1000):
            before = self.count
            await peer.barrier()
            await peer.barrier()
            if self.count == before:
                self.task.cancel()
                return before
        raise AssertionError("it never stops")


@both
async def test_p7_what_a_handler_does_not_read_stays_with_the_client(peer: Site) -> None:
    go = asyncio.Event()
    payloads: list[cno.transport.body.Payload] = []

    async def handle(request: cno.Request) -> None:
        payload = request.payload
        payloads.append(payload)
        await go.wait()
        for _ in range(100):  # taking a little lets in a little
            assert await payload.read(10)
        await request.respond(200)

    await peer.start(handle)
    peer.server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client = await peer.connect()
    exchange = await client.start("POST", "/", more=True)
    assert await Pump(lambda: exchange.write(BLOCK)).stuck(peer) * len(BLOCK) < 8 << 20
    waiting = len(payloads[0]._buffer)
    assert waiting <= 65535 if peer.version == "h2" else waiting < 1 << 20
    go.set()
    peer.cuts = True
    await exchange.head()
    assert len(payloads[0]._buffer) <= waiting + 65536


@h1
async def test_p7_pipelined_requests_stay_with_the_client(peer: Site) -> None:
    go = asyncio.Event()

    async def handle(request: cno.Request) -> None:
        await go.wait()
        await request.respond(200, [], b"")

    client = await peer.serve(handle)
    one = b"GET / HTTP/1.1\r\nHost: x\r\nX-Filler: " + b"x" * 1000 + b"\r\n\r\n"
    pump = Pump(lambda: client.wire.loop.sock_sendall(client.wire.sock, one * 64))
    assert await pump.stuck(peer) * len(one) * 64 < 16 << 20
    peer.cuts = True
    go.set()


@both
async def test_a_client_that_does_not_read_stops_the_body(peer: Site) -> None:
    taken = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += len(BLOCK)
            yield BLOCK

    async def handle(request: cno.Request) -> None:
        await request.respond(200, [], body())

    handle = noted(handle)
    client = await peer.serve(handle)
    exchange = await client.start()
    await exchange.head()
    for _ in range(1000):
        before = taken
        await peer.barrier()
        await peer.barrier()
        if taken == before:
            break
    assert taken < 16 << 20
    await exchange.give_up()
    assert isinstance(await handle.done(), asyncio.CancelledError)


# ---- options, groups, the end ------------------------------------------------------------------


@both
async def test_p9_an_idle_connection_is_closed(peer: Site) -> None:
    client = await peer.serve(hello, timeout_keep_alive=0.0)
    assert (await client.ask()).status == 200
    assert await client.closed() == "fin"  # type: ignore[attr-defined]


@both
async def test_one_connection_is_shut_down(peer: Site) -> None:
    async def handle(request: cno.Request) -> None:
        request.conn.shutdown()
        await asyncio.sleep(0)
        await request.respond(200, [], b"the last")

    client = await peer.serve(handle)
    assert plain(await client.ask()) == (200, b"the last")
    assert await client.closed() == "fin"  # type: ignore[attr-defined]


@both
async def test_p9_a_group_is_drained(peer: Site) -> None:
    go = asyncio.Event()

    async def handle(request: cno.Request) -> None:
        if request.path == "/slow":
            await go.wait()
        await request.respond(200, [], b"ok")

    client = await peer.serve(handle)
    idle = await peer.connect()
    assert (await idle.ask()).status == 200
    exchange = await client.start("GET", "/slow")
    await peer.barrier()
    draining = asyncio.create_task(peer.group.drain())
    assert await idle.closed() == "fin"  # type: ignore[attr-defined]
    assert not draining.done()
    go.set()
    assert plain(await exchange.response()) == (200, b"ok")
    await client.closed()  # type: ignore[attr-defined]
    await soon(draining)
    assert not peer.group.connections


@both
async def test_a_drain_does_not_wait_for_ever(peer: Site) -> None:
    async def handle(request: cno.Request) -> None:
        await asyncio.Event().wait()

    handle = noted(handle)
    client = await peer.serve(handle)
    await client.start()
    await peer.barrier()
    await peer.group.drain(0.0)
    assert isinstance(await handle.done(), asyncio.CancelledError)


@both
async def test_a_connection_made_while_the_group_drains(peer: Site) -> None:
    await peer.start(hello)
    peer.group.shutdown()
    client = await peer.connect()
    assert await client.closed()  # type: ignore[attr-defined]


def run(main: Any) -> Any:
    return asyncio.run(asyncio.wait_for(main(), 10))


def test_options() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        group = cno.ServerGroup(None, http2=False, timeout_keep_alive=1.5)
        assert (group.loop, group.http2, group.keep_alive) == (loop, False, 1.5)
        server = cno.Server(None, hello, group=group)
        assert (server.loop, server.group) == (loop, group)
        with pytest.raises(TypeError, match="group"):
            cno.Server(None, hello, group=group, http2=True)
        with pytest.raises(TypeError, match="no option 'port'"):
            cno.Server(loop, hello, port=1)  # type: ignore[call-arg]
        with pytest.raises(ValueError, match="timeout_keep_alive"):
            cno.Server(loop, hello, timeout_keep_alive=-1)
        # Alike ones share their clock; others have their own.
        one, two = cno.Server(loop, hello), cno.Server(None, hello)
        other = cno.Server(loop, hello, http2=False)
        assert one.group is two.group
        assert one.group is not other.group

    run(main)


def test_a_group_of_another_loop() -> None:
    async def make() -> cno.ServerGroup:
        return cno.ServerGroup()

    async def main() -> None:
        with pytest.raises(ValueError, match="another loop"):
            cno.Server(asyncio.get_running_loop(), hello, group=group)

    group = run(make)
    run(main)


def test_the_loop_may_be_given_before_it_runs() -> None:
    loop = asyncio.new_event_loop()
    try:
        assert cno.Server(loop, hello).loop is loop
    finally:
        loop.close()


# ---- memory ------------------------------------------------------------------------------------


@both
async def test_p1_everything_is_freed_without_the_collector(peer: Site) -> None:
    logging.getLogger("cno.error").propagate = False  # or pytest keeps what is logged
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
        # The last barrier is still open at its other end.
        assert not [ref() for ref in peer.made[:-1] if ref() is not None]
    finally:
        gc.enable()
        logging.getLogger("cno.error").propagate = True


@h2_only
async def test_a_500_that_there_is_no_window_for(peer: Site) -> None:
    """It is broken off. The stream would stay open for ever, of no handler and with no timeout."""

    async def handle(request: cno.Request) -> None:
        raise KeyError("made up")

    client = await peer.serve(handle)
    client.h2.update_settings({4: 0})  # type: ignore[attr-defined]  # INITIAL_WINDOW_SIZE
    exchange = await client.start()
    assert (await exchange.response()).reset == 2  # INTERNAL_ERROR
    assert len(peer.log) == 1
    peer.log.clear()
