"""cno/server/connection.py: back-pressure, fairness, idle time, and the end, on real sockets."""

import asyncio
import resource
import socket
import ssl
from typing import Any

import pytest
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, PingFrame
from peer import Peer, answer, both, echo, h1, h2_only, hello, note, over, read_body
from wire import H1, H2, H2Exchange, soon

from tools import Certificate

START = {"type": "http.response.start", "status": 200, "headers": []}
BLOCK = bytes(65536)


def part(body: bytes, *, more: bool = True) -> dict[str, Any]:
    """A message with a part of the body."""
    return {"type": "http.response.body", "body": body, "more_body": more}


class Source:
    """An application that sends `total` octets in pieces; `.sent` by path counts what was taken."""

    def __init__(self, total: int = 1 << 30, piece: int = 65536) -> None:
        self.total, self.piece = total, bytes(piece)
        self.sent: dict[str, int] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        if path == "/small":
            await answer(send)
            return
        self.sent[path] = 0
        await send(START)
        while self.sent[path] < self.total:
            await send(part(self.piece))
            self.sent[path] += len(self.piece)
        await send(part(b"", more=False))

    async def stuck(self, peer: Peer, path: str = "/") -> int:
        """Waits until send() returns no more; what was taken by then."""
        for _ in range(1000):
            before = self.sent.get(path)
            await peer.barrier()
            await peer.barrier()
            if before is not None and self.sent[path] == before:
                return before
        raise AssertionError("send() never waits")


async def little_room(peer: Peer, app: Any, **options: Any) -> Any:
    """A server and a client with small buffers in the kernel."""
    await peer.start(app, **options)
    peer.server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
    peer.server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    return await peer.connect(buffer=16384)


async def wide_open(peer: Peer, app: Any) -> H2:
    """A client whose windows are no limit."""
    client = await little_room(peer, app)
    client.h2.update_settings({4: 1 << 30})
    client.h2.increment_flow_control_window(1 << 30)
    await client.flush()
    await client.ping()
    return client


async def together(client: H2, *paths: str) -> list[H2Exchange]:
    """Requests that arrive in one read."""
    exchanges = []
    for path in paths:
        exchange = H2Exchange(client, client.h2.get_next_available_stream_id())
        client.exchanges[exchange.id] = exchange
        fields = [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "x")]
        client.h2.send_headers(exchange.id, fields, end_stream=True)
        exchanges.append(exchange)
    await client.flush()
    return exchanges


# ---- back-pressure ------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [1000, 65536, 4 << 20], ids=["1 KB", "64 KiB", "4 MiB"])
@both
async def test_a_peer_that_does_not_read_costs_little(peer: Peer, piece: int) -> None:
    """What was taken is bounded by the high-water mark, plus one piece that waits."""
    app = Source(piece=piece)
    client = await little_room(peer, app)
    exchange = await client.start()
    assert await app.stuck(peer) <= 4 * 65536 + 16384 * 4 + piece
    await exchange.give_up()


def resident() -> int:
    """Octets of memory that this process has."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def high_water() -> int:
    """The most memory that this process had since `forget_high_water`."""
    with open("/proc/self/status") as file:
        return 1024 * next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))


def forget_high_water() -> None:
    """Lets high_water begin again."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


@both
async def test_a_large_body_in_one_message_is_not_copied(peer: Peer) -> None:
    """What the application holds is held once, and what waits is a reference to it."""
    body = bytearray(64 << 20)
    for at in range(0, len(body), 4096):
        body[at] = 1
    large = bytes(body)
    del body

    async def app(scope, receive, send):
        await send(START)
        await send(part(large, more=False))

    client = await little_room(peer, app)
    if isinstance(client, H2):
        client.h2.update_settings({4: 2**31 - 1})
        client.h2.increment_flow_control_window(2**30)
        await client.flush()
        await client.ping()
    forget_high_water()
    before = resident()
    exchange = await client.start()
    await exchange.head()
    await peer.barrier()
    grown = high_water() - before
    await exchange.give_up()
    assert grown < 16 << 20


@h2_only
async def test_many_streams_of_a_peer_that_does_not_read(peer: Peer) -> None:
    """The bound is for the connection, however many streams it has."""
    app = Source(piece=1 << 20)
    client = await wide_open(peer, app)
    forget_high_water()
    before = resident()
    await together(client, *[f"/{number}" for number in range(60)])
    await peer.barrier()
    await peer.barrier()
    grown = high_water() - before
    client.wire.reset()
    assert grown < 8 << 20


@h2_only
async def test_answers_that_are_not_read_are_not_gathered(peer: Peer) -> None:
    """A peer that sends PINGs and does not read: stopped, or cut off."""
    client = await little_room(peer, hello)
    await client.ping()
    before = resident()
    octets = PingFrame(0, b"12345678").serialize() * 1000
    sent = 0
    while sent < 10_000_000:
        try:
            sent += client.wire.sock.send(octets)
        except BlockingIOError:
            await peer.barrier()
            sent += 170_000
        except ConnectionError:
            break
    assert resident() - before < 5_000_000


@h2_only
async def test_a_stream_without_window_does_not_block_another(peer: Peer) -> None:
    app = Source()
    client = await peer.serve(app)
    client.credit = False
    stuck = await client.start("GET", "/stuck")
    await stuck.body(65535)
    client.h2.increment_flow_control_window(1 << 20)
    await client.flush()
    for _ in range(10):
        assert (await client.ask("/small")).body == b"ok"
    free = await client.start("GET", "/free")
    await free.body(65535)
    assert len(stuck.got.body) == 65535
    await stuck.give_up()
    await free.give_up()


@h2_only
async def test_an_upload_that_waits_does_not_block_another(peer: Peer) -> None:
    go = asyncio.Event()

    async def app(scope, receive, send):
        if scope["path"] == "/stuck":
            await go.wait()
        await echo(scope, receive, send)

    client = await peer.serve(app)
    stuck = await client.start("POST", "/stuck", more=True)
    await stuck.write(bytes(65535))
    for _ in range(5):
        response = await client.ask("/free", method="POST", body=bytes(200_000))
        assert len(response.body) == 200_000
    go.set()
    await stuck.write(bytes(65535), end=True)
    assert len((await stuck.response()).body) == 2 * 65535


@h1
async def test_reading_goes_on_when_the_application_reads(peer: Peer) -> None:
    """A slow reader gets it all, in pieces that are not large."""

    async def app(scope, receive, send):
        size = largest = 0
        while True:
            message = await receive()
            size += len(message["body"])
            largest = max(largest, len(message["body"]))
            if not message["more_body"]:
                break
            await asyncio.sleep(0)
        await answer(send, b"%d %d" % (size, largest))

    client = await peer.serve(app)
    response = await client.ask(method="POST", body=bytes(5_000_000))
    size, largest = map(int, response.body.split())
    assert size == 5_000_000
    assert largest <= 65536 + 262144  # one read above the mark


@h1
async def test_pipelined_requests_wait_in_the_kernel(peer: Peer) -> None:
    """While an answer is not there, reading stops: the sender is stopped too."""
    go = asyncio.Event()

    async def app(scope, receive, send):
        await go.wait()
        await answer(send)

    client = await little_room(peer, app)
    client.wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
    one = b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 1000 + b"\r\n\r\n"
    whole, sent = one * 5000, 0
    for _ in range(3):
        try:
            while sent < len(whole):
                sent += client.wire.sock.send(whole[sent : sent + 8192])
        except BlockingIOError:
            await peer.barrier()
    assert sent < 1_000_000
    go.set()
    for _ in range(sent // len(one)):
        assert (await client.response()).body == b"ok"


@h2_only
async def test_two_downloads_share(peer: Peer) -> None:
    """Neither of two big responses is ever far behind the other."""
    total = 1 << 20
    app = Source(total=total)
    client = await wide_open(peer, app)
    one, two = await together(client, "/1", "/2")
    furthest = 0
    while not (one.over or two.over):
        assert await client.fill()
        furthest = max(furthest, abs(len(one.got.body) - len(two.got.body)))
    assert furthest <= total // 4
    await one.response()
    await two.response()
    assert len(one.got.body) == len(two.got.body) == total


@h2_only
async def test_two_downloads_in_one_message_share(peer: Peer) -> None:
    """The same where the application sends everything at once."""
    total = 1 << 20
    app = Source(total=total, piece=total)
    client = await wide_open(peer, app)
    one, two, small = await together(client, "/1", "/2", "/small")
    assert (await small.response()).body == b"ok"
    furthest = 0
    while not (one.over or two.over):
        assert await client.fill()
        furthest = max(furthest, abs(len(one.got.body) - len(two.got.body)))
    assert furthest <= total // 2
    await one.response()
    await two.response()


@h2_only
async def test_a_small_answer_overtakes_a_big_one(peer: Peer) -> None:
    """P2: a download that goes on does not starve the others."""
    client = await wide_open(peer, Source(total=8 << 20))
    big = await client.start("GET", "/big")
    await big.body(1)
    for _ in range(5):
        before = len(big.got.body)
        assert (await client.ask("/small")).body == b"ok"
        assert len(big.got.body) - before <= 1 << 20
    assert len((await big.response()).body) == 8 << 20


@h2_only
async def test_a_ping_overtakes_a_download(peer: Peer) -> None:
    client = await wide_open(peer, Source(total=8 << 20))
    big = await client.start("GET", "/big")
    await big.body(1)
    await client.ping()
    assert len(big.got.body) <= 1 << 20
    await big.give_up()


@h2_only
async def test_a_download_that_is_cancelled_ends(peer: Peer) -> None:
    """The client reads on, as one does whose connection has other uses."""
    app = Source(total=8 << 20)
    ended = asyncio.Event()

    async def noted(scope, receive, send):
        try:
            await app(scope, receive, send)
        finally:
            ended.set()

    client = await wide_open(peer, noted)
    big = await client.start("GET", "/big")
    await big.body(1)
    await big.give_up()
    while not ended.is_set():
        assert await client.fill()
    assert app.sent["/big"] <= 1 << 20


@h2_only
async def test_data_frames_are_not_tiny(peer: Peer) -> None:
    """A window that opens octet by octet must not make a frame of each (CVE-2019-9511)."""
    app = Source(total=1 << 20)
    client = await peer.serve(app)
    client.credit = False
    exchange = await client.start()
    await exchange.body(65535)
    for _ in range(2000):
        client.h2.increment_flow_control_window(1)
        client.h2.increment_flow_control_window(1, exchange.id)
    await client.flush()
    await client.until(lambda: len(exchange.got.body) >= 67_535 or client.ended)
    frames = [f for f in client.frames if isinstance(f, DataFrame) and len(f.data) < 100]
    assert len(frames) < 200
    await exchange.give_up()


# ---- idle time ----------------------------------------------------------------------------------


@over("h1", loops=["asyncio"])
async def test_idle_connections_are_closed(peer: Peer) -> None:
    """Those that are used, and those whose request takes its time, are not."""
    go = asyncio.Event()

    async def app(scope, receive, send):
        await read_body(receive)
        if scope["path"] == "/slow":
            await go.wait()
        await answer(send)

    await peer.start(app, timeout_keep_alive=0.9)
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
    """GOAWAY(2^31-1) and PING; a request that crosses them is served; GOAWAY(its id); then the rest
    of the answers, then the end."""
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
    second = await client.start()  # not yet aware of the GOAWAY
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
async def test_shutdown_of_a_peer_that_answers_no_ping(peer: Peer) -> None:
    """The second GOAWAY comes all the same."""
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
    """The head is on its way, without connection: close; it is complete and closed all the same."""
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
    """The one under way is answered, and says that there will be no more."""
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
async def test_shutdown_does_not_wait_for_idle_clients(peer: Peer) -> None:
    """A client that keeps its connection in a pool does not notice our FIN before it uses it; nor
    does it answer the PING between two GOAWAYs, for which a second is allowed."""
    peer.cuts = True
    client = await peer.serve(hello)
    assert (await client.ask()).body == b"ok"
    loop = asyncio.get_running_loop()
    begin = loop.time()
    peer.server.close()
    assert await client.closed() == "fin"
    await soon(peer.server.wait_closed())
    assert loop.time() - begin < 1.5


@over("h2", loops=["asyncio"])
async def test_abort_tells_the_applications(peer: Peer) -> None:
    peer.cuts = True

    async def app(scope, receive, send):
        if scope["path"] == "/receive":
            await receive()
            return (await receive())["type"]
        if scope["path"] == "/send":
            await send(START)
            with pytest.raises(OSError) as error:
                while True:
                    await send(part(BLOCK))
            return error.type.__name__
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "cancelled"

    results: dict[str, Any] = {}

    async def noting(scope, receive, send):
        results[(scope["path"], scope["http_version"])] = await app(scope, receive, send)

    await little_room(peer, noting, timeout_graceful_shutdown=0.05)
    for path in ("/receive", "/send", "/deaf"):
        for version in ("h1", "h2"):
            client = await peer.connect(version, buffer=16384)
            await client.start("GET", f"{path}?{version}")
    await peer.barrier()
    await peer.barrier()
    peer.server.close()
    await soon(peer.server.wait_closed())
    for version in ("1.1", "2"):
        assert results.pop(("/receive", version)) == "http.disconnect"
        assert results.pop(("/send", version)) == "ClientDisconnected"
        assert results.pop(("/deaf", version)) == "cancelled"
    assert not results


@over("h1", loops=["asyncio"])
async def test_the_end_of_a_client_that_said_too_much(peer: Peer) -> None:
    """Octets behind the last request that is served: the connection closes when the client does."""
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
    """The 400 is not lost to a reset."""
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
    await client.ping()  # a reset takes with it what was not read yet
    client.wire.reset()
    for _ in range(20):
        assert isinstance(await app.done(), ConnectionError)


# ---- TLS ----------------------------------------------------------------------------------------


def tls_options(certificate: Certificate) -> dict[str, str]:
    """For serve()."""
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
    """The other protocol is not understood, whatever the octets look like."""
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
    """CONTINUATION on the way out."""
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
