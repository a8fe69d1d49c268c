"""cno/transport/body.py: incoming bodies by all ways to read, outgoing bodies of all kinds."""

import asyncio
import io
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from native import Site, both, hello, noted, plain
from pressure import BLOCK, Pump
from wire import H1, H2, soon

import cno
import cno.transport.body


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


@both
async def test_p7_what_a_handler_does_not_read_stays_with_the_client(peer: Site) -> None:
    go = asyncio.Event()
    payloads: list[cno.transport.body.Payload] = []

    async def handle(request: cno.Request) -> None:
        payload = request.payload
        payloads.append(payload)
        await go.wait()
        for _ in range(100):  # the client may send as much as is read
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
