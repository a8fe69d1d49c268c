"""cno/server/reply.py: states of a reply, its order, its failure and its framing."""

import asyncio
from marshal import dumps
from typing import Any

import pytest
from bare import Transport
from native import Site, both, h2_only, hello, plain

import cno
from cno import raw
from cno.config.options import Config
from cno.engine import fast
from cno.engine.events import MESSAGE_FINAL
from cno.process import compiled
from cno.server.connection import ServerConnection
from cno.server.exchange import Openers
from cno.server.group import Group
from cno.server.reply import BODY, DONE, FAILED, HELD, WAITING, ClientDisconnected, Unsendable


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


@h2_only
async def test_a_500_that_there_is_no_window_for(peer: Site) -> None:
    """The response is broken off; otherwise the stream would stay open, without handler and
    timeout."""

    async def handle(request: cno.Request) -> None:
        raise KeyError("made up")

    client = await peer.serve(handle)
    client.h2.update_settings({4: 0})  # type: ignore[attr-defined]  # INITIAL_WINDOW_SIZE
    exchange = await client.start()
    assert (await exchange.response()).reset == 2  # INTERNAL_ERROR
    assert len(peer.log) == 1
    peer.log.clear()


# ---- replies without sockets --------------------------------------------------------------------


class Exchange:
    """A request that the test answers itself."""

    def __init__(self, connection: Any, event: Any) -> None:
        self.id = event[1]
        self.body_done = event[2] & MESSAGE_FINAL != 0
        self.over: list[int] = []
        self.reply = connection.make_reply(connection, self.id, self)

    def answered(self, reply: Any) -> None:
        self.over.append(reply.state)

    def lost(self) -> None:
        self.reply.lost()

    def begin(self) -> None:
        pass

    def feed(self, data: bytes) -> int:
        return 0

    def feed_end(self, trailers: Any) -> None:
        self.body_done = True

    def awaited(self) -> None:
        return None


class Desk(Group):
    """A server of one connection over a Transport. `exchanges` are the requests that have come."""

    def __init__(self, kind: str, http2: bool) -> None:
        config = Config(date_header=False, server_header=False)
        super().__init__(asyncio.get_running_loop(), config)
        self.exchanges: list[Exchange] = []
        make = compiled.CONNECTION if kind == "compiled" else ServerConnection
        self.connection = make(self)
        self.wire = Transport()
        self.wire.protocol = self.connection
        self.connection.connection_made(self.wire)
        self.client = raw.Connection(server=False)
        self.client.on_writev = self._send  # type: ignore[method-assign]
        self.client.on_message_data = self._read  # type: ignore[method-assign]
        self.body = b""  # of the responses that the client has read
        self.said = b""
        self.client.connection_made(http2)

    def _send(self, chunks: list[bytes]) -> None:
        self.said += b"".join(chunks)

    def _read(self, stream: int, data: bytes) -> None:
        self.body += data

    def openers(self, connection: Any) -> Openers:
        return Openers(self._open)

    def _open(self, event: Any) -> Any:
        self.exchanges.append(Exchange(self.connection, event))
        return self.exchanges[-1]

    def ask(self, method: str = "GET", *fields: tuple[str, str]) -> Any:
        """Makes a request; returns its reply."""
        head = [(":scheme", "http"), (":authority", "x"), *fields]
        stream = self.client.next_stream
        self.client.write_head(stream, 0, method, "/", head, True)
        said, self.said = self.said, b""
        self.connection.data_received(said)
        return self.exchanges[-1].reply

    def output(self) -> bytes:
        """Takes the output for the client, which flush() would write in this turn."""
        self.connection.flush()
        return self.wire.take()


KINDS = ["python"] if fast.MODULE is None else ["python", "compiled"]


def desk(*, http2: bool | None = None) -> Any:
    """Makes a test that calls `main` with a Desk, for each class of replies and each version."""
    versions = [False, True] if http2 is None else [http2]

    def decorate(main: Any) -> Any:
        @pytest.mark.parametrize("kind", KINDS)
        @pytest.mark.parametrize("http2", versions)
        def call(kind: str, http2: bool) -> None:
            async def run() -> None:
                bench = Desk(kind, http2)
                try:
                    await main(bench)
                finally:
                    bench.connection.connection_lost(None)
                    bench._stop_clock()

            asyncio.run(asyncio.wait_for(run(), 10))

        call.__name__, call.__doc__ = main.__name__, main.__doc__
        return call

    return decorate


@desk(http2=False)
async def test_a_head_and_its_body_go_out_together(desk: Desk) -> None:
    reply = desk.ask()
    desk.output()
    assert (reply.state, reply.status, reply.size) == (WAITING, 0, 0)
    reply.start(201, [(b"x-a", b"1")])
    assert (reply.state, reply.status) == (HELD, 201)
    assert desk.output() == b""
    assert reply.end(b"hello") is None
    assert (reply.state, reply.status, reply.size) == (DONE, 201, 5)
    assert desk.output() == b"HTTP/1.1 201 Created\r\nx-a: 1\r\ncontent-length: 5\r\n\r\nhello"
    assert desk.exchanges[0].over == [DONE]


@desk()
async def test_a_held_head_is_written_in_the_next_turn(desk: Desk) -> None:
    reply = desk.ask()
    desk.output()
    reply.hold(200, [])
    assert reply.state == HELD
    assert desk.output() == b""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert reply.state == BODY
    assert desk.output()


@desk()
async def test_a_held_head_waits_for_a_transport_that_is_full(desk: Desk) -> None:
    reply = desk.ask()
    desk.output()
    desk.wire.stop()
    reply.hold(200, [])
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert reply.state == HELD
    assert desk.output() == b""
    writing = asyncio.ensure_future(reply.write(b"hello"))
    await asyncio.sleep(0)
    assert desk.output() == b""
    desk.wire.go()
    await writing
    assert b"hello" in desk.output()


@desk()
async def test_s10_a_whole_response_waits_for_a_transport_that_is_full(desk: Desk) -> None:
    reply = desk.ask()
    desk.output()
    desk.wire.stop()
    reply.start(200, [])
    ending = asyncio.ensure_future(reply.end(b"hello"))
    await asyncio.sleep(0)
    assert (reply.state, desk.output()) == (HELD, b"")
    desk.wire.go()
    await ending
    assert reply.state == DONE
    assert desk.output().count(b"hello") == 1


@desk()
async def test_parts_of_two_tasks_keep_the_order_of_the_calls(desk: Desk) -> None:
    """A small part that comes while a large one waits for the client goes behind the large one."""
    reply = desk.ask()
    desk.client.data_received(desk.output())
    reply.start(200, [])
    reply.begin(-1)
    desk.wire.stop()
    large = b"a" * 400000
    tasks = [asyncio.ensure_future(reply.write(large))]
    await asyncio.sleep(0)
    tasks += [asyncio.ensure_future(reply.write(b"b" * size)) for size in (10, 0, 40000)]
    await asyncio.sleep(0)
    ending = reply.end(b"c")
    assert ending is not None
    tasks.append(asyncio.ensure_future(ending))
    await asyncio.sleep(0)
    assert reply.state == BODY
    desk.wire.go()
    while reply.state == BODY:
        desk.client.data_received(desk.output())
        said, desk.said = desk.said, b""
        if said:
            desk.connection.data_received(said)
        await asyncio.sleep(0)
    desk.client.data_received(desk.output())
    await asyncio.gather(*tasks, return_exceptions=True)
    assert desk.body == large + b"b" * 40010 + b"c"
    assert (reply.state, reply.size) == (DONE, len(desk.body))


@desk()
async def test_an_empty_last_part_goes_behind_parts_that_wait(desk: Desk) -> None:
    reply = desk.ask()
    desk.client.data_received(desk.output())
    reply.start(200, [])
    reply.begin(-1)
    desk.wire.stop()
    writing = asyncio.ensure_future(reply.write(b"a" * 40000))
    await asyncio.sleep(0)
    ending = reply.end()
    assert (ending is not None, reply.state) == (True, BODY)
    done = asyncio.ensure_future(ending)
    await asyncio.sleep(0)
    desk.wire.go()
    await writing
    await done
    desk.client.data_received(desk.output())
    assert desk.body == b"a" * 40000
    assert (reply.state, reply.size) == (DONE, 40000)


@desk()
async def test_a_failure_before_the_head_is_written_is_a_500(desk: Desk) -> None:
    for begun in (False, True):
        reply = desk.ask()
        desk.output()
        if begun:
            reply.start(200, [(b"x-never", b"sent")])
        reply.fail()
        assert (reply.state, reply.status) == (DONE, 500)
        out = desk.output()
        assert b"Internal Server Error" in out
        assert b"never" not in out
        assert desk.exchanges[-1].over == [DONE]
        if not desk.connection.http2:
            break  # the response has ended the connection


@desk()
async def test_a_failure_behind_the_head_breaks_the_response_off(desk: Desk) -> None:
    reply = desk.ask()
    reply.start(200, [])
    assert reply.write(b"part") is None
    reply.fail()
    assert reply.state == FAILED
    assert desk.exchanges[0].over == [FAILED]
    assert desk.wire.aborted is not desk.connection.http2
    with pytest.raises(ClientDisconnected):
        reply.write(b"more")
    reply.fail()
    reply.lost()
    assert desk.exchanges[0].over == [FAILED]


@desk()
async def test_a_client_that_goes(desk: Desk) -> None:
    reply = desk.ask()
    reply.start(200, [])
    desk.connection.cut()
    assert reply.state == FAILED
    assert desk.exchanges[0].over == [FAILED]
    with pytest.raises(ClientDisconnected):
        reply.end(b"late")
    assert isinstance(reply.gone(), OSError)


@desk()
async def test_calls_that_are_not_due(desk: Desk) -> None:
    reply = desk.ask()
    with pytest.raises(RuntimeError):
        reply.write(b"no head")
    reply.start(200, [])
    with pytest.raises(RuntimeError):
        reply.start(200, [])
    reply.end(b"")
    with pytest.raises(RuntimeError):
        reply.write(b"behind the end")
    with pytest.raises(RuntimeError):
        reply.start(200, [])
    assert reply.state == DONE


@desk()
async def test_a_head_that_cannot_be_sent_leaves_the_reply_as_it_was(desk: Desk) -> None:
    reply = desk.ask()
    desk.output()
    for fields in ([(b"x",)], [("text", b"")], [(b"a", b"b", b"c")], [b"ab"]):
        with pytest.raises(Unsendable):
            reply.start(200, fields)
        assert reply.state == WAITING
    reply.start(200, [(b"bad\n", b"")])
    with pytest.raises(Unsendable):
        reply.end(b"")
    assert reply.state == WAITING
    assert desk.output() == b""
    reply.start(200, [])
    reply.end(b"fine")
    assert b"fine" in desk.output()


@desk()
async def test_a_refusal_instead_of_a_response(desk: Desk) -> None:
    reply = desk.ask()
    reply.start(200, [(b"x-never", b"sent")])
    reply.refuse(408)
    assert (reply.state, reply.status) == (DONE, 408)
    assert b"never" not in desk.output()
    reply.refuse(500)
    assert reply.status == 408


@desk()
async def test_two_tasks_that_write_one_body(desk: Desk) -> None:
    """Parts come whole and in the order of the calls, and all bytes are counted."""
    reply = desk.ask()
    reply.start(200, [(b"content-length", b"60000")])
    desk.wire.stop()
    parts = [bytes([65 + number]) * 20000 for number in range(3)]
    tasks = [asyncio.ensure_future(reply.write(part)) for part in parts]
    await asyncio.sleep(0)
    desk.wire.go()
    await asyncio.gather(*tasks)
    assert reply.end(b"") is None
    assert reply.state == DONE
    assert reply.size == 60000
    desk.client.data_received(desk.output())
    assert desk.body == b"".join(parts)


@desk(http2=True)
async def test_the_last_part_waits_for_its_window(desk: Desk) -> None:
    """The reply is complete when the last byte is written, and only then."""
    reply = desk.ask()
    reply.start(200, [])
    rest = reply.end(bytes(100000))
    assert rest is not None
    ending = asyncio.ensure_future(rest)
    for _ in range(5):
        await asyncio.sleep(0)
    assert (reply.state, reply.size) == (BODY, 65535)
    desk.client.data_received(desk.output())
    said, desk.said = desk.said, b""
    desk.connection.data_received(said)
    await ending
    assert (reply.state, reply.size) == (DONE, 100000)
    assert desk.exchanges[0].over == [DONE]


@desk(http2=False)
async def test_trailers_end_a_reply(desk: Desk) -> None:
    reply = desk.ask()
    desk.output()
    reply.start(200, [])
    reply.begin(-1)
    reply.write(b"body")
    reply.trail(dumps([(b"x-sum", b"1")], 2))
    assert reply.state == DONE
    assert desk.output().endswith(b"4\r\nbody\r\n0\r\nx-sum: 1\r\n\r\n")
