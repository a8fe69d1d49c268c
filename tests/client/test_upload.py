"""cno.client.upload: the bodies of requests."""

from __future__ import annotations

import array
import asyncio
import gzip
import io
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import BIG, ask, both, cancel, exchange, h1, h2_only, until, until_gone
from scripted import H2Asked, H2Server, Stage
from wire import soon

import cno
import cno.client.connection
import cno.client.dial
import cno.client.exchange
import cno.client.link
import cno.client.turns
import cno.client.upload


async def post(
    client: cno.Client, server: Any, body: Any, fields: Any = (), **options: Any
) -> tuple[Any, bytes]:
    """A whole upload: the request as the server saw it, and its body."""
    task, asked = await ask(client, server, "POST", "/", fields, body, **options)
    got = await soon(asked.whole())
    await asked.respond(200, b"thanks")
    response = await soon(task)
    assert await soon(response.payload.read()) == b"thanks"
    return asked, got


# ---- what a body may be --------------------------------------------------------------------------


async def parts(*items: Any) -> AsyncIterator[Any]:
    for item in items:
        await asyncio.sleep(0)
        yield item


class AsyncFile:
    """A file of a library that reads files in threads."""

    def __init__(self, data: bytes) -> None:
        self.file = tempfile.TemporaryFile()  # noqa: SIM115
        self.file.write(data)
        self.file.seek(0)

    def fileno(self) -> int:
        return self.file.fileno()

    async def tell(self) -> int:
        return self.file.tell()

    async def read(self, size: int) -> bytes:
        await asyncio.sleep(0)
        return self.file.read(size)

    async def aclose(self) -> None:
        self.file.close()


def sized() -> list[Any]:
    """Bodies whose length is known, with what they hold."""
    words = array.array("I", [1, 2, 3])
    return [
        (b"", b""),
        (None, b""),
        (b"small", b"small"),
        (bytearray(b"small"), b"small"),
        (memoryview(b"small")[1:], b"mall"),
        (memoryview(words), words.tobytes()),
        (BIG, BIG),
        (bytearray(BIG), BIG),
        (memoryview(BIG), BIG),
    ]


def unsized() -> list[Any]:
    """Bodies whose length is not known, made anew for each use, with what they hold."""
    channel = cno.Channel()
    for part in (b"a ", bytearray(b"channel"), b"", memoryview(BIG)):
        channel.put_nowait(part)
    channel.close()
    return [
        (channel, b"a channel" + BIG),
        (parts(b"a ", b"generator", b"", BIG), b"a generator" + BIG),
        (parts(), b""),
        ([b"a ", b"list", BIG], b"a list" + BIG),
        (iter([]), b""),
        (io.BytesIO(BIG), BIG),
    ]


@both
async def test_bodies_of_a_known_size(peer: Stage) -> None:
    client, server = await peer.meet()
    for body, expected in sized():
        asked, got = await post(client, server, body)
        assert got == expected
        assert asked.one("transfer-encoding") is None
        assert int(asked.one("content-length") or 0) == len(expected)


@both
async def test_bodies_of_an_unknown_size(peer: Stage) -> None:
    client, server = await peer.meet()
    for body, expected in unsized():
        asked, got = await post(client, server, body)
        assert got == expected, body
        assert asked.one("content-length") is None
        chunked = "chunked" if peer.version == "h1" else None
        assert asked.one("transfer-encoding") == chunked


@both
async def test_files(peer: Stage, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(BIG)
    client, server = await peer.meet()
    with path.open("rb") as file:
        asked, got = await post(client, server, file)
        assert got == BIG
        assert asked.one("content-length") == str(len(BIG))
        file.seek(1000)
        asked, got = await post(client, server, file)
        assert got == BIG[1000:]
        asked, got = await post(client, server, file)  # it is at its end
        assert got == b""
    with path.open("rb", buffering=0) as raw:
        asked, got = await post(client, server, raw)
        assert got == BIG
        assert asked.one("content-length") == str(len(BIG))


class Ending(io.FileIO):
    """A file that has grown, or was closed, when its end would be read."""

    def read(self, size: int | None = -1, /) -> bytes | None:
        assert self.tell() < len(BIG)
        return super().read(size)


@both
async def test_files_are_read_up_to_their_size(peer: Stage, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(BIG)
    client, server = await peer.meet()
    with Ending(path) as file:
        _, got = await post(client, server, file)
    assert got == BIG
    assert await exchange(client, server)


@both
async def test_files_that_are_read_in_other_ways(peer: Stage) -> None:
    client, server = await peer.meet()
    file = AsyncFile(BIG)
    try:
        asked, got = await post(client, server, file)
        assert got == BIG
        assert asked.one("content-length") is None
        assert not file.file.closed  # it is the caller's
    finally:
        await file.aclose()


@both
async def test_files_that_hold_more_than_their_size(peer: Stage, tmp_path: Path) -> None:
    path = tmp_path / "file.gz"
    with gzip.open(path, "wb") as packed:
        packed.write(BIG)
    client, server = await peer.meet()
    with gzip.open(path, "rb") as unpacked:
        asked, got = await post(client, server, unpacked)
    assert got == BIG
    assert asked.one("content-length") is None


@both
async def test_a_length_that_the_caller_gives(peer: Stage) -> None:
    client, server = await peer.meet()
    fields = [("Content-Length", "9")]
    for body in (b"something", parts(b"some", b"thing")):
        asked, got = await post(client, server, body, fields)
        assert got == b"something"
        assert asked.one("content-length") == "9"
        assert asked.one("transfer-encoding") is None


@both
async def test_parts_that_are_no_octets(peer: Stage) -> None:
    for body in (parts("text"), ["text"], parts(b"a", 1)):
        client, server = await peer.meet()
        task, _ = await ask(client, server, "POST", "/", [], body)
        with pytest.raises(TypeError, match="bytes"):
            await soon(task)


@both
async def test_a_body_that_is_none_at_all(peer: Stage) -> None:
    client, server = await peer.meet()
    body: Any = 5
    with pytest.raises(TypeError):
        task, _ = await ask(client, server, "POST", "/", [], body)
        await soon(task)


# ---- bodies that do not fit their length ---------------------------------------------------------


@pytest.mark.parametrize("size", [3, 200000])
@pytest.mark.parametrize("off", [-1, 1])
@both
async def test_octets_that_do_not_fit_the_length_given(peer: Stage, size: int, off: int) -> None:
    """The mistake is known before anything is sent."""
    client, server = await peer.meet()
    fields = [("content-length", str(size + off))]
    with pytest.raises(ValueError, match="length"):
        await soon(client.request("POST", "/", fields, bytes(size)))
    assert await exchange(client, server)


@pytest.mark.parametrize("body", [[b"some"], [b"some", b"thing more"]], ids=["short", "long"])
@both
async def test_a_body_that_does_not_fit_the_length_given(peer: Stage, body: Any) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server, "POST", "/", [("content-length", "9")], body)
    with pytest.raises(ValueError):
        await soon(task)
    if isinstance(asked, H2Asked):
        assert await soon(asked.is_reset()) == 8
        assert await exchange(client, server)
    else:
        await soon(client.wait_closed())
        assert len(await soon(server.wire.read_all())) <= 9


# ---- bodies that fail ----------------------------------------------------------------------------


async def failing() -> AsyncIterator[bytes]:
    yield b"some"
    raise KeyError("made up")


@both
async def test_a_body_that_raises(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server, "POST", "/", [], failing())
    other = asyncio.ensure_future(client.request("GET", "/other"))
    with pytest.raises(KeyError, match="made up"):
        await soon(task)
    if isinstance(asked, H2Asked):
        assert await soon(asked.is_reset()) == 8
        asked = await soon(server.request())
        await asked.respond()
        assert (await soon(other)).code == 200
        assert await exchange(client, server)
        assert not client.streams
    else:
        with pytest.raises(cno.Unprocessed):
            await soon(other)
        assert not (await soon(server.wire.read_all())).endswith(b"0\r\n\r\n")


@both
async def test_a_body_that_raises_when_the_response_has_begun(peer: Stage) -> None:
    client, server = await peer.meet()
    go = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"some"
        await go.wait()
        raise KeyError("made up")

    task, asked = await ask(client, server, "POST", "/", [], body())
    await asked.head(200)
    await asked.write(b"early")
    response = await soon(task)
    assert await soon(response.payload.readexactly(5)) == b"early"
    go.set()
    with pytest.raises(cno.RequestFailed, match="made up"):
        await soon(response.payload.read())
    if isinstance(asked, H2Asked):
        assert await soon(asked.is_reset()) == 8
        assert await exchange(client, server)


@both
async def test_a_channel_that_is_broken_off(peer: Stage) -> None:
    client, server = await peer.meet()
    channel = cno.Channel()
    task, asked = await ask(client, server, "POST", "/", [], channel)
    await channel.put(b"some")
    await soon(asked.received(4))
    channel.close(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await soon(task)
    if isinstance(asked, H2Asked):
        assert await soon(asked.is_reset()) == 8


# ---- requests that end before their bodies -------------------------------------------------------


@both
async def test_cancelled_during_the_upload(peer: Stage) -> None:
    client, server = await peer.meet()
    channel = cno.Channel(1)
    task, asked = await ask(client, server, "POST", "/", [], channel)
    await channel.put(b"some")
    await soon(asked.received(4))
    other = asyncio.ensure_future(client.request("GET", "/other"))
    await asyncio.sleep(0)
    await cancel(task)
    await soon(until_gone(channel))
    if isinstance(asked, H2Asked):
        assert await soon(asked.is_reset()) == 8
        asked = await soon(server.request())
        await asked.respond()
        assert (await soon(other)).code == 200
        assert not client.streams
    else:
        with pytest.raises(cno.Unprocessed):
            await soon(other)
        await soon(client.wait_closed())


@both
async def test_cancelled_before_the_upload(peer: Stage) -> None:
    client, server = await peer.meet()
    if isinstance(server, H2Server):
        await server.settings(max_concurrent_streams=1)
        await server.ping()
    first, _ = await ask(client, server)
    channel = cno.Channel(1)
    task = asyncio.ensure_future(client.request("POST", "/", [], channel))
    await asyncio.sleep(0)
    await cancel(task)
    await soon(until_gone(channel))
    # What may be made again keeps its body.
    channel = cno.Channel(1)
    task = asyncio.ensure_future(client.request("POST", "/", [], channel))
    await asyncio.sleep(0)
    server.close()
    with pytest.raises(cno.Unprocessed):
        await soon(task)
    await channel.put(b"x")
    with pytest.raises(cno.ConnectionLost):
        await soon(first)


@both
async def test_a_response_that_is_closed_during_the_upload(peer: Stage) -> None:
    client, server = await peer.meet()
    channel = cno.Channel(1)
    task, asked = await ask(client, server, "POST", "/", [], channel)
    await asked.head(200)
    (await soon(task)).close()
    await soon(until_gone(channel))
    if isinstance(asked, H2Asked):
        assert await soon(asked.is_reset()) == 8
        assert await exchange(client, server)
    else:
        await soon(client.wait_closed())


@both
async def test_a_response_that_comes_before_the_body(peer: Stage) -> None:
    """The rest of the body is sent, and both messages are complete."""
    client, server = await peer.meet()
    channel = cno.Channel()
    task, asked = await ask(client, server, "POST", "/", [], channel)
    await asked.respond(200, b"early")
    response = await soon(task)
    assert await soon(response.payload.read()) == b"early"
    assert client.streams
    await channel.put(b"late")
    channel.close()
    assert await soon(asked.whole()) == b"late"
    assert await exchange(client, server)
    assert not client.streams


@h2_only
async def test_a_response_that_needs_no_body(peer: Stage) -> None:
    """RFC 9113 section 8.1: RST_STREAM with NO_ERROR behind a whole response takes nothing back."""
    client, server = await peer.meet()
    channel = cno.Channel(1)
    task, asked = await ask(client, server, "POST", "/", [], channel)
    await asked.respond(413, b"too much")
    await asked.give_up(0)
    response = await soon(task)
    assert response.code == 413
    assert await soon(response.payload.read()) == b"too much"
    await soon(until_gone(channel))
    assert await exchange(client, server)


@h1
async def test_a_response_before_the_body_and_the_end(peer: Stage) -> None:
    client, server = await peer.meet()
    channel = cno.Channel(1)
    task, asked = await ask(client, server, "POST", "/", [], channel)
    await asked.respond(413, b"too much", [("connection", "close")])
    server.wire.fin()
    response = await soon(task)
    assert response.code == 413
    assert await soon(response.payload.read()) == b"too much"
    await soon(until_gone(channel))
    await soon(client.wait_closed())


@both
async def test_a_server_that_goes_during_the_upload(peer: Stage) -> None:
    client, server = await peer.meet()
    channel = cno.Channel(1)
    task, _ = await ask(client, server, "POST", "/", [], channel)
    server.wire.reset()
    with pytest.raises(cno.ConnectionLost) as caught:
        await soon(task)
    assert not caught.value.unprocessed
    await soon(until_gone(channel))


@h2_only
async def test_a_reset_during_the_upload(peer: Stage) -> None:
    client, server = await peer.meet()
    server.credit = False
    task, asked = await ask(client, server, "POST", "/", [], BIG)
    await soon(asked.received(65535))
    await asked.give_up(11)
    with pytest.raises(cno.StreamReset) as caught:
        await soon(task)
    assert caught.value.code == 11
    server.credit = True
    server.acknowledge(65535, asked.id)
    await server.flush()
    assert await exchange(client, server)


def test_a_connection_that_is_lost_between_turn_and_body() -> None:
    """A request whose turn has come fails with the connection, whatever its body is."""

    class Transport(asyncio.Transport):
        def write(self, data: Any) -> None:
            pass

        def close(self) -> None:
            pass

        def set_write_buffer_limits(self, high: Any = None, low: Any = None) -> None:
            pass

    async def main(*, polite: bool) -> None:
        client = cno.Client(None, "localhost", "http")
        client.connection_made(Transport())
        first = asyncio.ensure_future(client.request("GET", "/"))
        bodies: list[Any] = [b"body", bytes(200000), parts(b"body")]
        others = [asyncio.ensure_future(client.request("POST", "/", [], body)) for body in bodies]
        await asyncio.sleep(0)
        client.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        if polite:
            client.eof_received()
        client.connection_lost(None if polite else ConnectionResetError())
        assert (await soon(first)).code == 200
        for other in others:
            with pytest.raises(cno.RequestFailed):
                await soon(other)

    for polite in (False, True):
        asyncio.run(main(polite=polite))


# ---- back-pressure -------------------------------------------------------------------------------


@both
async def test_a_server_that_reads_slowly_holds_the_body_back(peer: Stage) -> None:
    client, server = await peer.meet()
    server.credit = False
    given = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal given
        for _ in range(1000):
            given += 65536
            yield bytes(65536)

    task, asked = await ask(client, server, "POST", "/", [], body())
    if isinstance(server, H2Server):
        await soon(asked.received(65535))
        await server.ping()
        await server.ping()
        assert given <= 2 * 65536
        assert await exchange(client, server)  # nobody else is held back
        server.credit = True
        server.acknowledge(65535, asked.id)
        await server.flush()
    else:
        await until(lambda: client._waiting)
        assert given < 32 * 1024 * 1024
    assert len(await soon(asked.whole())) == given == 65536000
    await asked.respond()
    assert (await soon(task)).code == 200


# ---- 100 -----------------------------------------------------------------------------------------


EXPECT = [("expect", "100-continue")]


@both
async def test_100_continue(peer: Stage) -> None:
    client, server = await peer.meet()
    said: list[int] = []
    for body in (b"body", [b"bo", b"dy"], parts(b"body")):
        task, asked = await ask(
            client, server, "POST", "/", EXPECT, body, inform=lambda code, _: said.append(code)
        )
        assert asked.one("expect") == "100-continue"
        if isinstance(server, H2Server):
            await server.ping()
            assert not asked.body
        else:
            assert not server.buffer
            assert not server.wire.waiting()
        await asked.head(100)
        assert await soon(asked.whole()) == b"body"
        await asked.respond()
        assert (await soon(task)).code == 200
    assert said == [100] * 3


@both
async def test_expect_and_a_refusal(peer: Stage) -> None:
    client, server = await peer.meet()
    channel = cno.Channel(1)
    await channel.put(b"never sent")
    task, asked = await ask(client, server, "POST", "/", EXPECT, channel)
    await asked.respond(417, b"no")
    response = await soon(task)
    assert response.code == 417
    assert await soon(response.payload.read()) == b"no"
    await soon(until_gone(channel))
    if isinstance(asked, H2Asked):
        assert await soon(asked.is_reset()) == 8
        assert not asked.body
        assert await exchange(client, server)
    else:
        # What comes on this connection next would have to be the body (RFC 9110 section 10.1.1).
        assert await soon(server.wire.read_all()) == b""
        assert client.is_closed


@both
async def test_expect_and_a_response_at_once(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server, "POST", "/", EXPECT, b"body")
    await asked.respond(200, b"already")
    assert await soon(asked.whole()) == b"body"
    response = await soon(task)
    assert await soon(response.payload.read()) == b"already"
    assert await exchange(client, server)


@both
async def test_expect_and_no_word(peer: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cno.client.upload, "EXPECT", 0.01)
    client, server = await peer.meet()
    _, got = await post(client, server, b"body", EXPECT)
    assert got == b"body"
    assert await exchange(client, server)


# ---- trailers ------------------------------------------------------------------------------------


@both
async def test_request_trailers(peer: Stage) -> None:
    client, server = await peer.meet()
    done = False

    def body() -> Iterator[bytes]:
        nonlocal done
        yield b"some"
        yield b"thing"
        done = True

    def late() -> list[tuple[str, str]]:
        assert done
        return [("x-sum", "2")]

    asked, got = await post(client, server, b"body", trailers=[("X-Sum", "caf\u00e9")])
    assert (got, asked.trailers) == (b"body", [("x-sum", "caf\u00c3\u00a9")])
    asked, got = await post(client, server, body(), trailers=late)
    assert (got, asked.trailers) == (b"something", [("x-sum", "2")])
    asked, got = await post(client, server, b"", trailers=[("x-sum", "0")])
    assert (got, asked.trailers) == (b"", [("x-sum", "0")])
    asked, got = await post(client, server, b"body", trailers=[])
    assert (got, asked.trailers) == (b"body", [])


@both
async def test_trailers_that_cannot_be_sent(peer: Stage) -> None:
    for wrong in ([("content-length", "4")], [("x", "\n")], [(":path", "/")]):
        client, server = await peer.meet()
        task, _ = await ask(client, server, "POST", "/", [], b"body", trailers=wrong)
        with pytest.raises(ValueError):
            await soon(task)


@both
async def test_trailers_whose_function_raises(peer: Stage) -> None:
    def late() -> Any:
        raise KeyError("made up")

    client, server = await peer.meet()
    task, _ = await ask(client, server, "POST", "/", [], b"body", trailers=late)
    with pytest.raises(KeyError):
        await soon(task)


# ---- uploads -------------------------------------------------------------------------------------


@both
async def test_a_body_for_100_is_let_go_of_when_the_connection_is_lost(peer: Stage) -> None:
    """The loss wakes the task that waits for 100 and cancels the task, in one turn of the loop: the
    cancellation counts, or the writer of the channel would wait for a reader for ever."""
    client, server = await peer.meet()
    channel = cno.Channel(1)
    task, _ = await ask(client, server, "POST", "/", [("expect", "100-continue")], channel)
    await until(lambda: next(iter(client.streams.values()))._wanted is not None)
    server.wire.reset()
    with pytest.raises(cno.ConnectionLost):
        await soon(task)
    with pytest.raises(BrokenPipeError):
        for _ in range(3):
            await soon(channel.put(b"x"))


@both
async def test_a_body_that_waits_for_what_is_cancelled(peer: Stage) -> None:
    """The request was not cancelled: it fails instead of waiting for the rest for ever."""
    other = asyncio.get_running_loop().create_future()

    async def body() -> AsyncIterator[bytes]:
        yield b"some"
        await other

    client, server = await peer.meet()
    task, asked = await ask(client, server, "POST", "/", [], body())
    await asked.received(4)
    other.cancel()
    with pytest.raises(cno.RequestFailed, match="cancelled"):
        await soon(task)
    if isinstance(server, H2Server):
        assert await exchange(client, server)
    else:
        await soon(client.wait_closed())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks are not eager")
@both
async def test_a_body_that_fails_in_an_eager_task(peer: Stage) -> None:
    def body() -> Any:
        raise KeyError("made up")
        yield b""

    client, _ = await peer.meet()
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
    try:
        with pytest.raises(KeyError):
            await soon(client.request("POST", "/", [], body()))
    finally:
        loop.set_task_factory(None)
