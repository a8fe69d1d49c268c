"""What applications see of HTTP/2, and what a peer may do. One test per rule, named by its id."""

import asyncio
from typing import Any

import h2.errors
import pytest
from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from peer import Peer, answer, echo, h2_only, hello, over, read_body
from wire import H2, soon

START = {"type": "http.response.start", "status": 200, "headers": []}
HEAD = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "localhost")]

PROTOCOL_ERROR, REFUSED_STREAM, CALM = 1, 7, 11


class Gate:
    """An application that answers when it is let; `.live` and `.calls` count its requests."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.live = self.calls = 0
        self.idle = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.calls += 1
        self.live += 1
        self.idle.clear()
        try:
            await self.open.wait()
            await answer(send, scope["path"].encode())
        finally:
            self.live -= 1
            if not self.live:
                self.idle.set()


@h2_only
async def test_p3_an_invalid_response_resets_one_stream(peer: Peer) -> None:
    """Or is a 500: what matters is that the others go on."""
    go = asyncio.Event()

    async def app(scope, receive, send):
        if scope["path"] == "/bad":
            await answer(send, headers=[(b"x", b"a\r\nb: c")])
        await go.wait()
        await answer(send, b"fine")

    client = await peer.serve(app)
    good = await client.start()
    bad = await client.ask("/bad")
    assert bad.status == 500 or bad.reset is not None
    go.set()
    assert (await good.response()).body == b"fine"
    assert not client.goaways


BAD_REQUESTS = {
    "host differs": [*HEAD, ("host", "other")],
    "upper case": [*HEAD, ("X-Upper", "1")],
    "connection": [*HEAD, ("connection", "close")],
    "te": [*HEAD, ("te", "gzip")],
    "transfer-encoding": [*HEAD, ("transfer-encoding", "chunked")],
    "no path": [pair for pair in HEAD if pair[0] != ":path"],
    "no method": [pair for pair in HEAD if pair[0] != ":method"],
    "no scheme": [pair for pair in HEAD if pair[0] != ":scheme"],
    "two paths": [*HEAD, (":path", "/")],
    "late pseudo": [HEAD[0], ("x", "y"), *HEAD[1:]],
    "unknown pseudo": [*HEAD, (":nosuch", "x")],
    "newline": [*HEAD, ("x", "a\nb: c")],
    "nul": [*HEAD, ("x", "a\0b")],
    "space before": [*HEAD, ("x", " a")],
    "space in the path": [*HEAD[:2], (":path", "/a b"), HEAD[3]],
    "two content-lengths": [*HEAD, ("content-length", "0"), ("content-length", "1")],
    "bad content-length": [*HEAD, ("content-length", "+1")],
}


@pytest.mark.parametrize("fields", BAD_REQUESTS.values(), ids=BAD_REQUESTS)
@over("h2", loops=["asyncio"])
async def test_p4_a_malformed_request_ends_one_stream(peer: Peer, fields: Any) -> None:
    app = Gate()
    client = await peer.serve(app)
    good = await client.start("GET", "/good")
    await client.ping()
    bad = await client.open(fields)
    response = await bad.response()
    assert response.reset == PROTOCOL_ERROR
    assert response.status in (0, 400)
    assert app.calls == 1
    app.open.set()
    assert (await good.response()).body == b"/good"
    assert not client.goaways
    lines = [line for line in peer.log if "refused" in line]
    assert len(lines) == 1
    assert client.wire.name in lines[0]
    assert f"stream {bad.id}" in lines[0]


@over("h2", loops=["asyncio"])
async def test_p4_a_head_above_the_limits_is_431(peer: Peer) -> None:
    app = Gate()
    app.open.set()
    client = await peer.serve(app)
    for fields in ([(f"x-{number}", "") for number in range(200)], [("x", "v" * 70_000)]):
        exchange = await client.start("GET", "/", fields)
        response = await exchange.response()
        assert response.status == 431
        assert app.calls == 0
    assert (await client.ask()).status == 200  # HPACK is in step


@h2_only
async def test_p5_one_settings_frame(peer: Peer) -> None:
    client = await peer.serve(hello, h2_max_concurrent_streams=50)
    await client.ping()
    settings = [frame for frame in client.frames if isinstance(frame, SettingsFrame)]
    assert ["ACK" in frame.flags for frame in settings] == [False, True]
    assert client.frames[0] is settings[0]
    assert settings[0].settings[SettingsFrame.MAX_CONCURRENT_STREAMS] == 50
    assert settings[0].settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, 65535) == 65535
    assert settings[0].settings[SettingsFrame.MAX_HEADER_LIST_SIZE] == 65536
    assert settings[0].settings.get(SettingsFrame.ENABLE_PUSH, 0) == 0


@h2_only
async def test_p6_goaway_twice(peer: Peer) -> None:
    app = Gate()
    client = await peer.serve(app)
    before = await client.start("GET", "/before")
    await client.ping()
    peer.server.close()
    # Until the PING is answered, the server takes new requests: h2 answers when it reads.
    await client.until(lambda: client.goaways)
    assert client.goaways == [(2**31 - 1, 0)]
    await client.until(lambda: len(client.goaways) == 2)
    assert client.goaways[1] == (before.id, 0)
    app.open.set()
    response = await before.response()
    assert (response.body, response.complete) == (b"/before", True)
    assert await client.closed() == "fin"
    client.close()
    await soon(peer.server.wait_closed())


@h2_only
async def test_p7_streams_above_the_limit_are_refused(peer: Peer) -> None:
    app = Gate()
    client = await peer.serve(app, h2_max_concurrent_streams=3)
    await client.ping()
    client.h2.remote_settings.acknowledge()
    client.h2.remote_settings[3] = 100  # a client that does not mind
    client.h2.remote_settings.acknowledge()
    exchanges = [await client.start("GET", f"/{number}") for number in range(5)]
    refused = [(await exchange.response()).reset for exchange in exchanges[3:]]
    assert set(refused) <= {REFUSED_STREAM, PROTOCOL_ERROR}
    assert REFUSED_STREAM in refused
    assert app.calls == 3
    app.open.set()
    for number, exchange in enumerate(exchanges[:3]):
        assert (await exchange.response()).body == b"/%d" % number
    assert (await client.ask("/again")).body == b"/again"
    assert not client.goaways


async def flood(client: H2, frames: list[Frame]) -> None:
    """Sends the frames again and again until the server has had enough of it."""
    octets = b"".join(frame.serialize() for frame in frames)

    async def send() -> None:
        try:
            for _ in range(2_000_000 // len(octets)):
                await client.wire.send(octets)
        except ConnectionError:
            pass

    sending = asyncio.ensure_future(send())
    await client.closed()
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)


def block(stream: int, *, end_stream: bool = True, end_headers: bool = True) -> HeadersFrame:
    """A request without the dynamic table."""
    flags = ["END_HEADERS"] * end_headers + ["END_STREAM"] * end_stream
    frame = HeadersFrame(stream, flags=flags)
    encoder = Encoder()
    encoder.header_table_size = 0
    frame.data = encoder.encode(HEAD)
    return frame


FLOODS = {
    "ping": [PingFrame(0, b"12345678")] * 1000,
    "settings": [SettingsFrame(0, {3: 100})] * 1000,
    "empty data": [DataFrame(1, b"")] * 1000,
    "window": [WindowUpdateFrame(0, 1)] * 1000,
    "window of a stream": [WindowUpdateFrame(1, 1)] * 1000,
    "priority": [PriorityFrame(7, depends_on=1, stream_weight=1)] * 1000,
}


@pytest.mark.parametrize("frames", FLOODS.values(), ids=FLOODS)
@over("h2", loops=["uvloop"])
async def test_p8_a_flood_ends_in_goaway(peer: Peer, frames: list[Frame]) -> None:
    client = await peer.serve(echo)
    await client.start("POST", more=True)
    await client.ping()
    await flood(client, frames)
    assert [code for _, code in client.goaways] == [CALM]
    lines = [line for line in peer.log if "refused" in line]
    assert len(lines) == 1
    assert client.wire.name in lines[0]
    assert (await (await peer.connect()).ask()).status == 200


@over("h2", loops=["uvloop"])
async def test_p8_rapid_reset(peer: Peer) -> None:
    app = Gate()
    client = await peer.serve(app)
    await client.ping()
    ids = range(1, 10_000, 2)

    async def attack() -> None:
        try:
            for stream in ids:
                await client.send_frames(block(stream), RstStreamFrame(stream, 8))
        except ConnectionError:
            pass

    attacking = asyncio.ensure_future(attack())
    await client.closed()
    await soon(attacking)
    assert [code for _, code in client.goaways] == [CALM]
    assert app.calls <= 300
    app.open.set()
    await soon(app.idle.wait())
    assert (await (await peer.connect()).ask("/next")).body == b"/next"


@pytest.mark.parametrize("data", [b"", b"\x40\x01a\x01b"], ids=["empty", "fields"])
@over("h2", loops=["uvloop"])
async def test_p8_continuation_flood(peer: Peer, data: bytes) -> None:
    app = Gate()
    client = await peer.serve(app)
    await client.ping()
    await client.send_frames(block(1, end_headers=False))
    await flood(client, [ContinuationFrame(1, data)] * 1000)
    assert len(client.goaways) == 1
    assert client.goaways[0][1] in (CALM, PROTOCOL_ERROR)
    assert app.calls == 0


@over("h2", loops=["uvloop"])
async def test_p8_resets_that_the_server_is_made_to_send(peer: Peer) -> None:
    """CVE-2025-8671: WINDOW_UPDATE with 0, and too much of it."""
    calls = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal calls
        calls += 1
        while (await receive())["type"] != "http.disconnect":
            pass

    for wrong in (b"\0\0\0\0", b"\x7f\xff\xff\xff"):
        other = Peer("h2")
        try:
            client = await other.serve(app)
            await client.ping()

            resets = 0
            while not client.goaways:
                exchange = await client.start()
                await client.wire.send(b"\0\0\4\x08\0" + exchange.id.to_bytes(4, "big") + wrong)
                resets += (await exchange.response()).reset is not None
                assert resets < 1000
            await client.closed()
            assert [code for _, code in client.goaways] == [CALM]
        finally:
            await other.leave()
    assert 0 < calls <= 600


@over("h2", loops=["uvloop"])
async def test_p8_an_honest_client_is_never_cut_off(peer: Peer) -> None:
    """Many uploads with tiny DATA frames, PINGs and cancelled requests, and all of them served."""

    async def app(scope, receive, send):
        await answer(send, b"%d" % len(await read_body(receive)))

    client = await peer.serve(app)
    for round_ in range(150):
        exchange = await client.start("POST", more=True)
        for _ in range(3):
            await exchange.write(b"x")
        await exchange.write(b"", end=True)
        assert (await exchange.response()).body == b"3"
        client.h2.ping(b"01234567")
        if round_ % 2:
            await (await client.start("POST", more=True)).give_up()
    await client.ping()
    assert not client.goaways


@over("h2", loops=["asyncio"])
async def test_p8_many_fields_by_reference(peer: Peer) -> None:
    """Thousands of one-octet references to a field of the table: the HTTP/2 bomb."""
    app = Gate()
    app.open.set()
    client = await peer.serve(app)
    await client.ping()
    frame = block(1, end_headers=False)
    frame.data += b"\x40\x06cookie\x04a=1;" + b"\xbe" * 16_000
    more = ContinuationFrame(1, b"\xbe" * 16_000, flags=["END_HEADERS"])
    await client.send_frames(frame, more)
    await client.closed()
    assert len(client.goaways) == 1
    assert client.goaways[0][1] != 0
    assert app.calls == 0


@h2_only
async def test_p9_trailers_of_the_request_after_data(peer: Peer) -> None:
    client = await peer.serve(echo)
    exchange = await client.start("POST", more=True)
    await exchange.write(b"hello")
    client.h2.send_headers(exchange.id, [(b"x-sum", b"1")], end_stream=True)
    await client.flush()
    assert (await exchange.response()).body == b"hello"


@h2_only
async def test_p9_trailers_of_the_request_with_a_pseudo_field(peer: Peer) -> None:
    client = await peer.serve(echo)
    exchange = await client.start("POST", more=True)
    frame = HeadersFrame(exchange.id, flags=["END_HEADERS", "END_STREAM"])
    frame.data = b"\x00\x05:path\x01/"
    await client.send_frames(frame)
    assert (await exchange.response()).reset == PROTOCOL_ERROR
    await client.ping()


@h2_only
async def test_p10_1xx_before_the_response(peer: Peer) -> None:
    async def app(scope, receive, send):
        await answer(send, await read_body(receive), headers=[])

    client = await peer.serve(app)
    exchange = await client.start("POST", headers=[("expect", "100-continue")], more=True)
    await client.until(lambda: exchange.got.interim)
    assert exchange.got.status == 0
    await exchange.write(b"hello", end=True)
    response = await exchange.response()
    assert (response.interim, response.status, response.body) == ([100], 200, b"hello")
    heads = [f for f in client.frames if isinstance(f, HeadersFrame)]
    assert ["END_STREAM" in frame.flags for frame in heads] == [False, False]


@h2_only
async def test_p11_content_length_and_data_of_a_response(peer: Peer) -> None:
    async def app(scope, receive, send):
        await send({**START, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"he", "more_body": True})
        if scope["path"] == "/long":
            with pytest.raises(RuntimeError):
                await send({"type": "http.response.body", "body": b"llo!", "more_body": True})
            await send({"type": "http.response.body", "body": b"llo", "more_body": False})

    client = await peer.serve(app)
    response = await client.ask("/short")
    assert (response.complete, response.reset) == (False, 2)
    response = await client.ask("/long")
    assert (response.complete, response.body) == (True, b"hello")


@h2_only
async def test_late_frames_on_streams_that_have_ended(peer: Peer) -> None:
    """WINDOW_UPDATE, RST_STREAM and DATA cross with the end of a response (RFC 9113 5.1)."""
    client = await peer.serve(hello)
    for _ in range(40):
        exchange = await client.start("POST", more=True)
        assert (await exchange.response()).status == 200
    for stream in range(1, 81, 2):
        await client.send_frames(
            WindowUpdateFrame(stream, 1000),
            DataFrame(stream, b"late", flags=["END_STREAM"]),
            RstStreamFrame(stream, 8),
        )
    client.h2.ping(b"01234567")
    await client.flush()
    await client.ping()
    assert not [frame for frame in client.frames if isinstance(frame, GoAwayFrame)]
    assert (await client.ask()).body == b"ok"


@h2_only
async def test_window_of_the_connection_survives_dead_streams(peer: Peer) -> None:
    """DATA that nobody will read is given back: 4 MiB through a window of 1 MiB at the most."""

    async def app(scope, receive, send):
        if scope["path"] == "/count":
            await answer(send, b"%d" % len(await read_body(receive)))
        else:
            await receive()
            await answer(send, b"enough", 413)

    client = await peer.serve(app)
    for _ in range(80):
        exchange = await client.start("POST", "/", more=True)
        await exchange.write(bytes(50_000))
        assert (await exchange.response()).status == 413
    exchange = await client.start("POST", "/count", more=True)
    await exchange.write(bytes(1_000_000), end=True)
    assert (await exchange.response()).body == b"1000000"


@h2_only
async def test_reset_streams_hold_their_places(peer: Peer) -> None:
    """A stream that was reset counts until its application returns (CVE-2023-44487)."""
    gate = Gate()
    client = await peer.serve(gate, h2_max_concurrent_streams=5)
    await client.ping()
    for _ in range(5):
        await (await client.start()).give_up()
    refused = await client.start()
    assert (await refused.response()).reset == REFUSED_STREAM
    assert gate.calls == gate.live == 5
    gate.open.set()
    await soon(gate.idle.wait())
    assert (await client.ask("/again")).body == b"/again"


def read(stream: int, *frames: str) -> list[Frame]:
    """A request and what comes with it."""
    kinds = {
        "get": block(stream),
        "post": block(stream, end_stream=False),
        "data": DataFrame(stream, b"x" * 1000),
        "end": DataFrame(stream, b"x" * 1000, flags=["END_STREAM"]),
        "window": WindowUpdateFrame(stream, 1),
        "reset": RstStreamFrame(stream, 8),
    }
    return [kinds[name] for name in frames]


ONE_READ = [
    ("get", "reset"),
    ("get", "window", "reset"),
    ("post", "reset"),
    ("post", "data", "reset"),
    ("post", "data", "data", "reset"),
    ("post", "end", "reset"),
    ("post", "data", "window", "end", "window", "reset"),
    ("post", "window", "end", "window"),
]


@pytest.mark.parametrize("frames", ONE_READ, ids=" ".join)
@pytest.mark.parametrize("app", ["echo", "hello", "slow"])
@h2_only
async def test_a_whole_life_in_one_read(peer: Peer, frames: Any, app: str) -> None:
    go = asyncio.Event()

    async def slow(scope, receive, send):
        await go.wait()
        await echo(scope, receive, send)

    client = await peer.serve({"echo": echo, "hello": hello, "slow": slow}[app])
    await client.ping()
    octets = b"".join(
        frame.serialize() for stream in range(1, 21, 2) for frame in read(stream, *frames)
    )
    await client.wire.send(octets + PingFrame(0, b"12345678").serialize())
    # h2 knows nothing of these streams.
    pong, got = PingFrame(0, b"12345678", flags=["ACK"]).serialize(), b""
    while pong not in got:
        data = await client.wire.receive()
        assert data, "the connection is closed"
        got += data
    go.set()
    assert (await (await peer.connect()).ask()).status == 200
    assert b"\0\0\x08\x07\0\0\0\0\0" not in got  # GOAWAY


@h2_only
async def test_a_whole_life_in_one_read_above_the_limit(peer: Peer) -> None:
    gate = Gate()
    client = await peer.serve(gate, h2_max_concurrent_streams=1)
    await client.ping()
    await (await client.start()).give_up()
    await client.ping()
    await client.send_frames(*read(3, "get", "reset"))
    client.h2.ping(b"roundtrp")
    await client.flush()
    gate.open.set()
    await client.until(lambda: client.pongs == 3)
    assert client.pongs == 3


@h2_only
async def test_the_first_octets_are_no_preface(peer: Peer) -> None:
    client = await peer.serve(hello)
    wire = (await peer.connect(begin=False)).wire
    await wire.send(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")
    await wire.read_all()
    assert (await client.ask()).body == b"ok"


@h2_only
async def test_settings_of_the_client_are_applied(peer: Peer) -> None:
    """A window of 0 at first, opened later by SETTINGS."""

    async def app(scope, receive, send):
        await answer(send, b"x" * 100, headers=[])

    client = await peer.serve(app)
    client.credit = False
    client.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
    await client.flush()
    await client.ping()
    exchange = await client.start()
    await exchange.head()
    await client.ping()
    assert exchange.got.body == b""
    client.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 60})
    await client.flush()
    await exchange.body(60)
    await client.ping()
    assert len(exchange.got.body) == 60
    client.h2.increment_flow_control_window(1000, exchange.id)
    await client.flush()
    assert len((await exchange.response()).body) == 100


@h2_only
async def test_a_500_that_there_is_no_window_for(peer: Peer) -> None:
    """It is broken off. The stream would stay open for ever, of no application and with no
    timeout."""

    async def app(scope, receive, send):
        raise KeyError("made up")

    client = await peer.serve(app)
    client.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
    exchange = await client.start()
    assert (await exchange.response()).reset == h2.errors.ErrorCodes.INTERNAL_ERROR
