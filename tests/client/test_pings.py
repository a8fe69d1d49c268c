"""cno.client.pings: PINGs of HTTP/2."""

from __future__ import annotations

import asyncio

import pytest
from asking import ask, check_failure, exchange, h1, h2_only
from hyperframe.frame import (
    PingFrame,
)
from scripted import Clock, Stage
from wire import soon

import cno
import cno.client.connection
import cno.client.dial
import cno.client.exchange
import cno.client.link
import cno.client.turns
import cno.client.upload


@h2_only
async def test_ping(peer: Stage) -> None:
    client, server = await peer.meet()
    pings = [asyncio.ensure_future(client.ping()) for _ in range(3)]
    await asyncio.sleep(0)
    await server.ping()
    for ping in pings:
        assert 0 <= await soon(ping) < 60
    payloads = [f.opaque_data for f in server.frames if isinstance(f, PingFrame)]
    assert len(set(payloads)) == len(payloads)
    assert not client.pings


@h1
async def test_http1_has_no_ping(peer: Stage) -> None:
    client, server = await peer.meet()
    with pytest.raises(RuntimeError):
        await client.ping()
    assert await exchange(client, server)


@h2_only
async def test_a_ping_without_an_answer(peer: Stage) -> None:
    client, server = await peer.meet(timeout=0.01)
    with pytest.raises(cno.RequestTimeout) as caught:
        await soon(client.ping())
    check_failure(caught.value)
    assert not client.pings
    client, server = await peer.meet()
    ping = asyncio.ensure_future(client.ping())
    await asyncio.sleep(0)
    server.wire.fin()
    with pytest.raises(cno.ConnectionLost):
        await soon(ping)
    with pytest.raises(cno.RequestFailed):
        await client.ping()


@h2_only
async def test_pings_at_intervals(peer: Stage) -> None:
    clock = Clock()
    client, server = await peer.meet(clock, ping_interval=10.0, timeout=None)

    def pings() -> int:
        return sum(isinstance(f, PingFrame) and not f.flags for f in server.frames)

    await server.ping()
    clock.pass_by(10)  # something has come
    assert await exchange(client, server)
    assert pings() == 0
    clock.pass_by(10)
    clock.pass_by(10)
    await soon(server.until(lambda: pings() == 1))
    await server.ping()
    task, _ = await ask(client, server)
    clock.pass_by(10)
    clock.pass_by(10)
    await soon(server.until(lambda: pings() == 2))
    assert not client.is_closed
    await server.ping()
    clock.pass_by(30)
    with pytest.raises(cno.ConnectionLost, match="PING"):
        await soon(task)
    assert client.is_closed
    await soon(client.wait_closed())


@h1
async def test_no_pings_at_intervals_on_http1(peer: Stage) -> None:
    clock = Clock()
    client, server = await peer.meet(clock, ping_interval=10.0, timeout=None)
    clock.pass_by(1000)
    assert await exchange(client, server)
