"""cno.client.upload: the writer of a channel never waits for a request that has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from native import Site, both
from wire import soon

import cno


async def never(request: cno.Request) -> None:
    await asyncio.Event().wait()


async def echo(request: cno.Request) -> None:
    await request.respond(200, [], request.payload)


async def dial(peer: Site) -> cno.Client:
    port = peer.server.sockets[0].getsockname()[1]
    scheme = "h2c" if peer.version == "h2" else "http"
    return await cno.connect(None, f"{scheme}://127.0.0.1:{port}")


async def is_abandoned(channel: cno.Channel) -> None:
    with pytest.raises(BrokenPipeError):
        for _ in range(3):
            await soon(channel.put(b"x"))


FAILS = {
    "field": ValueError,
    "name": TypeError,
    "cancelled": asyncio.CancelledError,
}


@both
@pytest.mark.parametrize("how", FAILS)
async def test_a_request_that_fails_before_its_body(peer: Site, how: str) -> None:
    peer.cuts = True
    await peer.start(never)
    async with await dial(peer) as client:
        headers: Any = [("a", "b\n")] if how == "field" else 1 if how == "name" else []
        channel = cno.Channel(1)
        asking = asyncio.ensure_future(client.request("POST", "/", headers, channel))
        if how == "cancelled":
            await asyncio.sleep(0)  # the head is written, and the body has not begun
            asking.cancel()
        with pytest.raises(FAILS[how]):
            await soon(asking)
        await is_abandoned(channel)


@both
async def test_an_unprocessed_request_leaves_its_body_for_the_next(peer: Site) -> None:
    await peer.start(echo)
    channel = cno.Channel(1)
    await channel.put(b"hello")
    async with await dial(peer) as client:
        client.close()
        with pytest.raises(cno.Unprocessed):
            await soon(client.request("POST", "/", [], channel))
    channel.close()
    async with await dial(peer) as client:
        response = await soon(client.request("POST", "/", [], channel))
        assert await soon(response.payload.read()) == b"hello"


@both
async def test_a_request_that_is_cancelled_while_it_waits(peer: Site) -> None:
    peer.cuts = True
    await peer.start(never, h2_max_concurrent_streams=1)
    async with await dial(peer) as client:
        if peer.version == "h2":
            await client.ping()  # by then the limit is known
        first = asyncio.ensure_future(client.request("GET", "/"))
        await asyncio.sleep(0)
        channel = cno.Channel(1)
        waiting = asyncio.ensure_future(client.request("POST", "/", [], channel))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await soon(waiting)
        await is_abandoned(channel)
        first.cancel()


@both
@pytest.mark.parametrize("body", [b"hello", bytes(200000), "parts"])
@pytest.mark.parametrize("length", ["3", "300000"])
async def test_a_body_of_another_length(peer: Site, body: Any, length: str) -> None:
    """A mistake in a request is a ValueError, whenever it is noticed."""

    async def handle(request: cno.Request) -> None:
        await request.payload.read()
        await request.respond(200, [], b"whole")

    async def parts() -> AsyncIterator[bytes]:
        yield b"hello"

    peer.cuts = True
    await peer.start(handle)
    async with await dial(peer) as client:
        with pytest.raises(ValueError, match="content-length"):
            payload = parts() if body == "parts" else body
            await soon(client.request("POST", "/", [("content-length", length)], payload))
        if peer.version == "h2":
            response = await soon(client.request("POST", "/", [], b"hello"))
            assert await soon(response.payload.read()) == b"whole"
