"""cno.client.alarm: how long the server may do nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asking import BIG, ask, both, check_failure, exchange, h1, h2_only, until
from scripted import Clock, H2Server, Stage
from wire import soon

import cno
import cno.client.connection
import cno.client.dial
import cno.client.exchange
import cno.client.link
import cno.client.turns
import cno.client.upload


@both
async def test_nothing_comes(peer: Stage) -> None:
    clock = Clock()
    client, server = await peer.meet(clock, timeout=10.0)
    task, asked = await ask(client, server)
    other = asyncio.ensure_future(client.request("GET", "/other", timeout=None))
    await asyncio.sleep(0)
    clock.pass_by(9.9)
    await asyncio.sleep(0)
    assert not task.done()
    clock.pass_by(0.2)
    with pytest.raises(cno.RequestTimeout, match="10 s") as caught:
        await soon(task)
    check_failure(caught.value)
    assert isinstance(caught.value, TimeoutError)
    assert not caught.value.unprocessed
    if peer.version == "h2":
        assert await soon(asked.is_reset()) == 8
        asked = await soon(server.request())
        clock.pass_by(10000)
        await asked.respond()
        assert (await soon(other)).code == 200
        assert not client.streams
    else:
        with pytest.raises(cno.Unprocessed):
            await soon(other)
        assert client.is_closed


@both
async def test_a_turn_that_does_not_come(peer: Stage) -> None:
    clock = Clock()
    client, server = await peer.meet(clock, timeout=None)
    if isinstance(server, H2Server):
        await server.settings(max_concurrent_streams=1)
        await server.ping()
    task, asked = await ask(client, server)
    other = asyncio.ensure_future(client.request("GET", "/other", timeout=10.0))
    third = asyncio.ensure_future(client.request("GET", "/third"))
    await asyncio.sleep(0)
    clock.pass_by(10)
    with pytest.raises(cno.RequestTimeout) as caught:
        await soon(other)
    check_failure(caught.value)
    assert caught.value.unprocessed  # nothing of it was sent
    clock.pass_by(100000)
    await asked.respond()
    assert (await soon(task)).code == 200
    asked = await soon(server.request())
    assert asked.target == "/third"
    await asked.respond()
    assert (await soon(third)).code == 200


@both
async def test_a_body_that_stops(peer: Stage) -> None:
    clock = Clock()
    client, server = await peer.meet(clock, timeout=10.0)
    task, asked = await ask(client, server)
    clock.pass_by(9)
    await asked.head(103)
    await until(lambda: client.streams[1].deadline == clock.time() + 10)
    clock.pass_by(9)
    await asked.head(200)
    response = await soon(task)
    clock.pass_by(100)  # nobody waits
    reading = asyncio.ensure_future(response.payload.readexactly(4))
    await asyncio.sleep(0)
    clock.pass_by(9)
    await asked.write(b"so")
    await until(lambda: len(response.payload._buffer) == 2)
    clock.pass_by(9)
    await asked.write(b"me")
    assert await soon(reading) == b"some"
    clock.pass_by(100)
    reading = asyncio.ensure_future(response.payload.read())
    await asyncio.sleep(0)
    clock.pass_by(9.9)
    await asyncio.sleep(0)
    assert not reading.done()
    clock.pass_by(0.2)
    with pytest.raises(cno.RequestTimeout) as caught:
        await soon(reading)
    check_failure(caught.value)
    if peer.version == "h2":
        assert await soon(asked.is_reset()) == 8
        assert await exchange(client, server)
    else:
        await soon(client.wait_closed())


@both
async def test_an_upload_that_is_not_taken(peer: Stage) -> None:
    clock = Clock()
    client, server = await peer.meet(clock, timeout=10.0)
    server.credit = False
    task, asked = await ask(client, server, "POST", "/", [], (BIG for _ in range(64)))

    def stuck() -> bool:
        deadline = client.streams[1].deadline
        return deadline is not None and deadline < clock.time() + 10

    await until(lambda: client._waiting or client.parts)
    for _ in range(5):
        clock.pass_by(9)
        assert not task.done()
        server.credit = True
        while stuck():  # until some of it was taken
            await soon(asked.received(len(asked.body) + 1))
            await asyncio.sleep(0)
        server.credit = False
        await until(lambda: client._waiting or client.parts)
    clock.pass_by(11)
    with pytest.raises(cno.RequestTimeout):
        await soon(task)
    if isinstance(server, H2Server):
        server.credit = True
        assert await soon(asked.is_reset()) == 8


@both
async def test_the_time_that_a_body_takes_to_be_made(peer: Stage) -> None:
    """The time is not that of the server."""
    clock = Clock()
    client, server = await peer.meet(clock, timeout=10.0)
    channel = cno.Channel()
    task, asked = await ask(client, server, "POST", "/", [], channel)
    for _ in range(3):
        await channel.put(b"some")
        await soon(asked.received(1))
        asked.body.clear()
        for _ in range(3):
            await asyncio.sleep(0)
        clock.pass_by(100)
    assert not task.done()
    channel.close()
    await soon(asked.whole())
    clock.pass_by(9)
    assert not task.done()
    clock.pass_by(2)
    with pytest.raises(cno.RequestTimeout):
        await soon(task)


@both
async def test_an_upload_behind_a_complete_response(peer: Stage) -> None:
    """No task waits for the upload, but other requests may wait for its end."""
    clock = Clock()
    client, server = await peer.meet(clock, timeout=10.0)
    server.credit = False
    task, asked = await ask(client, server, "POST", "/", [], (BIG for _ in range(64)))
    await until(lambda: client._waiting or client.parts)
    await asked.respond(200, b"enough")
    response = await soon(task)
    assert await soon(response.payload.read()) == b"enough"
    assert client.streams
    clock.pass_by(11)
    await until(lambda: not client.streams)
    if isinstance(server, H2Server):
        server.credit = True
        assert await soon(asked.is_reset()) == 8
        assert await exchange(client, server)
    else:
        await soon(client.wait_closed())


@h1
async def test_the_rest_of_a_response_that_takes_too_long(peer: Stage) -> None:
    """One byte now and then does not keep the other requests waiting."""
    clock = Clock()
    client, server = await peer.meet(clock, timeout=None)
    task, asked = await ask(client, server)
    await asked.head(200)
    response = await soon(task)
    response.close()
    other = asyncio.ensure_future(client.request("GET", "/other"))
    for _ in range(3):
        seen = client.streams[1]._discarded
        await asked.write(b"x")
        await until(lambda seen=seen: client.streams[1]._discarded > seen)
        clock.pass_by(cno.client.connection.READ_PAST / 4)
    assert not other.done()
    clock.pass_by(cno.client.connection.READ_PAST / 2)
    with pytest.raises(cno.Unprocessed):
        await soon(other)


@h1
async def test_the_rest_of_a_response_that_was_closed_while_read(peer: Stage) -> None:
    clock = Clock()
    client, server = await peer.meet(clock)
    task, asked = await ask(client, server)
    await asked.head(200)
    response = await soon(task)
    reading = asyncio.ensure_future(response.payload.read())
    await asyncio.sleep(0)
    response.close()
    with pytest.raises(cno.RequestFailed, match="closed"):
        await soon(reading)
    clock.pass_by(cno.client.connection.PATIENCE)
    assert client.is_closed
    await soon(client.wait_closed())


@h2_only
async def test_a_push_that_does_not_come(peer: Stage) -> None:
    clock = Clock()
    client, server = await peer.meet(clock, timeout=10.0)
    task, asked = await ask(client, server)
    promise = await asked.promise("/pushed")
    await asked.respond(200, b"ok")
    response = await soon(task)
    [push] = [push async for push in response.pushed]
    clock.pass_by(100)  # nobody waits
    waiting = asyncio.ensure_future(asyncio.wait_for(push.response, 60))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    clock.pass_by(11)
    with pytest.raises(cno.RequestTimeout):
        await soon(waiting)
    await soon(server.until(lambda: server.pushed_back))
    assert server.pushed_back == [promise.id]
    assert await exchange(client, server)


@both
async def test_no_timeout(peer: Stage) -> None:
    clock = Clock()
    client, server = await peer.meet(clock, timeout=None)
    task, asked = await ask(client, server)
    clock.pass_by(10**6)
    await asked.head(200)
    response = await soon(task)
    reading = asyncio.ensure_future(response.payload.read())
    await asyncio.sleep(0)
    clock.pass_by(10**6)
    await asked.write(b"ok", end=True)
    assert await soon(reading) == b"ok"
    # Nor when only this request has none.
    client, server = await peer.meet(clock, timeout=1.0)
    task, asked = await ask(client, server, timeout=None)
    clock.pass_by(10**6)
    await asked.respond()
    assert (await soon(task)).code == 200


@both
async def test_an_idle_connection(peer: Stage) -> None:
    clock = Clock()
    client, server = await peer.meet(clock, timeout_idle=10.0, timeout=None)
    clock.pass_by(9)
    task, asked = await ask(client, server)
    clock.pass_by(100)
    assert not client.is_closed
    await asked.respond(200, b"ok")
    response = await soon(task)
    assert await soon(response.payload.read()) == b"ok"
    clock.pass_by(9)
    assert await exchange(client, server)
    clock.pass_by(9)
    assert not client.is_closed
    clock.pass_by(1)
    assert client.is_closed
    await soon(client.wait_closed())
    with pytest.raises(cno.Unprocessed):
        await client.request("GET", "/")
    client, server = await peer.meet(clock, timeout_idle=10.0)  # never used
    clock.pass_by(10)
    await soon(client.wait_closed())


@both
async def test_promises_that_do_not_come(peer: Stage) -> None:
    """The wait for a promise is no longer than that for the body. HTTP/1 has no promises."""
    clock = Clock()
    client, server = await peer.meet(clock, timeout=10.0)
    task, asked = await ask(client, server)
    await asked.head(200)
    response = await soon(task)
    waiting = asyncio.ensure_future(response.pushed.__anext__())
    if peer.version == "h1":
        with pytest.raises(StopAsyncIteration):
            await soon(waiting)
        await asked.write(b"ok", end=True)
        assert await soon(response.payload.read()) == b"ok"
        return
    await asyncio.sleep(0)
    clock.pass_by(9)
    await asked.promise("/one")
    assert (await soon(waiting)).path == "/one"
    clock.pass_by(100)  # nobody waits
    waiting = asyncio.ensure_future(response.pushed.__anext__())
    await asyncio.sleep(0)
    clock.pass_by(9)
    await asked.write(b"some")
    await until(lambda: len(response.payload._buffer) == 4)
    clock.pass_by(9)
    assert not waiting.done()
    clock.pass_by(2)
    with pytest.raises(cno.RequestTimeout) as caught:
        await soon(waiting)
    check_failure(caught.value)
    assert [push async for push in response.pushed] == []
    assert await soon(asked.is_reset()) == 8
    assert await exchange(client, server)


@h2_only
async def test_promises_behind_a_window_that_nobody_opens(peer: Stage) -> None:
    """The body waits for its reader, and the reader of the promises for the end of the body."""
    clock = Clock()
    client, server = await peer.meet(clock, timeout=10.0)
    task, asked = await ask(client, server)
    await asked.head(200)
    response = await soon(task)
    waiting = asyncio.ensure_future(response.pushed.__anext__())
    await soon(asked.fill_window())
    clock.pass_by(11)
    with pytest.raises(cno.RequestTimeout):
        await soon(waiting)


@both
async def test_a_request_behind_a_timeout(peer: Stage) -> None:
    """The connection has ended; the request itself has not timed out."""
    clock = Clock()
    client, server = await peer.meet(clock, timeout=10.0)
    task, _ = await ask(client, server)
    queued = asyncio.ensure_future(client.request("GET", "/queued", timeout=None))
    if peer.version == "h2":
        await soon(server.request())
    await asyncio.sleep(0)
    clock.pass_by(11)
    with pytest.raises(cno.RequestTimeout):
        await soon(task)
    if peer.version == "h2":
        server.wire.reset()
        with pytest.raises(cno.ConnectionLost):
            await soon(queued)
        await soon(client.wait_closed())
    else:
        with pytest.raises(cno.Unprocessed, match="has ended") as caught:
            await soon(queued)
        assert "for 10 s" not in str(caught.value)
        assert "for 10 s" in str(caught.value.__cause__)
    for _ in range(2):
        with pytest.raises(cno.Unprocessed, match="has ended") as caught:
            await client.request("GET", "/next")
        check_failure(caught.value)
        assert "for 10 s" not in str(caught.value)
        assert isinstance(caught.value.__cause__, cno.ConnectionLost)


@h2_only
async def test_what_waits_for_its_turn_too_long_is_not_sent(peer: Stage) -> None:
    """Not even when the requests before it are given up in the same moment."""
    clock: Any = Clock()
    client, server = await peer.meet(clock, timeout=10.0)
    await server.settings(max_concurrent_streams=2)
    tasks = [asyncio.ensure_future(client.request("GET", "/")) for _ in range(5)]
    await soon(server.request())
    await soon(server.request())
    assert len(client._turns) == 3
    clock.pass_by(20)
    for number, task in enumerate(tasks):
        with pytest.raises(cno.RequestTimeout) as caught:
            await soon(task)
        assert caught.value.unprocessed == (number > 1)
    await server.ping()
    assert not server.requests
