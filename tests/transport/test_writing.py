"""cno/transport/writing.py: back-pressure, fairness of streams, and the order of parts."""

import asyncio
from collections.abc import AsyncIterator

import native
import pytest
from hyperframe.frame import DataFrame
from native import Site, noted
from peer import Peer, both, h2_only
from pressure import (
    BLOCK,
    START,
    Source,
    forget_high_water,
    high_water,
    little_room,
    part,
    resident,
    together,
    wide_open,
)
from wire import H2

import cno


@native.h2_only
async def test_p9_a_window_that_opens_for_somebody_who_has_gone(peer: Site) -> None:
    """on_flow_increase finds futures that are cancelled."""

    async def handle(request: cno.Request) -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(request.respond(200, [], BLOCK * 4), 0.01)

    handle = noted(handle)
    client = await peer.serve(handle)
    assert isinstance(client, H2)
    client.credit = False
    exchange = await client.start()
    client.h2.increment_flow_control_window(1 << 20)
    assert (await exchange.response()).reset is not None
    assert await handle.done() is None
    await client.ping()
    assert not peer.log


@native.both
async def test_a_client_that_does_not_read_stops_the_body(peer: Site) -> None:
    taken = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += len(BLOCK)
            yield BLOCK

    async def handle(request: cno.Request) -> None:
        await request.respond(200, [], body())

    handle = noted(handle)
    client = await peer.serve(handle)
    exchange = await client.start()
    await exchange.head()
    for _ in range(1000):
        before = taken
        await peer.barrier()
        await peer.barrier()
        if taken == before:
            break
    assert taken < 16 << 20
    await exchange.give_up()
    assert isinstance(await handle.done(), asyncio.CancelledError)


@pytest.mark.parametrize("piece", [1000, 65536, 4 << 20], ids=["1 KB", "64 KiB", "4 MiB"])
@both
async def test_a_peer_that_does_not_read_costs_little(peer: Peer, piece: int) -> None:
    """What was taken is bounded by the high-water mark, plus one piece that waits."""
    app = Source(piece=piece)
    client = await little_room(peer, app)
    exchange = await client.start()
    assert await app.stuck(peer) <= 4 * 65536 + 16384 * 4 + piece
    await exchange.give_up()


@both
async def test_a_large_body_in_one_message_is_not_copied(peer: Peer) -> None:
    """What the application holds is held once, and what waits is a reference to it."""
    body = bytearray(64 << 20)
    for at in range(0, len(body), 4096):
        body[at] = 1
    large = bytes(body)
    del body

    async def app(scope, receive, send):
        await send(START)
        await send(part(large, more=False))

    client = await little_room(peer, app)
    if isinstance(client, H2):
        client.h2.update_settings({4: 2**31 - 1})
        client.h2.increment_flow_control_window(2**30)
        await client.flush()
        await client.ping()
    forget_high_water()
    before = resident()
    exchange = await client.start()
    await exchange.head()
    await peer.barrier()
    grown = high_water() - before
    await exchange.give_up()
    assert grown < 16 << 20


@h2_only
async def test_many_streams_of_a_peer_that_does_not_read(peer: Peer) -> None:
    """The bound is for the connection, however many streams it has."""
    app = Source(piece=1 << 20)
    client = await wide_open(peer, app)
    forget_high_water()
    before = resident()
    await together(client, *[f"/{number}" for number in range(60)])
    await peer.barrier()
    await peer.barrier()
    grown = high_water() - before
    client.wire.reset()
    assert grown < 8 << 20


@h2_only
async def test_a_stream_without_window_does_not_block_another(peer: Peer) -> None:
    app = Source()
    client = await peer.serve(app)
    client.credit = False
    stuck = await client.start("GET", "/stuck")
    await stuck.body(65535)
    client.h2.increment_flow_control_window(1 << 20)
    await client.flush()
    for _ in range(10):
        assert (await client.ask("/small")).body == b"ok"
    free = await client.start("GET", "/free")
    await free.body(65535)
    assert len(stuck.got.body) == 65535
    await stuck.give_up()
    await free.give_up()


@h2_only
async def test_two_downloads_share(peer: Peer) -> None:
    """Neither of two big responses is ever far behind the other."""
    total = 1 << 20
    app = Source(total=total)
    client = await wide_open(peer, app)
    one, two = await together(client, "/1", "/2")
    furthest = 0
    while not (one.over or two.over):
        assert await client.fill()
        furthest = max(furthest, abs(len(one.got.body) - len(two.got.body)))
    assert furthest <= total // 4
    await one.response()
    await two.response()
    assert len(one.got.body) == len(two.got.body) == total


@h2_only
async def test_two_downloads_in_one_message_share(peer: Peer) -> None:
    """The same where the application sends everything at once."""
    total = 1 << 20
    app = Source(total=total, piece=total)
    client = await wide_open(peer, app)
    one, two, small = await together(client, "/1", "/2", "/small")
    assert (await small.response()).body == b"ok"
    furthest = 0
    while not (one.over or two.over):
        assert await client.fill()
        furthest = max(furthest, abs(len(one.got.body) - len(two.got.body)))
    assert furthest <= total // 2
    await one.response()
    await two.response()


@h2_only
async def test_a_small_answer_overtakes_a_big_one(peer: Peer) -> None:
    """P2: a download that goes on does not starve the others."""
    client = await wide_open(peer, Source(total=8 << 20))
    big = await client.start("GET", "/big")
    await big.body(1)
    for _ in range(5):
        before = len(big.got.body)
        assert (await client.ask("/small")).body == b"ok"
        assert len(big.got.body) - before <= 1 << 20
    assert len((await big.response()).body) == 8 << 20


@h2_only
async def test_a_ping_overtakes_a_download(peer: Peer) -> None:
    client = await wide_open(peer, Source(total=8 << 20))
    big = await client.start("GET", "/big")
    await big.body(1)
    await client.ping()
    assert len(big.got.body) <= 1 << 20
    await big.give_up()


@h2_only
async def test_a_download_that_is_cancelled_ends(peer: Peer) -> None:
    """The client reads on, as one does whose connection has other uses."""
    app = Source(total=8 << 20)
    ended = asyncio.Event()

    async def noted(scope, receive, send):
        try:
            await app(scope, receive, send)
        finally:
            ended.set()

    client = await wide_open(peer, noted)
    big = await client.start("GET", "/big")
    await big.body(1)
    await big.give_up()
    while not ended.is_set():
        assert await client.fill()
    assert app.sent["/big"] <= 1 << 20


@h2_only
async def test_data_frames_are_not_tiny(peer: Peer) -> None:
    """A window that opens octet by octet must not make a frame of each (CVE-2019-9511)."""
    app = Source(total=1 << 20)
    client = await peer.serve(app)
    client.credit = False
    exchange = await client.start()
    await exchange.body(65535)
    for _ in range(2000):
        client.h2.increment_flow_control_window(1)
        client.h2.increment_flow_control_window(1, exchange.id)
    await client.flush()
    await client.until(lambda: len(exchange.got.body) >= 67_535 or client.ended)
    frames = [f for f in client.frames if isinstance(f, DataFrame) and len(f.data) < 100]
    assert len(frames) < 200
    await exchange.give_up()
