"""ASGI: the response (www.rst). One test per rule, named by its id."""

import asyncio
import contextlib
import socket
from typing import Any

import pytest
import rig
from peer import Peer, answer, both, h1, h2_only, note, over, read_body
from wire import H1, H2, soon

START = {"type": "http.response.start", "status": 200, "headers": []}
BLOCK = bytes(65536)


def part(body: Any, *, more: bool = True) -> dict[str, Any]:
    """A message with a part of the body."""
    return {"type": "http.response.body", "body": body, "more_body": more}


def responding(status: int, headers: Any, *bodies: bytes) -> Any:
    """An application that always answers this, in as many messages as there are bodies."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for number, body in enumerate(bodies, 1):
            await send(part(body, more=number < len(bodies)))

    return app


@both
async def test_s1_a_failure_behind_the_start_is_a_500(peer: Peer) -> None:
    """Nothing is on the wire before the first body, or the next turn of the loop."""

    async def app(scope, receive, send):
        await send({**START, "headers": [(b"x-a", b"1")]})
        raise RuntimeError("too soon")

    response = await (await peer.serve(app)).ask()
    assert (response.status, response.one("x-a")) == (500, None)


@both
async def test_s1_the_head_does_not_wait_for_the_first_body(peer: Peer) -> None:
    """A stream of events whose first one is late is open at once (EventSource.onopen)."""
    go = asyncio.Event()

    async def app(scope, receive, send):
        await send({**START, "headers": [(b"x-a", b"1")]})
        await go.wait()
        await send(part(b"ok", more=False))

    exchange = await (await peer.serve(app)).start()
    response = await exchange.head()
    assert (response.status, response.one("x-a"), response.body) == (200, "1", b"")
    go.set()
    response = await exchange.response()
    assert (response.body, response.complete) == (b"ok", True)


@both
async def test_s1_a_head_that_cannot_be_sent_and_waits(peer: Peer) -> None:
    """The message behind it is told, and the client has a 500."""
    go = asyncio.Event()

    async def app(scope, receive, send):
        await send({**START, "headers": [(b"x-a", b"1\n")]})
        await go.wait()
        with pytest.raises(RuntimeError, match="cannot be sent"):
            await send(part(b"ok", more=False))
        raise LookupError

    client = await peer.serve(app)
    exchange = await client.start()
    await peer.barrier()
    go.set()
    assert (await exchange.response()).status == 500


@both
async def test_s1_the_head_goes_out_with_the_first_body(peer: Peer) -> None:
    """An empty one will do: that is how server-sent events open."""
    go = asyncio.Event()

    async def app(scope, receive, send):
        await send(START)
        await send(part(b""))
        await go.wait()
        await send(part(b"ok", more=False))

    exchange = await (await peer.serve(app)).start()
    assert (await exchange.head()).status == 200
    go.set()
    assert (await exchange.response()).body == b"ok"


ITERABLES = {
    "list of tuples": lambda pairs: pairs,
    "list of lists": lambda pairs: [list(pair) for pair in pairs],
    "tuple": tuple,
    "generator": lambda pairs: (pair for pair in pairs),
    "iterator": iter,
    "items": lambda pairs: dict(pairs).items(),
    "empty tuple": lambda _: (),
}


@pytest.mark.parametrize("form", ITERABLES.values(), ids=ITERABLES)
@both
async def test_s2_headers_are_any_iterable(peer: Peer, form: Any) -> None:
    async def app(scope, receive, send):
        await answer(send, headers=form([(b"x-one", b"1"), (b"x-two", b"2")]))

    response = await (await peer.serve(app)).ask()
    names = [name for name, _ in response.headers if name.startswith(b"x-")]
    assert names == ([] if form is ITERABLES["empty tuple"] else [b"x-one", b"x-two"])


@both
async def test_s2_order_and_repeated_headers(peer: Peer) -> None:
    pairs = [(b"x-b", b"1"), (b"set-cookie", b"a"), (b"x-a", b"2"), (b"set-cookie", b"b")]
    response = await (await peer.serve(responding(200, pairs, b"ok"))).ask()
    assert [pair for pair in response.headers if pair in pairs] == pairs


@both
async def test_s3_names_are_in_lower_case_on_http2(peer: Peer) -> None:
    app = responding(200, [(b"X-Mixed", b"Value"), (b"Content-Length", b"2")], b"ok")
    response = await (await peer.serve(app)).ask()
    name = b"X-Mixed" if peer.version == "h1" else b"x-mixed"
    assert (name, b"Value") in response.headers
    assert response.one("content-length") == "2"


WRONG = {
    "crlf": (b"x", b"a\r\nset-cookie: b"),
    "lf": (b"x", b"a\nb"),
    "cr": (b"x", b"a\rb"),
    "nul": (b"x", b"a\0b"),
    "control": (b"x", b"a\x01b"),
    "delete": (b"x", b"a\x7fb"),
    "leading space": (b"x", b" a"),
    "trailing tab": (b"x", b"a\t"),
    "no name": (b"", b"a"),
    "space in the name": (b"x y", b"a"),
    "colon in the name": (b"x:", b"a"),
    "pseudo": (b":status", b"201"),
    "crlf in the name": (b"x\r\ny", b"a"),
    "latin-1 in the name": (b"\xe9", b"a"),
    "space after the name": (b"x ", b"a"),
}


@h1
async def test_s3_a_pseudo_field_raises(peer: Peer) -> None:
    client = await peer.serve(responding(200, [(b":status", b"201")], b"ok"))
    assert (await client.ask()).status == 500


@pytest.mark.parametrize("field", WRONG.values(), ids=WRONG)
@over("h1", "h2", loops=["asyncio"])
async def test_s3_what_no_field_can_be_raises(peer: Peer, field: tuple[bytes, bytes]) -> None:
    async def app(scope, receive, send):
        if scope["path"] == "/fine":
            await answer(send)
            return
        await answer(send, b"never", headers=[(b"x-before", b"1"), field])
        raise AssertionError("it was taken")

    if (peer.version, field[0]) == ("h1", b":status"):
        pytest.skip("see test_s3_a_pseudo_field_raises")
    client = await peer.serve(app)
    response = await client.ask()
    assert (response.status, response.one("x-before")) == (500, None)
    assert b"never" not in response.body
    assert any("The application failed" in line for line in peer.log)
    assert not any("it was taken" in line for line in peer.log)
    if isinstance(client, H2):
        assert (await client.ask("/fine")).status == 200


@both
async def test_s3_values_may_hold_any_text(peer: Peer) -> None:
    value = b"\xe9\xff tab\tinside \xc3\xa9"
    response = await (await peer.serve(responding(200, [(b"x", value), (b"y", b"")], b"ok"))).ask()
    assert (b"x", value) in response.headers
    assert (b"y", b"") in response.headers


@both
async def test_s4_transfer_encoding_is_not_the_applications(peer: Peer) -> None:
    for headers in (
        [(b"transfer-encoding", b"chunked"), (b"content-length", b"2")],
        [(b"Transfer-Encoding", b"chunked")],
        [(b"transfer-encoding", b"gzip, chunked")],
    ):
        peer_ = Peer(peer.version)
        try:
            response = await (await peer_.serve(responding(200, headers, b"ok"))).ask()
            assert (response.status, response.body, response.complete) == (200, b"ok", True)
            assert response.framing != "close"
            if peer.version == "h2":
                assert response.one("transfer-encoding") is None
        finally:
            await peer_.leave()


@both
async def test_s4_connection_specific_fields(peer: Peer) -> None:
    names = [b"keep-alive", b"Upgrade", b"Proxy-Connection", b"TE"]
    headers = [(b"Connection", b"keep-alive"), *((name, b"x") for name in names)]
    response = await (await peer.serve(responding(200, headers, b"ok"))).ask()
    assert response.status == 200
    if peer.version == "h2":
        got = {name for name, _ in response.headers}
        assert not got & {b"connection", *(name.lower() for name in names)}
    else:
        assert response.one("transfer-encoding") is None


@both
async def test_s5_one_message_without_a_length(peer: Peer) -> None:
    response = await (await peer.serve(responding(200, [], b"hello"))).ask()
    assert (response.body, response.complete) == (b"hello", True)
    if peer.version == "h1":
        assert response.one("content-length") == "5"


@both
async def test_s5_an_empty_message_without_a_length(peer: Peer) -> None:
    response = await (await peer.serve(responding(200, [], b""))).ask()
    assert (response.body, response.complete) == (b"", True)
    if peer.version == "h1":
        assert response.one("content-length") == "0"


@both
async def test_s5_several_messages_without_a_length(peer: Peer) -> None:
    client = await peer.serve(responding(200, [], b"he", b"", b"llo", b""))
    for _ in range(2):
        response = await client.ask()
        assert (response.body, response.complete) == (b"hello", True)
        if peer.version == "h1":
            assert response.framing == "chunked"


@both
async def test_s5_several_messages_with_a_length(peer: Peer) -> None:
    headers = [(b"content-length", b"5")]
    client = await peer.serve(responding(200, headers, b"he", b"", b"llo", b""))
    for _ in range(2):
        response = await client.ask()
        assert (response.body, response.complete) == (b"hello", True)
        assert response.one("content-length") == "5"


@pytest.mark.parametrize("keep", [b"", b"connection: keep-alive\r\n"], ids=["close", "keep"])
@h1
async def test_s5_http_1_0_gets_no_chunks(peer: Peer, keep: bytes) -> None:
    client = await peer.serve(responding(200, [], b"he", b"llo"))
    response = await client.raw(b"GET / HTTP/1.0\r\n" + keep + b"\r\n")
    assert response.framing == "close"
    assert (response.body, response.complete) == (b"hello", True)


@pytest.mark.parametrize("length", [False, True], ids=["no length", "length"])
@both
async def test_s6_head(peer: Peer, length: bool) -> None:
    headers = [(b"content-length", b"5")] if length else []
    client = await peer.serve(responding(200, headers, b"he", b"llo"))
    for _ in range(2):
        response = await client.ask(method="HEAD")
        assert (response.status, response.body, response.complete) == (200, b"", True)
        assert response.one("content-length") == ("5" if length else None)
    response = await client.ask()
    assert (response.body, response.complete) == (b"hello", True)


@both
async def test_s6_head_in_one_message(peer: Peer) -> None:
    """What GET would say of the length, or nothing, but not 0."""
    client = await peer.serve(responding(200, [], b"hello"))
    response = await client.ask(method="HEAD")
    assert response.body == b""
    assert response.one("content-length") in (None, "5")
    assert (await client.ask()).body == b"hello"


@both
async def test_s6_head_of_an_application_that_sends_no_body(peer: Peer) -> None:
    client = await peer.serve(responding(200, [(b"content-length", b"5000")], b""))
    response = await client.ask(method="HEAD")
    assert (response.one("content-length"), response.complete) == ("5000", True)
    assert (await client.ask(method="HEAD")).complete


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("length", [None, b"0", b"5"])
@both
async def test_s6_204_and_304(peer: Peer, status: int, length: bytes | None) -> None:
    if peer.version == "h2" and (status, length) == (304, b"5"):
        pytest.skip("RFC 9110 section 8.6 allows it, but the h2 package does not")
    headers = [] if length is None else [(b"content-length", length)]
    client = await peer.serve(responding(status, headers, b"", b""))
    for _ in range(2):
        response = await client.ask()
        assert (response.status, response.body, response.complete) == (status, b"", True)
        assert response.one("transfer-encoding") is None
        if status == 204:
            assert response.one("content-length") is None


@pytest.mark.parametrize("status", [204, 304])
@both
async def test_s6_204_and_304_with_a_body(peer: Peer, status: int) -> None:
    """It is refused or dropped; the wire never has it."""
    client = await peer.serve(responding(status, [], b"hello"))
    response = await client.ask()
    assert response.status in (status, 500)
    assert b"hello" not in response.body
    if isinstance(client, H1) and not client.ended and response.status == status:
        assert not client.buffer
        assert (await client.ask()).status == status


@pytest.mark.parametrize(
    "bodies", [(b"hello, surplus",), (b"hello", b", surplus"), (b"hello", b"!")]
)
@both
async def test_s7_more_than_content_length(peer: Peer, bodies: tuple[bytes, ...]) -> None:
    raised = []

    async def app(scope, receive, send):
        try:
            await responding(200, [(b"content-length", b"5")], *bodies)(scope, receive, send)
        except Exception as error:
            raised.append(error)
            raise

    client = await peer.serve(app)
    response = await client.ask()
    assert len(raised) == 1
    assert not isinstance(raised[0], OSError)
    assert b"!" not in response.body
    assert b"surplus" not in response.body
    if len(bodies) == 1:
        assert response.status == 500
    if isinstance(client, H1):
        assert b"surplus" not in client.buffer
    else:
        await client.ping()


@both
async def test_s7_more_than_content_length_in_a_response_to_head(peer: Peer) -> None:
    client = await peer.serve(responding(200, [(b"content-length", b"5")], b"hello"))
    assert (await client.ask(method="HEAD")).one("content-length") == "5"


@pytest.mark.parametrize("bodies", [(b"he",), (b"he", b""), (b"he", b"l"), (b"", b"")])
@both
async def test_s8_less_than_content_length(peer: Peer, bodies: tuple[bytes, ...]) -> None:
    client = await peer.serve(responding(200, [(b"content-length", b"5")], *bodies))
    response = await client.ask()
    assert response.status == 500 or not response.complete
    if isinstance(client, H1):
        await client.wire.read_all()
        assert response.status == 500 or client.ended
    else:
        assert response.status == 500 or response.reset == 2
        await client.ping()
    assert [line for line in peer.log if line.startswith("ERROR")]


@pytest.mark.parametrize("form", [bytes, bytearray, memoryview], ids=lambda form: form.__name__)
@both
async def test_s9_what_a_body_may_be(peer: Peer, form: Any) -> None:
    async def app(scope, receive, send):
        await send(START)
        data = form(b"hello")
        await send(part(data))
        if form is bytearray:
            data[:] = b"jelly"  # what was taken is taken
        await send(part(form(b"x" * 100_000), more=False))

    response = await (await peer.serve(app)).ask()
    assert response.body == b"hello" + b"x" * 100_000


class Flood:
    """Sends without end; `.sent` counts what was taken, `.stuck` says that send() waits."""

    def __init__(self) -> None:
        self.begun = False
        self.sent = 0
        self.total: int | None = None
        self.error: BaseException | None = None
        self.ended = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await send(START)
            self.begun = True
            while self.total is None or self.sent < self.total:
                await send(part(BLOCK))
                self.sent += len(BLOCK)
            await send(part(b"", more=False))
        except BaseException as error:
            self.error = error
            raise
        finally:
            self.ended.set()

    async def stuck(self, peer: Peer) -> int:
        """Waits until send() returns no more; what was taken by then."""
        for _ in range(1000):
            before = self.sent
            await peer.barrier()
            await peer.barrier()
            if self.begun and self.sent == before:
                return before
        raise AssertionError("send() never waits")


async def throttled(peer: Peer, app: Any) -> Any:
    """A server and a client with little room in the kernel."""
    await peer.start(app)
    peer.server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
    return await peer.connect(buffer=16384)


@both
async def test_s10_send_waits_for_a_client_that_does_not_read(peer: Peer) -> None:
    app = Flood()
    client = await throttled(peer, app)
    exchange = await client.start()
    taken = await app.stuck(peer)
    assert taken <= 8 * len(BLOCK)
    app.total = taken + 10 * len(BLOCK)
    response = await exchange.response()
    assert response.complete
    assert len(response.body) == app.total


@h2_only
async def test_s10_send_waits_for_a_closed_window(peer: Peer) -> None:
    """The client reads, but gives no credit."""
    app = Flood()
    client = await peer.serve(app)
    assert isinstance(client, H2)
    client.credit = False
    exchange = await client.start()
    await exchange.body(65535)
    await client.ping()
    assert len(exchange.got.body) == 65535
    assert app.sent <= 65535
    app.total = app.sent + 10 * len(BLOCK)
    client.credit = True
    exchange.credit()
    await client.flush()
    assert len((await exchange.response()).body) == app.total


@pytest.mark.parametrize("how", ["give up", "rst", "close"])
@both
async def test_s11_a_send_that_waits_is_woken(peer: Peer, how: str) -> None:
    app = Flood()
    client = await throttled(peer, app)
    exchange = await client.start()
    await app.stuck(peer)
    if how == "give up":
        await exchange.give_up()
    elif how == "rst":
        client.wire.reset()
    else:
        client.close()
    await soon(app.ended.wait())
    assert isinstance(app.error, OSError)


@both
async def test_s11_a_send_that_waits_is_woken_by_a_fin(peer: Peer) -> None:
    """With its body incomplete, a client that says no more has gone, whether it reads or not."""
    peer.cuts = True
    app = Flood()
    client = await throttled(peer, app)
    await client.start("POST", headers=[("content-length", "5")], more=True)
    await app.stuck(peer)
    client.wire.fin()
    await peer.barrier()
    await peer.barrier()
    assert app.ended.is_set()
    assert isinstance(app.error, OSError)


@h2_only
async def test_s11_a_send_that_waits_for_a_window_is_woken(peer: Peer) -> None:
    app = Flood()
    client = await peer.serve(app)
    assert isinstance(client, H2)
    client.credit = False
    exchange = await client.start()
    await exchange.body(65535)
    await exchange.give_up()
    await soon(app.ended.wait())
    assert isinstance(app.error, OSError)
    await client.ping()


@both
async def test_s12_what_follows_a_complete_response_is_ignored(peer: Peer) -> None:
    async def app(scope, receive, send):
        await answer(send)
        for message in (part(b"more"), START, part(b"", more=False), {"type": "http.nosuch"}):
            await send(message)
        return "done"

    app = note(app)
    client = await peer.serve(app)
    for _ in range(2):
        assert (await client.ask()).body == b"ok"
        assert await app.done() == "done"
    assert not [line for line in peer.log if not line.startswith("INFO")]


@both
async def test_s12_after_the_client_has_gone_too(peer: Peer) -> None:
    go = asyncio.Event()

    async def app(scope, receive, send):
        await answer(send)
        await go.wait()
        await send(part(b"more"))
        return "done"

    app = note(app)
    client = await peer.serve(app)
    assert (await client.ask()).body == b"ok"
    client.close()
    await peer.barrier()
    go.set()
    assert await app.done() == "done"


@both
async def test_s13_date_and_server(peer: Peer) -> None:
    client = await peer.serve(responding(200, [], b"ok"))
    response = await client.ask()
    assert response.one("server")
    assert (response.one("date") or "").endswith(" GMT")


@pytest.mark.parametrize("names", [(b"date", b"server"), (b"Date", b"SERVER")], ids=["a", "A"])
@both
async def test_s13_date_and_server_of_the_application(peer: Peer, names: Any) -> None:
    client = await peer.serve(responding(200, [(names[0], b"now"), (names[1], b"mine")], b"ok"))
    response = await client.ask()
    assert (response.all("server"), response.all("date")) == (["mine"], ["now"])


@both
async def test_s13_no_date_and_server(peer: Peer) -> None:
    app = responding(200, [], b"ok")
    client = await peer.serve(app, date_header=False, server_header=False)
    response = await client.ask()
    assert (response.all("server"), response.all("date")) == ([], [])


@h1
async def test_s14_pipelined_requests_run_one_after_the_other(peer: Peer) -> None:
    running: list[str] = []

    async def app(scope, receive, send):
        running.append(scope["path"])
        assert len(running) == 1
        body = await read_body(receive)
        await send(START)
        await send(part(scope["path"].encode()))
        for _ in range(3):
            await asyncio.sleep(0)
        assert len(running) == 1
        running.clear()
        await send(part(body, more=False))

    client = await peer.serve(app)
    data = b"".join(
        b"POST /%d HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n%02d" % (number, number)
        for number in range(20)
    )
    await client.wire.send(data)
    bodies = [(await client.response()).body for _ in range(20)]
    assert bodies == [b"/%d%02d" % (number, number) for number in range(20)]


@h1
async def test_s14_a_flood_of_pipelined_requests(peer: Peer) -> None:
    client = await peer.serve(responding(200, [], b"ok"))
    count = 2000
    sending = asyncio.ensure_future(client.wire.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * count))
    for _ in range(count):
        response = await client.response()
        assert (response.status, response.body) == (200, b"ok")
    await sending


@pytest.mark.parametrize("python", [False, True], ids=["compiled", "python"])
@pytest.mark.parametrize("size", [0, 10, 30000])
def test_s10_pipelined_responses_that_nobody_reads(python: bool, size: int) -> None:
    """A client that reads nothing gets one response beyond what its transport takes."""
    served = 0

    async def app(scope, receive, send):
        nonlocal served
        served += 1
        await send(START)
        await send(part(bytes(size), more=False))

    async def main() -> None:
        bench = rig.Rig(app)
        bench.hold(True)
        bench.feed(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 200)
        await bench.settle()
        assert served == 1
        assert bench.transport.output == b""
        bench.hold(False)
        await bench.settle(2000)
        assert served == 200
        assert bench.transport.output.count(b"HTTP/1.1 200") == 200
        await bench.end()

    rig.run(main, python=python)


@both
async def test_s10_a_small_part_does_not_overtake_a_large_one(peer: Peer) -> None:
    """Two tasks send at once, and the last part is a small one."""

    async def app(scope, receive, send):
        await send(START)
        large = asyncio.ensure_future(send(part(bytes(4 << 20))))
        await asyncio.sleep(0)
        await asyncio.gather(send(part(b"small")), send(part(b"", more=False)), large)
        return "no exception"

    app = note(app)
    response = await (await peer.serve(app)).ask()
    assert response.complete
    assert response.body == bytes(4 << 20) + b"small"
    assert await app.done() == "no exception"


@h1
async def test_s15_connection_close_of_the_application(peer: Peer) -> None:
    for headers in ([(b"connection", b"close")], [(b"Connection", b"Close")]):
        other = Peer("h1")
        client = await other.serve(responding(200, headers, b"ok"))
        response = await client.ask()
        assert (response.one("connection") or "").lower() == "close"
        assert (response.body, await client.closed()) == (b"ok", "fin")
        await other.leave()


@pytest.mark.parametrize("value", ["close", "Close", "x, close", "close, te"])
@h1
async def test_s15_connection_close_of_the_client(peer: Peer, value: str) -> None:
    client = await peer.serve(responding(200, [], b"ok"))
    response = await client.ask(headers=[("connection", value)])
    assert response.one("connection") == "close"
    assert (response.body, await client.closed()) == (b"ok", "fin")


@h1
async def test_s15_nothing_is_served_after_connection_close(peer: Peer) -> None:
    calls = []

    async def app(scope, receive, send):
        calls.append(scope["path"])
        await answer(send)

    peer.cuts = True  # see test_connection.py, test_the_end_of_a_client_that_said_too_much
    client = await peer.serve(app)
    await client.wire.send(
        b"GET /1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\nGET /2 HTTP/1.1\r\nhost: x\r\n\r\n"
    )
    assert (await client.response()).body == b"ok"
    assert await client.closed() == "fin"
    assert calls == ["/1"]


@h1
async def test_s15_http_1_0(peer: Peer) -> None:
    client = await peer.serve(responding(200, [], b"ok"))
    response = await client.raw(b"GET / HTTP/1.0\r\nconnection: Keep-Alive\r\n\r\n")
    assert (response.one("connection") or "").lower() == "keep-alive"
    assert response.framing == "length"
    response = await client.raw(b"GET / HTTP/1.0\r\n\r\n")
    assert response.body == b"ok"
    assert (response.one("connection") or "close") == "close"
    assert await client.closed() == "fin"


@h1
async def test_s15_http_1_1_is_kept(peer: Peer) -> None:
    client = await peer.serve(responding(200, [], b"ok"))
    for _ in range(100):
        response = await client.ask()
        assert (response.body, response.one("connection")) == (b"ok", None)
    with contextlib.suppress(AttributeError):
        assert client.ended == ""


@both
async def test_connect_is_not_for_the_application(peer: Peer) -> None:
    calls = []

    async def app(scope, receive, send):
        calls.append(scope["method"])
        await answer(send)

    client = await peer.serve(app)
    if isinstance(client, H1):
        response = await client.raw(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n")
    else:
        exchange = await client.open([(":method", "CONNECT"), (":authority", "a:443")])
        response = await exchange.response()
    assert response.status in (405, 501) or response.reset is not None
    assert calls == []


@pytest.mark.parametrize("protocol", ["h2c", "websocket", "nosuch"])
@h1
async def test_an_upgrade_that_is_not_done(peer: Peer, protocol: str) -> None:
    client = await peer.serve(responding(200, [], b"ok"))
    fields = [("connection", "Upgrade, HTTP2-Settings"), ("upgrade", protocol)]
    fields.append(("http2-settings", "AAMAAABkAAQAoAAAAAIAAAAA"))
    for _ in range(2):
        response = await client.ask(headers=fields)
        assert (response.status, response.body, response.interim) == (200, b"ok", [])
