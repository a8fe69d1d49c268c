"""cno/transport/channel.py: a Channel is a queue that can be closed, and loses no item."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from wire import soon

import cno


def test(main: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Runs a coroutine function as a test."""

    def call() -> None:
        asyncio.run(asyncio.wait_for(main(), 10))

    call.__name__, call.__doc__ = main.__name__, main.__doc__
    return call


test.__test__ = False  # type: ignore[attr-defined]


async def everything(channel: cno.Channel) -> list[Any]:
    return [item async for item in channel]


async def blocked(channel: cno.Channel, *items: Any) -> list[asyncio.Task[None]]:
    """Returns tasks that wait for room for these items."""
    tasks = [asyncio.create_task(channel.put(item)) for item in items]
    await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
    return tasks


@test
async def test_p9_the_loop_is_accepted_and_ignored():
    for loop in (None, asyncio.get_running_loop()):
        channel = cno.Channel(2, loop=loop)
        assert isinstance(channel, asyncio.Queue)
        assert channel.maxsize == 2
        channel.put_nowait(b"x")
        channel.close()
        assert await everything(channel) == [b"x"]
    assert cno.Channel().maxsize == 0


@test
async def test_p9_a_put_that_waits_when_the_channel_is_closed_loses_nothing():
    channel = cno.Channel(1)
    await channel.put(1)
    tasks = await blocked(channel, 2, 3, 4)
    channel.close()
    assert await everything(channel) == [1, 2, 3, 4]
    assert [await task for task in tasks] == [None] * 3


@test
async def test_a_reader_that_waits_gets_what_a_blocked_put_brings_after_close():
    channel = cno.Channel(1)
    channel.put_nowait(1)
    (task,) = await blocked(channel, 2)
    reader = asyncio.create_task(everything(channel))
    channel.close()
    await task
    assert await reader == [1, 2]


@test
async def test_a_blocked_put_that_is_cancelled_ends_the_channel():
    channel = cno.Channel(1)
    channel.put_nowait(1)
    (task,) = await blocked(channel, 2)
    channel.close()
    assert channel.get_nowait() == 1
    reader = asyncio.create_task(everything(channel))
    task.cancel()
    assert await reader in ([], [2])
    assert (await asyncio.gather(task, return_exceptions=True))[0] is None or task.cancelled()


@test
async def test_putting_after_close_raises():
    channel = cno.Channel(1)
    channel.close()
    with pytest.raises(BrokenPipeError, match="closed"):
        await channel.put(1)
    with pytest.raises(BrokenPipeError, match="closed"):
        channel.put_nowait(1)
    assert await everything(channel) == []


@test
async def test_an_outsider_cannot_put_behind_the_end_while_others_wait():
    channel = cno.Channel(1)
    channel.put_nowait(1)
    await blocked(channel, 2)
    channel.close()
    assert channel.get_nowait() == 1
    with pytest.raises(BrokenPipeError):
        channel.put_nowait(3)
    assert await everything(channel) == [2]


@test
async def test_the_end_for_get():
    channel = cno.Channel()
    reader = asyncio.create_task(channel.get())
    await asyncio.sleep(0)
    channel.close()
    channel.close()
    with pytest.raises(EOFError):
        await reader
    with pytest.raises(EOFError):
        await channel.get()
    with pytest.raises(asyncio.QueueEmpty):
        channel.get_nowait()


@test
async def test_an_error_comes_once_and_behind_the_items():
    channel = cno.Channel()
    channel.put_nowait(1)
    channel.close(KeyError("made up"))
    channel.close(ValueError("too late"))
    got = []
    with pytest.raises(KeyError, match="made up"):
        async for item in channel:
            got.append(item)
    assert got == [1]
    assert await everything(channel) == []


@test
async def test_a_reader_that_goes_lets_nobody_wait():
    channel = cno.Channel(1)
    channel.put_nowait(1)
    tasks = await blocked(channel, 2, 3)
    await channel.aclose()
    for task in tasks:
        with pytest.raises(BrokenPipeError, match="the reader of this channel has gone"):
            await soon(task)
    with pytest.raises(BrokenPipeError, match="the reader of this channel has gone"):
        await channel.put(4)
    assert await everything(channel) == []


@test
async def test_two_readers_both_come_to_the_end():
    channel = cno.Channel(1)
    readers = [asyncio.create_task(everything(channel)) for _ in range(2)]
    for number in range(10):
        await channel.put(number)
    channel.close()
    first, second = await asyncio.gather(*readers)
    assert sorted(first + second) == list(range(10))


@test
async def test_many_writers_keep_their_order():
    channel = cno.Channel(1)
    channel.put_nowait(0)
    tasks = await blocked(channel, *range(1, 50))
    channel.close()
    assert await everything(channel) == list(range(50))
    await asyncio.gather(*tasks)


@test
async def test_it_is_still_a_queue():
    channel = cno.Channel(1)
    channel.put_nowait(1)
    assert channel.full()
    with pytest.raises(asyncio.QueueFull):
        channel.put_nowait(2)
    assert channel.qsize() == 1
    assert await channel.get() == 1
    channel.task_done()
    await soon(channel.join())
    assert channel.empty()


@test
async def test_it_is_freed_without_the_collector():
    gc.disable()
    try:
        channel = cno.Channel(1)
        channel.put_nowait(b"x")
        channel.close(ValueError())
        with pytest.raises(ValueError):
            await everything(channel)
        gone = weakref.ref(channel)
        del channel
        assert gone() is None
    finally:
        gc.enable()
