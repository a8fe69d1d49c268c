"""cno.client.exchange: informational responses, trailers, tunnels, what is read past."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from asking import ask, both, cancel, exchange, h1, h2_only, until_gone
from scripted import Stage
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
async def test_informational_responses(peer: Stage) -> None:
    client, server = await peer.meet()
    said: list[Any] = []
    task, asked = await ask(client, server, inform=lambda *args: said.append(args))
    await asked.head(103, [("link", "</a>")])
    await asked.head(103, [("link", "</b>")])
    await asked.head(102)
    await asked.respond(200, b"final")
    response = await soon(task)
    assert response.code == 200
    assert await soon(response.payload.read()) == b"final"
    assert said == [(103, [("link", "</a>")]), (103, [("link", "</b>")]), (102, [])]
    task, asked = await ask(client, server)  # nobody wants to know
    await asked.head(103)
    await asked.respond(204)
    assert (await soon(task)).code == 204
    assert await exchange(client, server)


@both
async def test_nobody_is_informed_after_a_request_was_cancelled(peer: Stage) -> None:
    client, server = await peer.meet()
    said: list[int] = []
    task, asked = await ask(client, server, inform=lambda code, _: said.append(code))
    await cancel(task)
    await asked.head(103)
    if peer.version == "h1":
        await asked.respond()
    assert await exchange(client, server)
    assert said == []


@both
async def test_response_trailers(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    await asked.head(200)
    await asked.write(b"body")
    response = await soon(task)
    assert await soon(response.payload.readexactly(4)) == b"body"
    assert response.trailers == []
    await asked.tail([("x-sum", "caf\u00e9")])
    assert await soon(response.payload.read()) == b""
    assert response.trailers == [("x-sum", "caf\u00e9")]
    assert await exchange(client, server)


# ---- whose turn it is ----------------------------------------------------------------------------


@both
async def test_cancelled_while_it_waits_for_the_head(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    after = asyncio.ensure_future(client.request("GET", "/after"))
    await cancel(task)
    if peer.version == "h2":
        assert await soon(asked.is_reset()) == 8
    else:
        await asked.respond(200, b"nobody wants it")
    asked = await soon(server.request())
    assert asked.target == "/after"
    await asked.respond(200, b"ok")
    response = await soon(after)
    assert await soon(response.payload.read()) == b"ok"
    assert await exchange(client, server)
    assert not client.streams


@both
async def test_cancelled_while_it_is_read(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    await asked.head(200)
    await asked.write(b"some")
    response = await soon(task)
    reading = asyncio.ensure_future(response.payload.readexactly(1000))
    await asyncio.sleep(0)
    await cancel(reading)
    await asked.write(b" more")  # it can be read on
    assert await soon(response.payload.readexactly(9)) == b"some more"
    await asked.write(b"", end=True)
    assert await soon(response.payload.read()) == b""
    assert await exchange(client, server)


@h1
async def test_what_is_cancelled_is_read_past(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    await asked.head(200)
    await cancel_response(await soon(task))
    after = asyncio.ensure_future(client.request("GET", "/after"))
    for _ in range(3):
        await asked.write(bytes(65536))
    await asked.tail([("x", "y")])
    asked = await soon(server.request())
    assert asked.target == "/after"
    await asked.respond()
    assert (await soon(after)).code == 200


async def cancel_response(response: cno.Response) -> None:
    response.close()
    with pytest.raises(cno.RequestFailed, match="closed"):
        await soon(response.payload.read())


@h1
async def test_what_is_too_much_to_read_past_ends_the_connection(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    await asked.head(200)
    await cancel_response(await soon(task))
    after = asyncio.ensure_future(client.request("GET", "/after"))
    with contextlib.suppress(ConnectionError):
        for _ in range(100):
            await asked.write(bytes(65536))
    with pytest.raises(cno.RequestFailed) as caught:
        await soon(after)
    assert caught.value.unprocessed
    assert client.is_closed


# ---- tunnels -------------------------------------------------------------------------------------


@both
async def test_connect_makes_a_tunnel(peer: Stage) -> None:
    client, server = await peer.meet()
    channel = cno.Channel()
    channel.put_nowait(b"early")
    task, asked = await ask(client, server, "CONNECT", "far:443", [], channel)
    assert asked.method == "CONNECT"
    if peer.version == "h2":
        assert asked.headers == [(":authority", "far:443")]
        await server.ping()
        assert asked.body == b""  # not before it is granted
        await asked.head(200)
    else:
        assert (asked.target, asked.headers) == ("far:443", [("host", "far:443")])
        assert not server.buffer
        await server.wire.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
    response = await soon(task)
    assert response.tunnel
    assert response.code == 200

    async def receive(size: int) -> bytes:
        if peer.version == "h2":
            await asked.received(size)
            got = bytes(asked.body[:size])
            del asked.body[:size]
        else:
            while len(server.buffer) < size:
                assert await server.fill()
            got = bytes(server.buffer[:size])
            del server.buffer[:size]
        return got

    if peer.version == "h2":
        await asked.write(b"hello")
    assert await soon(receive(5)) == b"early"
    assert await soon(response.payload.readexactly(5)) == b"hello"
    await channel.put(b"ping")
    assert await soon(receive(4)) == b"ping"
    if peer.version == "h2":
        await asked.write(b"pong", end=True)
    else:
        await server.wire.send(b"pong")
        server.wire.fin()
    assert await soon(response.payload.read()) == b"pong"
    if peer.version == "h2":
        channel.close()
        assert await soon(asked.whole()) == b""
        assert await exchange(client, server)
    else:
        await soon(client.wait_closed())


@both
async def test_connect_that_is_not_granted(peer: Stage) -> None:
    client, server = await peer.meet()
    channel = cno.Channel(1)
    await channel.put(b"never sent")
    task, asked = await ask(client, server, "CONNECT", "far:443", [], channel)
    await asked.respond(403, b"no")
    response = await soon(task)
    assert (response.code, response.tunnel) == (403, False)
    assert await soon(response.payload.read()) == b"no"
    await soon(until_gone(channel))
    if peer.version == "h2":
        assert await exchange(client, server)


@both
async def test_connect_with_octets_has_no_length(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server, "CONNECT", "far:443", [], b"octets")
    assert asked.one("content-length") is None
    await asked.head(200, end=False) if peer.version == "h2" else await server.wire.send(
        b"HTTP/1.1 200 OK\r\n\r\n"
    )
    response = await soon(task)
    assert response.tunnel
    if peer.version == "h2":
        assert await soon(asked.whole()) == b"octets"
    else:
        while len(server.buffer) < 6:
            assert await server.fill()
        assert server.buffer == b"octets"


@h1
async def test_upgrade_makes_a_tunnel(peer: Stage) -> None:
    client, server = await peer.meet()
    channel = cno.Channel()
    fields = [("upgrade", "echo")]
    task, asked = await ask(client, server, "GET", "/", fields, channel)
    assert asked.one("upgrade") == "echo"
    assert (asked.one("connection") or "").lower() == "upgrade"
    assert asked.one("transfer-encoding") is None
    await server.wire.send(
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\nhello"
    )
    response = await soon(task)
    assert (response.code, response.tunnel) == (101, True)
    assert await soon(response.payload.readexactly(5)) == b"hello"
    await channel.put(b"octets")
    while len(server.buffer) < 6:
        assert await soon(server.fill())
    assert server.buffer == b"octets"
    channel.close()  # that much it knows of the end of one direction
    assert not await soon(server.fill())
    server.close()
    assert await soon(response.payload.read()) == b""
    await soon(client.wait_closed())


@h1
async def test_upgrade_that_is_not_granted(peer: Stage) -> None:
    client, server = await peer.meet()
    task, asked = await ask(client, server, "GET", "/", [("upgrade", "echo")], cno.Channel())
    await asked.respond(200, b"no")
    response = await soon(task)
    assert (response.code, response.tunnel) == (200, False)
    assert await soon(response.payload.read()) == b"no"
    assert await exchange(client, server)


@h2_only
async def test_upgrade_means_nothing_to_http2(peer: Stage) -> None:
    """RFC 9113 section 8.6: the field is not sent, and the body does not wait for 101."""
    client, server = await peer.meet()
    task, asked = await ask(client, server, "POST", "/", [("upgrade", "h2c")], b"body")
    assert asked.one("upgrade") is None
    assert await soon(asked.whole()) == b"body"
    await asked.respond()
    assert (await soon(task)).code == 200
