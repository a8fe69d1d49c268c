"""cno/server/reply.py: states of a reply, its order, its failure and its framing."""

import asyncio
from typing import Any

from native import Site, both, h2_only, hello, plain

import cno


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
    """It is broken off. The stream would stay open for ever, of no handler and with no timeout."""

    async def handle(request: cno.Request) -> None:
        raise KeyError("made up")

    client = await peer.serve(handle)
    client.h2.update_settings({4: 0})  # type: ignore[attr-defined]  # INITIAL_WINDOW_SIZE
    exchange = await client.start()
    assert (await exchange.response()).reset == 2  # INTERNAL_ERROR
    assert len(peer.log) == 1
    peer.log.clear()
