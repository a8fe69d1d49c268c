"""cno.client.response: responses and pushes, and what closing them comes to."""

from __future__ import annotations

import asyncio

import pytest
from asking import ask, both, cancel, exchange, h1, h2_only, until
from scripted import H2Asked, Stage
from wire import soon

import cno
import cno.client.connection
import cno.client.dial
import cno.client.exchange
import cno.client.link
import cno.client.turns
import cno.client.upload

# ---- what is sent, and what comes ----------------------------------------------------------------


@both
async def test_responses_without_content(peer: Stage) -> None:
    client, server = await peer.meet()
    for method, status, fields in (
        ("HEAD", 200, [("content-length", "1000")]),
        ("HEAD", 404, []),
        ("GET", 204, []),
        ("GET", 304, [("content-length", "1000")]),
        ("GET", 200, [("content-length", "0")]),
    ):
        task, asked = await ask(client, server, method, "/")
        await asked.head(status, fields, end=True)
        response = await soon(task)
        assert (response.code, response.headers) == (status, fields)
        assert await soon(response.payload.read()) == b""
        assert response.payload.at_eof()


@both
async def test_a_body_in_parts(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    await asked.head(200)
    response = await soon(task)
    reading = asyncio.ensure_future(response.payload.readline())
    await asked.write(b"li")
    await asked.write(b"ne\nrest")
    assert await soon(reading) == b"line\n"
    assert await soon(response.payload.read(100)) == b"rest"
    await asked.write(b"", end=True)
    assert await soon(response.payload.read()) == b""


# ---- responses -----------------------------------------------------------------------------------


@both
async def test_a_response_is_closed_by_async_with(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    await asked.head(200)
    await asked.write(b"some")
    async with await soon(task) as response:
        assert await soon(response.payload.readexactly(4)) == b"some"
    if peer.version == "h2":
        assert await soon(asked.is_reset()) == 8
    else:
        await asked.write(b"rest", end=True)
    assert await exchange(client, server)
    response.close()  # a second time is nothing
    assert await exchange(client, server)


@both
async def test_a_complete_response_that_is_not_read_and_closed(peer: Stage) -> None:
    """The next response comes, however long the unread one was."""
    client, server = await peer.meet()
    for size in (1000, 65536, 200000):
        task, asked = await ask(client, server)
        await asked.respond(200, bytes(size))
        async with await soon(task) as response:
            assert response.code == 200
        assert await exchange(client, server)


@h1
async def test_a_complete_response_that_is_not_read(peer: Stage) -> None:
    """All of the response has come: the next one need not wait, and each response that is too long
    stops the reading by itself."""
    client, server = await peer.meet()
    task, _ = await ask(client, server)
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"
    client.data_received(head + bytes(100000))  # as one read
    first = await soon(task)
    assert await exchange(client, server)
    task, _ = await ask(client, server)
    client.data_received(head + bytes(99999))
    second = await soon(task)
    assert not client._reading
    assert len(await soon(first.payload.readexactly(10))) == 10
    assert not client._reading
    assert len(await soon(first.payload.read())) == 99990
    assert not client._reading
    assert len(await soon(second.payload.readexactly(99999))) == 99999
    assert client._reading
    await server.wire.send(b"!")
    assert await soon(second.payload.read()) == b"!"
    assert await exchange(client, server)


@both
async def test_reading_slowly_holds_the_server_back(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    await asked.head(200)
    response = await soon(task)
    if isinstance(asked, H2Asked):
        size = await soon(asked.fill_window())
        assert size == cno.client.connection.WINDOW
        await server.ping()
        assert server.h2.local_flow_control_window(asked.id) == 0
        assert await exchange(client, server)  # the connection is not held back
        assert len(await soon(response.payload.readexactly(size))) == size
        await server.ping()
        assert server.h2.local_flow_control_window(asked.id) >= size // 2
        await asked.write(b"end", end=True)
        assert await soon(response.payload.read()) == b"end"
    else:
        size = 32 * 1024 * 1024
        sending = asyncio.ensure_future(asked.write(bytes(size), end=True))
        await until(lambda: not client._reading)
        assert len(response.payload._buffer) < 1024 * 1024
        got = 0
        while data := await soon(response.payload.read(65536)):
            got += len(data)
        assert got == size
        await soon(sending)
    assert await exchange(client, server)


# ---- pushes --------------------------------------------------------------------------------------


@h2_only
async def test_pushes(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    one = await asked.promise("/one?q", [("x-of", "caf\u00e9")])
    await asked.head(200)
    response = await soon(task)
    pushes = response.pushed
    push = await soon(pushes.__anext__())
    assert (push.method, push.path) == ("GET", "/one?q")
    assert (":authority", peer.authority) in push.headers
    assert ("x-of", "caf\u00e9") in push.headers
    assert repr(push) == "<Push GET /one?q>"
    waiting = asyncio.ensure_future(asyncio.wait_for(push.response, 10))
    two = await asked.promise("/two")
    await one.respond(200, b"pushed")
    pushed = await soon(waiting)
    assert (pushed.code, await soon(pushed.payload.read())) == (200, b"pushed")
    again = await push.response
    assert (again.code, again.payload) == (200, pushed.payload)
    await asked.write(b"body", end=True)
    assert [push.path async for push in response.pushed] == ["/two"]
    await two.respond(404)
    assert await soon(response.payload.read()) == b"body"
    assert await exchange(client, server)
    assert not client.streams


@h2_only
async def test_a_push_that_is_cancelled(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    one = await asked.promise("/one")
    await asked.respond(200)
    response = await soon(task)
    [push] = [push async for push in response.pushed]
    push.cancel()
    push.cancel()
    with pytest.raises(cno.RequestFailed):
        await push.response
    await soon(server.until(lambda: server.pushed_back))
    assert server.pushed_back == [one.id]
    assert await exchange(client, server)
    assert not client.streams


@h2_only
async def test_a_push_that_the_server_resets(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    one = await asked.promise("/one")
    two = await asked.promise("/two")
    await asked.respond(200)
    response = await soon(task)
    first, second = [push async for push in response.pushed]
    waiting = asyncio.ensure_future(asyncio.wait_for(first.response, 10))
    await asyncio.sleep(0)
    await one.give_up(2)
    with pytest.raises(cno.StreamReset) as caught:
        await soon(waiting)
    assert caught.value.code == 2
    await two.head(200)
    await two.write(b"some")
    pushed = await asyncio.wait_for(second.response, 10)
    await two.give_up(7)
    assert await soon(pushed.payload.read(100)) == b"some"
    with pytest.raises(cno.StreamReset) as caught:
        await soon(pushed.payload.read())
    assert caught.value.code == 7
    assert await exchange(client, server)


@h2_only
async def test_pushes_that_nobody_takes_end_with_the_response(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    promised = [await asked.promise(f"/{i}") for i in range(3)]
    await asked.head(200)
    async with await soon(task) as response:
        await server.ping()
        push = await soon(response.pushed.__anext__())
    await soon(server.until(lambda: len(server.pushed_back) == 2))
    assert server.pushed_back == [promised[1].id, promised[2].id]
    assert await soon(asked.is_reset()) == 8
    await promised[0].respond(200, b"taken")
    pushed = await asyncio.wait_for(push.response, 10)
    assert await soon(pushed.payload.read()) == b"taken"
    # The same when the response is complete.
    task, asked = await ask(client, server)
    promise = await asked.promise("/last")
    await asked.respond()
    (await soon(task)).close()
    await soon(server.until(lambda: len(server.pushed_back) == 3))
    assert server.pushed_back[2] == promise.id
    assert not client.streams


@h2_only
async def test_a_promise_of_a_request_that_was_cancelled(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    await server.flush()
    await cancel(task)
    promise = await asked.promise("/late")  # the server does not know yet
    await soon(server.until(lambda: server.pushed_back))
    assert server.pushed_back == [promise.id]
    assert await exchange(client, server)


@h2_only
async def test_promises_to_somebody_who_has_stopped_listening(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    await asked.head(200)
    response = await soon(task)
    await response.pushed.aclose()
    promise = await asked.promise("/late")
    await soon(server.until(lambda: server.pushed_back))
    assert server.pushed_back == [promise.id]
    await asked.write(b"body", end=True)
    assert await soon(response.payload.read()) == b"body"


@h2_only
async def test_pushes_that_nobody_takes_have_a_limit(peer: Stage) -> None:
    """Complete responses do not count among the streams, and could fill the memory."""
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    await asked.head(200)
    response = await soon(task)
    for number in range(cno.client.exchange.PUSHES + 3):
        promised = await asked.promise(f"/{number}")
        await promised.respond(200, b"x" * 100)
    await server.ping()
    await asked.write(b"", end=True)
    pushed = [push.path async for push in response.pushed]
    assert pushed == [f"/{number}" for number in range(cno.client.exchange.PUSHES)]
    assert await exchange(client, server)
