"""cno.Client: what happens at the same time, and in whose order."""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asking import ask, both, exchange, h2_only, until
from scripted import Clock, H2Server, Stage
from wire import soon

import cno
import cno.client.exchange

# ---- uploads ------------------------------------------------------------------------------------


@both
async def test_a_body_for_100_is_let_go_of_when_the_connection_is_lost(peer: Stage) -> None:
    """The loss wakes what waits for 100 and cancels it, in one turn of the loop: the latter counts,
    or who fills the channel would wait for a reader for ever."""
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
    """Nobody has cancelled the request: it fails, and does not wait for the rest for ever."""
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


# ---- time ---------------------------------------------------------------------------------------


@h2_only
async def test_what_waits_for_its_turn_too_long_is_not_sent(peer: Stage) -> None:
    """Not even when those before it are given up in the same moment, and leave it their place."""
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


# ---- pushes -------------------------------------------------------------------------------------


@h2_only
async def test_pushes_that_nobody_takes_have_a_limit(peer: Stage) -> None:
    """Complete ones do not count among the streams: a server could fill the memory with them."""
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
