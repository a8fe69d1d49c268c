"""cno/server/group.py: groups of connections are drained and cut."""

import asyncio
from typing import Any

import native
import pytest
from native import Site, noted, plain
from peer import Peer, over
from pressure import BLOCK, START, little_room, part
from wire import soon

import cno


@native.h1
async def test_a_drain_finds_a_client_that_has_just_gone(peer: Site) -> None:
    client = await peer.serve(native.hello)
    exchange = await client.start("POST", "/", [("content-length", "10")], more=True)
    assert (await exchange.response()).status == 200
    client.wire.reset()
    peer.group.shutdown()
    await soon(peer.group.wait_closed())


@native.both
async def test_p9_a_group_is_drained(peer: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cno.server.group.TICK", 0.02)
    monkeypatch.setattr("cno.server.clock.LINGER", 0.1)
    go = asyncio.Event()

    async def handle(request: cno.Request) -> None:
        if request.path == "/slow":
            await go.wait()
        await request.respond(200, [], b"ok")

    client = await peer.serve(handle)
    idle = await peer.connect()
    assert (await idle.ask()).status == 200
    exchange = await client.start("GET", "/slow")
    await peer.barrier()
    draining = asyncio.create_task(peer.group.drain())
    assert await idle.closed() == "fin"  # type: ignore[attr-defined]
    assert not draining.done()
    go.set()
    assert plain(await exchange.response()) == (200, b"ok")
    await client.closed()  # type: ignore[attr-defined]
    await soon(draining)
    assert not peer.group.connections


@native.both
async def test_a_drain_does_not_wait_for_ever(peer: Site) -> None:
    async def handle(request: cno.Request) -> None:
        await asyncio.Event().wait()

    handle = noted(handle)
    client = await peer.serve(handle)
    await client.start()
    await peer.barrier()
    await peer.group.drain(0.0)
    assert isinstance(await handle.done(), asyncio.CancelledError)


@native.both
async def test_a_connection_made_while_the_group_drains(peer: Site) -> None:
    await peer.start(native.hello)
    peer.group.shutdown()
    client = await peer.connect()
    assert await client.closed()  # type: ignore[attr-defined]


@over("h2", loops=["asyncio"])
async def test_abort_tells_the_applications(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cno.server.group.MERCY", 0.1)
    monkeypatch.setattr("cno.server.connection.DRAIN", 0.05)
    monkeypatch.setattr("cno.process.service.FAREWELL", 0.1)
    peer.cuts = True

    async def app(scope, receive, send):
        if scope["path"] == "/receive":
            await receive()
            return (await receive())["type"]
        if scope["path"] == "/send":
            await send(START)
            with pytest.raises(OSError) as error:
                while True:
                    await send(part(BLOCK))
            return error.type.__name__
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "cancelled"

    results: dict[str, Any] = {}

    async def noting(scope, receive, send):
        results[(scope["path"], scope["http_version"])] = await app(scope, receive, send)

    await little_room(peer, noting, timeout_graceful_shutdown=0.05)
    for path in ("/receive", "/send", "/deaf"):
        for version in ("h1", "h2"):
            client = await peer.connect(version, buffer=16384)
            await client.start("GET", f"{path}?{version}")
    await peer.barrier()
    await peer.barrier()
    peer.server.close()
    await soon(peer.server.wait_closed())
    for version in ("1.1", "2"):
        assert results.pop(("/receive", version)) == "http.disconnect"
        assert results.pop(("/send", version)) == "ClientDisconnected"
        assert results.pop(("/deaf", version)) == "cancelled"
    assert not results
