"""cno/transport/connection.py: reading stops where memory would grow, and goes on."""

import asyncio
import socket

import native
from hyperframe.frame import PingFrame
from native import Site
from peer import Peer, answer, echo, h1, h2_only, hello
from pressure import Pump, little_room, resident

import cno


@native.h1
async def test_p7_pipelined_requests_stay_with_the_client(peer: Site) -> None:
    go = asyncio.Event()

    async def handle(request: cno.Request) -> None:
        await go.wait()
        await request.respond(200, [], b"")

    client = await peer.serve(handle)
    one = b"GET / HTTP/1.1\r\nHost: x\r\nX-Filler: " + b"x" * 1000 + b"\r\n\r\n"
    pump = Pump(lambda: client.wire.loop.sock_sendall(client.wire.sock, one * 64))
    assert await pump.stuck(peer) * len(one) * 64 < 16 << 20
    peer.cuts = True
    go.set()


@h2_only
async def test_answers_that_are_not_read_are_not_gathered(peer: Peer) -> None:
    """A peer that sends PINGs and does not read is stopped, or its connection is cut."""
    client = await little_room(peer, hello)
    await client.ping()
    before = resident()
    octets = PingFrame(0, b"12345678").serialize() * 1000
    sent = 0
    while sent < 10_000_000:
        try:
            sent += client.wire.sock.send(octets)
        except BlockingIOError:
            await peer.barrier()
            sent += 170_000
        except ConnectionError:
            break
    assert resident() - before < 5_000_000


@h2_only
async def test_an_upload_that_waits_does_not_block_another(peer: Peer) -> None:
    go = asyncio.Event()

    async def app(scope, receive, send):
        if scope["path"] == "/stuck":
            await go.wait()
        await echo(scope, receive, send)

    client = await peer.serve(app)
    stuck = await client.start("POST", "/stuck", more=True)
    await stuck.write(bytes(65535))
    for _ in range(5):
        response = await client.ask("/free", method="POST", body=bytes(200_000))
        assert len(response.body) == 200_000
    go.set()
    await stuck.write(bytes(65535), end=True)
    assert len((await stuck.response()).body) == 2 * 65535


@h1
async def test_reading_goes_on_when_the_application_reads(peer: Peer) -> None:
    """A slow reader gets the whole body, in chunks that are not large."""

    async def app(scope, receive, send):
        size = largest = 0
        while True:
            message = await receive()
            size += len(message["body"])
            largest = max(largest, len(message["body"]))
            if not message["more_body"]:
                break
            await asyncio.sleep(0)
        await answer(send, b"%d %d" % (size, largest))

    client = await peer.serve(app)
    response = await client.ask(method="POST", body=bytes(5_000_000))
    size, largest = map(int, response.body.split())
    assert size == 5_000_000
    assert largest <= 65536 + 262144  # one read above the mark


@h1
async def test_pipelined_requests_wait_in_the_kernel(peer: Peer) -> None:
    """Reading stops until the response is there, which stops the sender."""
    go = asyncio.Event()

    async def app(scope, receive, send):
        await go.wait()
        await answer(send)

    client = await little_room(peer, app)
    client.wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
    one = b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 1000 + b"\r\n\r\n"
    whole, sent = one * 5000, 0
    for _ in range(3):
        try:
            while sent < len(whole):
                sent += client.wire.sock.send(whole[sent : sent + 8192])
        except BlockingIOError:
            await peer.barrier()
    assert sent < 1_000_000
    go.set()
    for _ in range(sent // len(one)):
        assert (await client.response()).body == b"ok"
