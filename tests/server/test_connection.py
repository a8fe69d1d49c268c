"""cno/server/connection.py: idle connections, half-closed clients, shutdown and TLS, on sockets."""

import asyncio
import ssl

import native
import pytest
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, PingFrame
from native import Site, plain
from peer import Peer, answer, both, echo, h1, h2_only, hello, note, over, read_body
from pressure import BLOCK, START, part
from wire import H1, H2, soon

import cno
from tools import Certificate

# ---- the handler's life ------------------------------------------------------------------------


@native.h1
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


@native.both
async def test_p9_nothing_is_said_when_connections_are_lost(peer: Site) -> None:
    """The harness fails if the exception handler of the loop was called."""
    await peer.start(native.hello)
    for _ in range(5):
        client = await peer.connect()
        assert (await client.ask()).status == 200
        client.wire.reset()
    await peer.barrier()
    assert not peer.log


# ---- options, groups, the end ------------------------------------------------------------------


@native.both
async def test_p9_an_idle_connection_is_closed(peer: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cno.server.group.TICK", 0.05)
    monkeypatch.setattr("cno.server.connection.DRAIN", 0.05)
    client = await peer.serve(native.hello, timeout_keep_alive=0.0)
    assert (await client.ask()).status == 200
    assert await client.closed() == "fin"  # type: ignore[attr-defined]


@native.both
async def test_one_connection_is_shut_down(peer: Site) -> None:
    async def handle(request: cno.Request) -> None:
        request.conn.shutdown()
        await asyncio.sleep(0)
        await request.respond(200, [], b"the last")

    client = await peer.serve(handle)
    assert plain(await client.ask()) == (200, b"the last")
    assert await client.closed() == "fin"  # type: ignore[attr-defined]


# ---- idle time ----------------------------------------------------------------------------------


@over("h1", loops=["asyncio"])
async def test_idle_connections_are_closed(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that are used, or whose request takes long, stay open."""
    monkeypatch.setattr("cno.server.group.TICK", 0.05)
    monkeypatch.setattr("cno.server.connection.DRAIN", 0.05)
    go = asyncio.Event()

    async def app(scope, receive, send):
        await read_body(receive)
        if scope["path"] == "/slow":
            await go.wait()
        await answer(send)

    await peer.start(app, timeout_keep_alive=0.5)
    idle = [await peer.connect(version) for version in ("h1", "h2")]
    used = [await peer.connect(version) for version in ("h1", "h2")]
    busy = [await peer.connect(version) for version in ("h1", "h2")]
    slow = [await client.start("GET", "/slow") for client in busy]
    for client in idle:
        assert (await client.ask()).body == b"ok"
    ends = asyncio.gather(*[client.closed() for client in idle])
    while not ends.done():
        for client in used:
            assert (await client.ask()).body == b"ok"
        await asyncio.sleep(0.1)
    assert await ends == ["fin", "fin"]
    assert isinstance(idle[1], H2)
    assert idle[1].goaways == [(1, 0)]
    go.set()
    for exchange in slow:
        assert (await exchange.response()).body == b"ok"
    assert not any(client.ended for client in (*used, *busy))


# ---- the end ------------------------------------------------------------------------------------


@h2_only
async def test_shutdown_order_on_the_wire(peer: Peer) -> None:
    """The server sends GOAWAY(2^31-1) and PING, serves a request that crosses them, sends GOAWAY
    with
    the id of that request, then the rest of the responses, and closes."""
    go = asyncio.Event()

    async def app(scope, receive, send):
        await send(START)
        await send(part(b"begun"))
        await go.wait()
        await send(part(b", done", more=False))

    client = await peer.serve(app)
    first = await client.start()
    await first.body(5)
    client.frames.clear()
    peer.server.close()
    await peer_closes(peer)
    second = await client.start()  # before the client has read the GOAWAY
    await second.body(5)
    await client.until(lambda: len(client.goaways) == 2)
    assert client.goaways == [(2**31 - 1, 0), (second.id, 0)]
    go.set()
    assert (await first.response()).body == b"begun, done"
    assert (await second.response()).body == b"begun, done"
    assert await client.closed() == "fin"
    kinds = [type(f) for f in client.frames if isinstance(f, (GoAwayFrame, PingFrame))]
    assert kinds == [GoAwayFrame, PingFrame, GoAwayFrame]
    last = max(i for i, f in enumerate(client.frames) if isinstance(f, GoAwayFrame))
    assert any(isinstance(f, DataFrame) for f in client.frames[last:])
    client.close()
    await soon(peer.server.wait_closed())
    assert not [line for line in peer.log if line.startswith("ERROR")]


async def peer_closes(peer: Peer) -> None:
    """Waits until the server takes no more connections."""
    for _ in range(1000):
        if any("Waiting for connections" in line for line in peer.log):
            return
        await asyncio.sleep(0.001)
    raise AssertionError(peer.log)


@h2_only
async def test_requests_after_the_second_goaway_are_refused(peer: Peer) -> None:
    go = asyncio.Event()
    paths = []

    async def app(scope, receive, send):
        paths.append(scope["path"])
        await go.wait()
        await answer(send)

    client = await peer.serve(app)
    first = await client.start("GET", "/first")
    await client.ping()
    peer.server.close()
    await client.until(lambda: len(client.goaways) == 2)
    late = await client.start("GET", "/late")
    await client.ping()
    go.set()
    assert (await first.response()).body == b"ok"
    assert (await late.response()).status == 0
    assert paths == ["/first"]


@over("h2", loops=["asyncio"])
async def test_shutdown_of_a_peer_that_answers_no_ping(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second GOAWAY comes without an answer to the PING."""
    monkeypatch.setattr("cno.server.connection.DRAIN", 0.05)
    client = await peer.serve(hello, timeout_graceful_shutdown=5)
    await client.ping()
    peer.server.close()
    got = await client.wire.read_all()
    client.close()
    assert got.count(b"\0\0\x08\x07\0\0\0\0\0") == 2
    await soon(peer.server.wait_closed())


@h1
async def test_shutdown_of_http_1(peer: Peer) -> None:
    go = asyncio.Event()

    async def app(scope, receive, send):
        await go.wait()
        await answer(send)

    client = await peer.serve(app)
    idle = await peer.connect()
    await idle.wire.send(b"GET / HT")
    await client.start()
    await peer.barrier()
    peer.server.close()
    await peer_closes(peer)
    go.set()
    response = await client.response()
    assert (response.body, response.one("connection")) == (b"ok", "close")
    assert await client.closed() == "fin"
    client.close()
    idle.close()
    await soon(peer.server.wait_closed())


@h1
async def test_shutdown_in_the_middle_of_a_response(peer: Peer) -> None:
    """The head was sent without `connection: close`. The response is completed, then the server
    closes."""
    go = asyncio.Event()

    async def app(scope, receive, send):
        await send(START)
        await send(part(b"begun"))
        await go.wait()
        await send(part(b", done", more=False))

    client = await peer.serve(app)
    exchange = await client.start()
    await exchange.body(5)
    peer.server.close()
    await peer_closes(peer)
    go.set()
    response = await exchange.response()
    assert (response.body, response.complete) == (b"begun, done", True)
    assert await client.closed() == "fin"


@over("h1", loops=["asyncio"])
async def test_shutdown_with_pipelined_requests(peer: Peer) -> None:
    """The request under way is answered, with `connection: close`."""
    go = asyncio.Event()
    paths = []

    async def app(scope, receive, send):
        paths.append(scope["path"])
        await go.wait()
        await answer(send)

    peer.cuts = True  # see test_the_end_of_a_client_that_said_too_much
    client = await peer.serve(app)
    await client.wire.send(b"".join(b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n" % n for n in range(3)))
    await peer.barrier()
    peer.server.close()
    await peer_closes(peer)
    go.set()
    response = await client.response()
    assert (response.body, response.one("connection")) == (b"ok", "close")
    assert await client.closed() == "fin"
    assert paths == ["/0"]


@both
async def test_shutdown_closes_idle_connections_at_once(peer: Peer) -> None:
    client = await peer.serve(hello)
    assert (await client.ask()).body == b"ok"
    loop = asyncio.get_running_loop()
    begin = loop.time()
    peer.server.close()
    assert await client.closed() == "fin"
    client.close()
    await soon(peer.server.wait_closed())
    assert loop.time() - begin < 0.5


@over("h1", "h2", loops=["asyncio"])
async def test_shutdown_does_not_wait_for_idle_clients(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that keeps its connection in a pool does not close its side before the next request.
    A server without unread input does not linger for such a client."""
    monkeypatch.setattr("cno.server.group.TICK", 0.02)
    peer.cuts = True
    client = await peer.serve(hello)
    assert (await client.ask()).body == b"ok"
    while any(connection._busy for connection in peer.server._site.connections):
        await asyncio.sleep(0.01)
    loop = asyncio.get_running_loop()
    begin = loop.time()
    peer.server.close()
    assert await client.closed() == "fin"
    await soon(peer.server.wait_closed())
    assert loop.time() - begin < 0.5


@over("h1", loops=["asyncio"])
async def test_the_end_of_a_client_that_said_too_much(peer: Peer) -> None:
    """The client sends bytes behind its last request: the connection closes when the client
    closes."""
    client = await peer.serve(hello)
    await client.wire.send(
        b"GET /1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\nGET /2 HTTP/1.1\r\nhost: x\r\n\r\n"
    )
    assert (await client.response()).body == b"ok"
    assert await client.closed() == "fin"
    client.close()
    peer.server.close()
    await peer.server.wait_closed()
    assert not [line for line in peer.log if "still open" in line]


@h1
async def test_an_error_reaches_a_client_that_still_sends(peer: Peer) -> None:
    """The 400 arrives, and is not lost to a reset of TCP."""
    client = await peer.serve(hello)
    await client.wire.send(b"GET / HTTP/1.1\r\nbad header\r\n\r\n")
    await client.wire.send(bytes(100_000))
    response = await client.response()
    assert (response.status, response.one("connection")) == (400, "close")
    assert response.complete


@both
async def test_a_connection_that_never_says_anything(peer: Peer) -> None:
    client = await peer.serve(hello)
    other = await peer.connect(begin=False)
    assert (await client.ask()).body == b"ok"
    other.close()


@h2_only
async def test_a_client_that_goes_with_streams_open(peer: Peer) -> None:
    app = note(echo)
    client = await peer.serve(app)
    await client.ping()
    for _ in range(20):
        await client.start("POST", more=True)
    await client.ping()  # a reset discards input that the server has not read
    client.wire.reset()
    for _ in range(20):
        assert isinstance(await app.done(), ConnectionError)


# ---- TLS ----------------------------------------------------------------------------------------


def tls_options(certificate: Certificate) -> dict[str, str]:
    """Returns the options of serve() for TLS."""
    return {"ssl_certfile": str(certificate.cert), "ssl_keyfile": str(certificate.key)}


@both
async def test_tls_large_bodies(peer: Peer, certificate: Certificate) -> None:
    await peer.start(echo, **tls_options(certificate))
    client = await peer.connect(tls=ssl.create_default_context(cafile=certificate.cert))
    body = bytes(range(256)) * 8000
    response = await client.ask(method="POST", body=body)
    assert response.body == body


@pytest.mark.parametrize("chosen", ["h2", "http/1.1"])
@over("h1")
async def test_alpn_is_obeyed(peer: Peer, chosen: str, certificate: Certificate) -> None:
    """The server parses only the version that ALPN has chosen, whatever the bytes look like."""
    await peer.start(hello, **tls_options(certificate))
    context = ssl.create_default_context(cafile=certificate.cert)
    client = await peer.connect("h2" if chosen == "h2" else "h1", tls=context, begin=False)
    if chosen == "h2":
        await client.wire.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"HTTP/1.1 200" not in await client.wire.read_all()
    else:
        await client.wire.send(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("00000004" + "0" * 10)
        )
        got = await client.wire.read_all()
        assert got.startswith(b"HTTP/1.1 ")
        assert b" 200 " not in got.split(b"\r\n")[0] + b" "


@both
async def test_tls_a_client_that_goes(peer: Peer, certificate: Certificate) -> None:
    app = note(echo)
    await peer.start(app, **tls_options(certificate))
    client = await peer.connect(tls=ssl.create_default_context(cafile=certificate.cert))
    exchange = await client.start("POST", more=True)
    await exchange.write(b"x")
    client.close()
    assert isinstance(await app.done(), ConnectionError)


@h2_only
async def test_heads_larger_than_a_frame(peer: Peer) -> None:
    """Large heads are sent with CONTINUATION frames."""
    fields = [(b"x-%d" % number, bytes([97 + number]) * 3000) for number in range(20)]

    async def app(scope, receive, send):
        await answer(send, headers=fields)

    client = await peer.serve(app)
    response = await client.ask()
    assert [pair for pair in response.headers if pair in fields] == fields
    heads = [f for f in client.frames if isinstance(f, HeadersFrame)]
    assert "END_HEADERS" not in heads[0].flags
    assert isinstance(client, H2)
    assert not isinstance(client, H1)
