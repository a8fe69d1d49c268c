"""cno.Server and cno.Client: tunnels by Upgrade, and by CONNECT with a protocol."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
from native import Site, both, h1, h2_only, hello, noted, plain
from wire import H1, soon

import cno
from tools import Certificate

ASKS = b"Connection: upgrade\r\nUpgrade: echo\r\n\r\n"
ASK = b"GET /echo HTTP/1.1\r\nHost: h\r\n" + ASKS
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
GRANT = [("upgrade", "echo")]


async def echo(request: cno.Request) -> None:
    """Grants a tunnel that sends back its input."""
    await request.respond(101, GRANT, request.payload)


async def head(client: H1) -> tuple[bytes, list[bytes]]:
    """Reads a status line and its fields."""
    line = await client.line()
    assert line is not None
    fields = []
    while field := await client.line():
        fields.append(field.lower())
    return line, fields


async def comes(client: H1, octets: bytes) -> None:
    """Waits for exactly these bytes."""
    while len(client.buffer) < len(octets):
        assert await client.fill(), bytes(client.buffer)
    assert bytes(client.buffer) == octets
    client.buffer.clear()


@h1
async def test_a_tunnel_by_upgrade(peer: Site) -> None:
    client = await peer.serve(echo, upgrade=True)
    assert isinstance(client, H1)
    await client.wire.send(ASK + b"early")
    line, fields = await head(client)
    assert line == b"HTTP/1.1 101 Switching Protocols"
    assert b"upgrade: echo" in fields
    assert b"connection: upgrade" in fields
    assert not [field for field in fields if field.startswith((b"content-length", b"transfer"))]
    await comes(client, b"early")
    await client.wire.send(b"GET / HTTP/1.1\r\n\r\n")  # data of the tunnel, not a request
    await comes(client, b"GET / HTTP/1.1\r\n\r\n")
    await client.wire.send(b"last")
    client.wire.fin()
    await comes(client, b"last")
    assert await client.closed() == "fin"
    assert not peer.log


@h1
async def test_the_server_ends_a_tunnel(peer: Site) -> None:
    @noted
    async def handle(request: cno.Request) -> Any:
        async def body() -> AsyncIterator[bytes]:
            yield b"say "
            yield await request.payload.readexactly(3)

        await request.respond(101, GRANT, body())
        return "answered"

    client = await peer.serve(handle, upgrade=True)
    assert isinstance(client, H1)
    await client.wire.send(ASK)
    await head(client)
    await comes(client, b"say ")
    await client.wire.send(b"bye")
    await comes(client, b"bye")
    assert await client.closed() == "fin"
    assert await handle.done() == "answered"


@h1
async def test_octets_for_a_body_that_is_at_hand(peer: Site) -> None:
    async def handle(request: cno.Request) -> None:
        await request.respond(101, GRANT, b"\x00all")

    client = await peer.serve(handle, upgrade=True)
    assert isinstance(client, H1)
    await client.wire.send(ASK)
    _, fields = await head(client)
    assert not [field for field in fields if field.startswith(b"content-length")]
    await comes(client, b"\x00all")
    assert await client.closed() == "fin"


@h1
@pytest.mark.parametrize("reads", [False, True])
@pytest.mark.parametrize("upgrade", [False, True])
async def test_a_request_that_is_not_granted_is_one_like_others(
    peer: Site, reads: bool, upgrade: bool
) -> None:
    async def handle(request: cno.Request) -> None:
        asks = upgrade and request.path == "/echo"
        assert request.upgrade == ("echo" if asks else None)
        got = await request.payload.read() if reads else b""
        await request.respond(200, [], request.path.encode() + got)

    client = await peer.serve(handle, upgrade=upgrade)
    assert isinstance(client, H1)
    await client.wire.send(ASK + GET + ASK + GET)
    for body in (b"/echo", b"/", b"/echo", b"/"):
        assert plain(await client.response()) == (200, body)
    # A request with a body does not ask for a tunnel.
    await client.wire.send(b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n" + ASKS + b"hi")
    assert plain(await client.response()) == (200, b"/phi" if reads else b"/p")
    assert plain(await client.ask()) == (200, b"/")
    assert not peer.log


@h1
@pytest.mark.parametrize("how", ["read", "readexactly", "readuntil", "iteration"])
async def test_all_ways_to_read_what_is_no_body(peer: Site, how: str) -> None:
    async def handle(request: cno.Request) -> None:
        if how == "read":
            assert await request.payload.read(10) == b""
        elif how == "iteration":
            assert [line async for line in request.payload] == []
        else:
            with pytest.raises(asyncio.IncompleteReadError):
                await getattr(request.payload, how)(*([1] if how == "readexactly" else []))
        assert request.payload.at_eof()
        await request.respond(200)

    client = await peer.serve(handle, upgrade=True)
    assert isinstance(client, H1)
    await client.wire.send(ASK)
    assert (await client.response()).status == 200, peer.log


@h1
async def test_a_tunnel_behind_a_look_at_the_body(peer: Site) -> None:
    async def handle(request: cno.Request) -> None:
        assert await request.payload.read() == b""
        request.inform(103, [("a", "b")])

        async def body() -> AsyncIterator[bytes]:
            yield await request.payload.readexactly(5)

        await request.respond(101, GRANT, body())

    client = await peer.serve(handle, upgrade=True)
    assert isinstance(client, H1)
    await client.wire.send(ASK + b"hello")
    assert (await head(client))[0].split()[1] == b"103"
    assert (await head(client))[0].split()[1] == b"101"
    await comes(client, b"hello")
    assert await client.closed()


@h1
async def test_a_client_that_has_said_all_before_the_grant(peer: Site) -> None:
    ready = asyncio.Event()

    async def handle(request: cno.Request) -> None:
        ready.set()
        await hung_up.wait()
        await echo(request)

    hung_up = asyncio.Event()
    client = await peer.serve(handle, upgrade=True)
    assert isinstance(client, H1)
    await client.wire.send(ASK + b"early")
    await soon(ready.wait())
    client.wire.fin()
    await peer.barrier()
    hung_up.set()
    await head(client)
    await comes(client, b"early")
    assert await client.closed() == "fin"


@h1
async def test_the_end_of_a_tunnel_by_connect_loses_nothing(peer: Site) -> None:
    got: asyncio.Queue[bytes] = asyncio.Queue()
    read = asyncio.Event()

    async def handle(request: cno.Request) -> None:
        async def body() -> AsyncIterator[bytes]:
            await read.wait()
            got.put_nowait(await request.payload.read())
            yield b"bye"

        await request.respond(200, [], body())

    client = await peer.serve(handle)
    assert isinstance(client, H1)
    await client.wire.send(b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n")
    await head(client)
    await client.wire.send(b"last words")
    client.wire.fin()
    await peer.barrier()
    read.set()
    assert await soon(got.get()) == b"last words"
    await comes(client, b"bye")
    assert await client.closed() == "fin"
    assert not peer.log


@h1
async def test_what_cannot_be_granted(peer: Site) -> None:
    async def handle(request: cno.Request) -> None:
        with pytest.raises(ValueError, match="101"):
            await request.respond(101, [] if request.path == "/echo" else GRANT)
        await request.respond(200, [], b"as usual")

    client = await peer.serve(handle, upgrade=True)
    assert isinstance(client, H1)
    await client.wire.send(ASK)  # a grant without the field `upgrade`
    assert plain(await client.response()) == (200, b"as usual")
    assert plain(await client.ask()) == (200, b"as usual")  # a request that asks for no tunnel
    await client.wire.send(b"GET /old HTTP/1.0\r\n" + ASKS)  # RFC 9110 section 7.8
    assert plain(await client.response()) == (200, b"as usual")
    assert not peer.log
    off = Site("h1")
    try:
        client = await off.serve(handle)
        assert isinstance(client, H1)
        await client.wire.send(ASK.replace(b"/echo", b"/off"))
        assert plain(await client.response()) == (200, b"as usual")
    finally:
        await off.leave()


@both
async def test_101_to_who_did_not_ask(peer: Site) -> None:
    async def handle(request: cno.Request) -> None:
        with pytest.raises(ValueError, match="101"):
            await request.respond(101, GRANT, b"")
        await request.respond(204)

    client = await peer.serve(handle, upgrade=True)
    assert (await client.ask()).status == 204, peer.log


@h1
async def test_a_client_that_leaves_a_tunnel(peer: Site) -> None:
    @noted
    async def handle(request: cno.Request) -> None:
        channel = cno.Channel()
        await request.respond(101, GRANT, channel)

    client = await peer.serve(handle, upgrade=True)
    assert isinstance(client, H1)
    await client.wire.send(ASK)
    await head(client)
    client.wire.reset()
    assert isinstance(await handle.done(), (asyncio.CancelledError, cno.ClientDisconnected))


# ---- cno.Client on the other side ---------------------------------------------------------------


async def dial(peer: Site, version: str) -> cno.Client:
    port = peer.server.sockets[0].getsockname()[1]
    return await cno.connect(None, f"{version}://127.0.0.1:{port}")


async def talk(client: cno.Client, *request: Any) -> None:
    """Sends two words through a tunnel and back, then ends the tunnel."""
    words = cno.Channel(1)
    response = await soon(client.request(*request, words))
    assert response.tunnel
    for word in (b"hello", bytes(100000)):
        await soon(words.put(word))
        assert await soon(response.payload.readexactly(len(word))) == word
    words.close()
    assert await soon(response.payload.read()) == b""
    assert response.trailers == []


@h1
async def test_a_client_of_ours_upgrades(peer: Site) -> None:
    await peer.start(echo, upgrade=True)
    async with await dial(peer, "http") as client:
        await talk(client, "GET", "/echo", [("upgrade", "echo")])
    assert not peer.log


@h1
async def test_inside_tls_a_tunnel_ends_with_either_side(
    peer: Site, certificate: Certificate
) -> None:
    """asyncio cannot close one direction of TLS, so that the end of one direction is the end of
    both."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.cert, certificate.key)
    await peer.start(echo, upgrade=True, tls=context)
    port = peer.server.sockets[0].getsockname()[1]
    trust = ssl.create_default_context(cafile=certificate.cert)
    async with await cno.connect(None, f"https://127.0.0.1:{port}", ssl_ctx=trust) as client:
        words = cno.Channel()
        response = await soon(client.request("GET", "/echo", [("upgrade", "echo")], words))
        await words.put(b"hello")
        assert await soon(response.payload.readexactly(5)) == b"hello"
        words.close()
        assert await soon(response.payload.read()) == b""
        assert client.is_closed


@h1
async def test_a_client_of_ours_is_not_upgraded(peer: Site) -> None:
    await peer.start(hello, upgrade=True)
    async with await dial(peer, "http") as client:
        for _ in range(2):
            response = await soon(client.request("GET", "/", [("upgrade", "echo")]))
            assert (response.code, response.tunnel) == (200, False)
            assert await soon(response.payload.read()) == b"hello"
    assert not peer.log


@h2_only
async def test_a_client_of_ours_connects_to_a_protocol(peer: Site) -> None:
    """Extended CONNECT (RFC 8441)."""

    async def handle(request: cno.Request) -> None:
        assert request.upgrade == "echo"
        assert (request.method, request.path) == ("CONNECT", "/echo")
        await request.respond(200, [], request.payload)

    await peer.start(handle, upgrade=True)
    async with await dial(peer, "h2c") as client:
        await soon(client.ping())  # the settings of the server come before the answer
        await talk(client, "CONNECT", "/echo", [(":protocol", "echo")])
    assert not peer.log


@h2_only
async def test_no_protocol_where_none_is_offered(peer: Site) -> None:
    await peer.start(hello)
    async with await dial(peer, "h2c") as client:
        await soon(client.ping())
        with pytest.raises(ValueError, match=":protocol"):
            await soon(client.request("CONNECT", "/echo", [(":protocol", "echo")]))


@h2_only
async def test_upgrade_means_nothing_to_http2(peer: Site) -> None:
    """RFC 9113 section 8.2.2: the field is not sent, and the body is sent at once."""

    async def handle(request: cno.Request) -> None:
        assert "upgrade" not in dict(request.headers)
        await request.respond(200, [], request.payload)

    await peer.start(handle, upgrade=True)
    async with await dial(peer, "h2c") as client:
        response = await soon(client.request("POST", "/", [("upgrade", "echo")], b"hello"))
        assert (response.code, response.tunnel) == (200, False)
        assert await soon(response.payload.read()) == b"hello"


def test_the_option() -> None:
    loop = asyncio.new_event_loop()
    try:
        with pytest.raises(ValueError, match="upgrade"):
            cno.ServerGroup(loop, upgrade="websocket")  # type: ignore[typeddict-item]
        assert not cno.ServerGroup(loop).upgrade
    finally:
        loop.close()


@h1
async def test_connect_before_it_is_granted(peer: Site) -> None:
    """The payload is empty before the grant. Data that the client has sent by then is not lost,
    even if
    the client has closed its side."""

    async def handle(request: cno.Request) -> None:
        async def echo() -> AsyncIterator[bytes]:
            yield await request.payload.read()

        assert await soon(request.payload.read()) == b""
        assert request.upgrade is None
        await said_all.wait()
        if dict(request.headers)[":authority"] == "no:1":
            await request.respond(405, [], b"no")
        else:
            await request.respond(200, [], echo())

    said_all = asyncio.Event()
    client = await peer.serve(handle, upgrade=True)
    for host in (b"no:1", b"h:1"):
        said_all.clear()
        if host == b"h:1":
            client = await peer.connect()
        assert isinstance(client, H1)
        await client.wire.send(
            b"CONNECT %b HTTP/1.1\r\nHost: %b\r\nUpgrade: x\r\n\r\n" % (host, host)
        )
        if host == b"no:1":
            said_all.set()
            assert plain(await client.response()) == (405, b"no")
            continue
        await client.wire.send(b"last words")
        client.wire.fin()
        await peer.barrier()
        said_all.set()
        await head(client)
        await comes(client, b"last words")
        assert await client.closed() == "fin"
    assert not peer.log
