"""cno/transport/writing.py: back-pressure, fairness of streams, and the order of parts."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable

import native
import pytest
from bare import Receiver, Sender
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
from cno import raw
from cno.engine.errors import UsageError
from cno.server.reply import ClientDisconnected
from cno.transport.writing import BULK, LEND, QUANTUM, TURN


@native.h2_only
async def test_p9_a_window_that_opens_for_somebody_who_has_gone(peer: Site) -> None:
    """A window is reopened for a writer that was cancelled."""

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
    """The bytes that send() takes are bounded by the high-water mark plus one part that waits."""
    app = Source(piece=piece)
    client = await little_room(peer, app)
    exchange = await client.start()
    assert await app.stuck(peer) <= 4 * 65536 + 16384 * 4 + piece
    await exchange.give_up()


@both
async def test_a_large_body_in_one_message_is_not_copied(peer: Peer) -> None:
    """The body is in memory once; the parts that wait are references to it."""
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
    """The bound holds for the whole connection, however many streams it has."""
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
    """Two bodies that are sent in one message each share the connection."""
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
    """P2: a long download does not starve other responses."""
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
    """The client goes on reading, as for other streams of the connection."""
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
    """A window that opens byte by byte must not cause a frame for each byte (CVE-2019-9511)."""
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


# ---- parts of bodies, without sockets -----------------------------------------------------------


async def turns(count: int = 5) -> None:
    """Lets the tasks of this loop run for some turns."""
    for _ in range(count):
        await asyncio.sleep(0)


def bare(main: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Runs a coroutine function as a test."""

    def call() -> None:
        asyncio.run(asyncio.wait_for(main(), 10))

    call.__name__, call.__doc__ = main.__name__, main.__doc__
    return call


def letters(count: int, size: int) -> list[bytes]:
    """Parts that differ from each other."""
    return [bytes([65 + number]) * size for number in range(count)]


@bare
async def test_two_tasks_that_write_one_body() -> None:
    """Parts are written whole, and in the order of the calls."""
    sender = Sender()
    receiver = Receiver(sender, window=50000)
    stream = sender.request()
    parts = letters(3, 100000)
    tasks = [asyncio.create_task(sender.write_body(stream, part, 0, False)) for part in parts]
    await turns()
    receiver.carry()
    while not all(task.done() for task in tasks):
        receiver.open_flow(stream.id, 50000)
        receiver.open_flow(0, 50000)
        receiver.carry()
        await turns()
    receiver.carry()
    await asyncio.gather(*tasks)
    await sender.write_body(stream, b"", 0, True)
    receiver.carry()
    assert receiver.bodies[stream.id] == b"".join(parts)
    assert receiver.ended == {stream.id}
    assert not sender.parts


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_part_that_is_cancelled_while_it_waits(which: int) -> None:
    """The bytes of the other parts come whole and in order; of the cancelled part those come that
    were written before."""

    async def main() -> None:
        sender = Sender()
        receiver = Receiver(sender, window=40000)
        stream = sender.request()
        parts = letters(3, 60000)
        tasks = [asyncio.create_task(sender.write_body(stream, part, 0, False)) for part in parts]
        await turns()
        receiver.carry()
        assert receiver.bodies[stream.id] == parts[0][:40000]
        tasks[which].cancel()
        await turns()
        assert tasks[which].cancelled()
        left = [task for task in tasks if task is not tasks[which]]
        for _ in range(20):
            receiver.open_flow(stream.id, 40000)
            receiver.carry()
            await turns()
        await asyncio.gather(*left)
        kept = [part if at != which else b"" for at, part in enumerate(parts)]
        kept[0] = kept[0] or parts[0][:40000]
        assert receiver.bodies[stream.id] == b"".join(kept)
        assert not sender.parts
        assert not sender._stalled

    asyncio.run(asyncio.wait_for(main(), 10))


@bare
async def test_a_part_that_fails_takes_the_parts_behind_it_with_it() -> None:
    """A part that is longer than Content-Length is refused; other streams are not affected."""
    sender = Sender()
    receiver = Receiver(sender)
    stream, other = sender.request((b"content-length", b"10")), sender.request()
    tasks = [asyncio.create_task(sender.write_body(stream, bytes(20000), 0, False))]
    tasks += [asyncio.create_task(sender.write_body(stream, b"x", 0, False)) for _ in range(2)]
    tasks += [asyncio.create_task(sender.write_body(other, b"fine", 0, True))]
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(error) for error in done] == [UsageError] * 3 + [type(None)]
    assert len({id(error) for error in done}) == 4  # each task has an exception of its own
    receiver.carry()
    assert receiver.bodies == {other.id: b"fine"}
    assert not sender.parts


@bare
async def test_the_parts_of_several_streams_take_turns() -> None:
    """Each stream writes QUANTUM bytes, then the next stream has its turn."""
    sender = Sender()
    receiver = Receiver(sender, window=1 << 20)
    streams = [sender.request() for _ in range(3)]
    tasks = [
        asyncio.create_task(sender.write_body(stream, bytes(4 * QUANTUM), 0, True))
        for stream in streams
    ]
    await asyncio.gather(*tasks)
    receiver.carry()
    shares = [stream for stream, _ in itertools.groupby(receiver.order)]
    assert shares == [stream.id for stream in streams] * 4
    assert {len(body) for body in receiver.bodies.values()} == {4 * QUANTUM}
    assert receiver.ended == {stream.id for stream in streams}


@bare
async def test_the_bytes_of_a_lent_part_are_not_copied() -> None:
    sender = Sender(http2=False)
    stream = sender.request((b"content-length", b"%d" % (4 * LEND)))
    data = bytes(4 * LEND)
    await sender.write_part(stream, data)
    views = [piece for piece in sender.wire.pieces if isinstance(piece, memoryview)]
    assert views
    assert all(view.obj is data for view in views)
    assert sum(map(len, views)) == len(data)


@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("size", [100, LEND - 1, LEND, 3 * LEND])
def test_a_bytearray_that_changes_after_the_call_has_returned(http2: bool, size: int) -> None:
    """The bytes are sent that the caller has given; only immutable bytes are lent."""

    async def main() -> None:
        sender = Sender(http2=http2)
        receiver = Receiver(sender)
        stream = sender.request((b"content-length", b"%d" % size))
        data = bytearray(b"a" * size)
        await sender.write_part(stream, data)
        data[:] = b"b" * size
        await sender.write_body(stream, b"", 0, True)
        receiver.carry()
        assert receiver.bodies[stream.id] == b"a" * size

    asyncio.run(asyncio.wait_for(main(), 10))


@bare
async def test_writers_of_a_stream_that_ends_fail() -> None:
    """All parts of the stream fail with an exception each, and those of other streams go on."""
    sender = Sender()
    receiver = Receiver(sender, window=1000)
    stream, other = sender.request(), sender.request()
    tasks = [asyncio.create_task(sender.write_body(stream, bytes(5000), 0, True)) for _ in range(2)]
    going = asyncio.create_task(sender.write_body(other, bytes(2000), 0, True))
    await turns()
    receiver.carry()
    receiver.write_reset(stream.id, raw.CNO_RST_CANCEL)
    receiver.carry()
    for task in tasks:
        with pytest.raises(ClientDisconnected):
            await task
    receiver.open_flow(other.id, 1000)
    receiver.carry()
    await going
    receiver.carry()
    assert receiver.ended == {other.id}
    with pytest.raises(ClientDisconnected):
        await sender.write_body(stream, b"x", 0, False)


@bare
async def test_writers_wait_while_the_transport_is_full() -> None:
    """Nothing is written above the high-water mark, and the order is that of the calls."""
    sender = Sender(http2=False)
    receiver = Receiver(sender)
    stream = sender.request((b"content-length", b"%d" % (2 * LEND)))
    receiver.carry()
    sender.wire.stop()
    parts = letters(2, LEND)
    tasks = [asyncio.create_task(sender.write_body(stream, part, 0, False)) for part in parts]
    await turns()
    assert not sender.wire.pieces
    assert not any(task.done() for task in tasks)
    sender.wire.go()
    await asyncio.gather(*tasks)
    await sender.write_body(stream, b"", 0, True)
    receiver.carry()
    assert receiver.bodies[stream.id] == b"".join(parts)


@bare
async def test_a_large_part_is_written_in_several_turns() -> None:
    """One connection does not keep the loop from its other tasks."""
    sender = Sender(http2=False)
    stream = sender.request((b"content-length", b"%d" % (3 * TURN)))
    sender.flush()
    sender.wire.take()
    writing = asyncio.create_task(sender.write_body(stream, bytes(3 * TURN), 0, True))
    sizes = []
    while not writing.done():
        await asyncio.sleep(0)
        sizes.append(len(sender.wire.take()))
    assert max(sizes) <= TURN + BULK
    assert sum(sizes) == 3 * TURN
