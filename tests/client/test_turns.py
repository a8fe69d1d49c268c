"""cno.client.turns: requests that wait until the connection has room."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asking import ask, both, cancel, exchange, h1, h2_only
from scripted import H2Server, Stage
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
async def test_what_cannot_be_sent_when_its_turn_comes(peer: Stage) -> None:
    client, server = await peer.meet()
    if isinstance(server, H2Server):
        await server.settings(max_concurrent_streams=1)
        await server.ping()
    first, asked = await ask(client, server)
    wrong = asyncio.ensure_future(client.request("GET", "/", [("x", "\n")]))
    second = asyncio.ensure_future(client.request("GET", "/2"))
    await asked.respond()
    with pytest.raises(ValueError):
        await soon(wrong)
    await soon(first)
    asked = await soon(server.request())
    assert asked.target == "/2"
    await asked.respond()
    assert (await soon(second)).code == 200


# ---- whose turn it is ----------------------------------------------------------------------------


@h1
async def test_requests_wait_in_order(peer: Stage) -> None:
    client, server = await peer.meet()
    tasks = [asyncio.ensure_future(client.request("GET", f"/{i}")) for i in range(5)]
    for i, task in enumerate(tasks):
        asked = await soon(server.request())
        assert asked.target == f"/{i}"
        await server.wire.loop.sock_sendall(server.wire.sock, b"")
        assert not server.buffer  # one at a time
        await asked.respond(200, b"%d" % i)
        response = await soon(task)
        assert await soon(response.payload.read()) == b"%d" % i


@h2_only
async def test_requests_beyond_the_stream_limit_wait(peer: Stage) -> None:
    client, server = await peer.meet()
    await server.settings(max_concurrent_streams=2)
    await server.ping()
    tasks = [asyncio.ensure_future(client.request("GET", f"/{i}")) for i in range(6)]
    first, second = await soon(server.request()), await soon(server.request())
    await server.ping()
    assert server.requests == 0
    await cancel(tasks[2])
    await cancel(tasks[4])
    await second.respond(200, b"1")
    third = await soon(server.request())
    assert third.target == "/3"
    await server.ping()
    assert server.requests == 0
    await server.settings(max_concurrent_streams=10)
    fourth = await soon(server.request())
    assert fourth.target == "/5"
    for asked in (fourth, third, first):
        await asked.respond(200, asked.target.encode())
    for i in (0, 3, 5):
        response = await soon(tasks[i])
        assert await soon(response.payload.read()) == b"/%d" % i
    assert await exchange(client, server)
    assert not client.streams
    assert not client._turns


@h2_only
async def test_a_limit_of_none_is_waited_out(peer: Stage) -> None:
    client, server = await peer.meet()
    await server.settings(max_concurrent_streams=0)
    await server.ping()
    tasks = [asyncio.ensure_future(client.request("GET", f"/{i}")) for i in range(3)]
    await server.ping()
    assert server.requests == 0
    await server.settings(max_concurrent_streams=1)
    for i, task in enumerate(tasks):
        asked = await soon(server.request())
        assert asked.target == f"/{i}"
        await asked.respond()
        assert (await soon(task)).code == 200


@both
async def test_no_more_than_so_many_wait(peer: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cno.client.turns, "WAITING", 3)
    client, server = await peer.meet()
    if isinstance(server, H2Server):
        await server.settings(max_concurrent_streams=1)
        await server.ping()
    first, asked = await ask(client, server)
    tasks = [asyncio.ensure_future(client.request("GET", f"/{i}")) for i in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(cno.RequestFailed) as caught:
        await soon(client.request("GET", "/too-many"))
    assert caught.value.unprocessed
    await cancel(tasks.pop())
    tasks.append(asyncio.ensure_future(client.request("GET", "/2")))
    await asked.respond()
    assert (await soon(first)).code == 200
    for i, task in enumerate(tasks):
        asked = await soon(server.request())
        assert asked.target == f"/{i}"
        await asked.respond()
        assert (await soon(task)).code == 200


@both
async def test_cancelled_in_the_queue(peer: Stage) -> None:
    client, server = await peer.meet()
    if isinstance(server, H2Server):
        await server.settings(max_concurrent_streams=1)
        await server.ping()
    task, asked = await ask(client, server)
    others = [asyncio.ensure_future(client.request("GET", f"/{i}")) for i in range(3)]
    await asyncio.sleep(0)
    await cancel(others[1])
    await asked.respond(200, b"ok")
    assert (await soon(task)).code == 200
    for i in (0, 2):
        asked = await soon(server.request())
        assert asked.target == f"/{i}"
        await asked.respond()
        assert (await soon(others[i])).code == 200


@both
async def test_cancelled_in_the_very_turn(peer: Stage) -> None:
    """The head was written, but the task has not run since."""
    client, server = await peer.meet()
    if isinstance(server, H2Server):
        await server.settings(max_concurrent_streams=1)
        await server.ping()
    task, asked = await ask(client, server)
    second = asyncio.ensure_future(client.request("GET", "/second"))
    third = asyncio.ensure_future(client.request("GET", "/third"))
    await asyncio.sleep(0)
    began = client._write_head

    def write_head(*args: Any) -> bool:
        client.loop.call_soon(second.cancel)
        return began(*args)

    client._write_head = write_head
    await asked.respond()
    assert (await soon(task)).code == 200
    with pytest.raises(asyncio.CancelledError):
        await soon(second)
    client._write_head = began
    asked = await soon(server.request())
    if asked.target == "/second":
        if peer.version == "h1":
            await asked.respond()
        asked = await soon(server.request())
    assert asked.target == "/third"
    await asked.respond()
    assert (await soon(third)).code == 200
    assert not client.streams
