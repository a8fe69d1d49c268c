"""The compiled classes keep nothing of a request: not of one that ends well, nor of one that fails.

The collector is off, so that cycles count as leaks. A count of references is only in debug builds;
the number of objects and the size of the process stand for that.
"""

import asyncio
import contextlib
import gc
import logging
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import pytest
import rig
from hyperframe.frame import HeadersFrame, RstStreamFrame

pytestmark = pytest.mark.skipif(
    platform.python_implementation() != "CPython", reason="there is nothing compiled elsewhere"
)

START = {"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"v")]}
BODY = {"type": "http.response.body", "body": b"hello"}
PART = {"type": "http.response.body", "body": b"hello", "more_body": True}

GET = b"GET /a?b HTTP/1.1\r\nhost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhello"

# Requests that are made before anything is measured, and then.
FIRST = 300
THEN = 2000

STATM = Path("/proc/self/statm")


def resident() -> int:
    """Returns the pages of the process that are in memory, or 0 where nobody tells."""
    return int(STATM.read_text().split()[1]) if STATM.exists() else 0


async def well(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    await send(BODY)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    await send({"type": "http.response.body", "body": (await receive())["body"]})


async def parts(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    await send(PART)
    await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": bytearray(20000), "more_body": True})
    await send({"type": "http.response.body", "body": bytes(20000), "more_body": True})
    await asyncio.create_task(send(BODY))
    await send(BODY)


async def bad(scope: Any, receive: Any, send: Any) -> None:
    """Messages of which none can be sent."""
    for message in (
        None,
        {},
        {"type": None},
        {"type": "http.response.body", "body": "text"},
        BODY,
        {"type": "http.response.start", "status": 99},
        {"type": "http.response.start", "status": 200, "headers": [(b"x",)]},
        {"type": "http.response.start", "status": 200, "headers": [("x", b"y")]},
        {"type": "http.response.start", "status": 200, "headers": 5},
        {"type": "http.response.start", "status": 200, "headers": [(b"x", b"\r\n")]},
        BODY,
    ):
        with contextlib.suppress(Exception):
            await send(message)
    send(START).close()
    await send(START)
    with contextlib.suppress(RuntimeError):
        await send(START)
    await send(BODY)


async def raises(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError


def raises_at_once(scope: Any, receive: Any, send: Any) -> Any:
    raise ValueError


async def returns(scope: Any, receive: Any, send: Any) -> None:
    await send(START)


def no_coroutine(scope: Any, receive: Any, send: Any) -> Any:
    return asyncio.sleep(0)


async def waits(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    await asyncio.get_running_loop().create_future()


async def sends_on(scope: Any, receive: Any, send: Any) -> None:
    """Until the client has gone."""
    await send(START)
    while True:
        await send(PART)
        await asyncio.sleep(0)


async def by_hand(scope: Any, receive: Any, send: Any) -> None:
    """Coroutines that end before they begin."""
    await send(START)
    run = send.__self__.run
    run().close()
    with contextlib.suppress(asyncio.CancelledError):
        run().throw(asyncio.CancelledError())


class Many:
    """Connections one after another, with requests on each."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def new(self) -> rig.Rig:
        return rig.Rig(self.app, access_log=True)

    async def http1(self, count: int, request: bytes = GET) -> None:
        server = await self.new()
        for _ in range(count):
            if server.transport.history:  # it has ended, as behind a 500
                await server.end()
                server = await self.new()
            server.transport.output.clear()
            server.feed(request)
            await server.settle(8)
        assert server.transport.output
        await server.end()

    async def left(self, count: int) -> None:
        """Each client leaves before its answer is complete."""
        for _ in range(count):
            server = await self.new()
            server.feed(GET)
            await server.settle(3)
            server.transport.end("lost", ConnectionResetError())
            await server.settle(3)
            await server.end()

    async def http2(self, count: int, *, reset: bool = False) -> None:
        """Streams by the ten; the HPACK block is the same for each."""
        server = await self.new()
        client = h2.connection.H2Connection(h2.config.H2Configuration())
        client.initiate_connection()
        client.increment_flow_control_window(1 << 30)
        server.feed(client.data_to_send())
        stream = 1
        for _ in range(count // 10):
            said = b""
            for _ in range(10):
                frame = HeadersFrame(stream, flags=["END_HEADERS", "END_STREAM"])
                frame.data = b"\x82\x84\x86\x41\x01h"
                said += frame.serialize()
                if reset:
                    said += RstStreamFrame(stream, 8).serialize()
                stream += 2
            server.transport.output.clear()
            server.feed(said)
            await server.settle(8)
        assert server.transport.over is False
        await server.end()


CASES: dict[str, tuple[Any, Callable[[Many, int], Any]]] = {
    "http1": (well, Many.http1),
    "http1 body": (echo, lambda many, count: many.http1(count, POST)),
    "http1 pipelined": (well, lambda many, count: many.http1(count // 5, GET * 5)),
    "http1 refused": (well, lambda many, count: many.http1(count // 2, b"bad\r\n\r\n")),
    "http2": (well, Many.http2),
    "http2 parts": (parts, Many.http2),
    "parts": (parts, Many.http1),
    "bad": (bad, lambda many, count: many.http1(count // 2)),
    "raises": (raises, lambda many, count: many.http1(count // 2)),
    "raises at once": (raises_at_once, lambda many, count: many.http1(count // 2)),
    "returns": (returns, lambda many, count: many.http1(count // 2)),
    "no coroutine": (no_coroutine, lambda many, count: many.http1(count // 2)),
    "by hand": (by_hand, lambda many, count: many.http1(count // 2)),
    "left": (waits, lambda many, count: many.left(count // 4)),
    "left while sending": (sends_on, lambda many, count: many.left(count // 4)),
}


@pytest.mark.parametrize("name", CASES)
def test_nothing_is_kept(name: str) -> None:
    """20,000 requests and more, over all cases."""
    app, perform = CASES[name]

    async def main() -> None:
        many = Many(app)
        await perform(many, FIRST)
        objects, pages, blocks = len(gc.get_objects()), resident(), sys.getallocatedblocks()
        await perform(many, THEN)
        # Less than one of each request and connection that was made.
        grown = (
            len(gc.get_objects()) - objects,
            sys.getallocatedblocks() - blocks,
            resident() - pages,
        )
        assert max(grown) < THEN // 8, grown

    log = logging.getLogger("cno")
    loggers = [logging.getLogger(name) for name in ("cno.error", "cno.access")]
    levels = [logger.level for logger in loggers]
    handler = logging.NullHandler()
    log.addHandler(handler)
    for logger in loggers:
        logger.setLevel(logging.INFO)
    propagated, log.propagate = log.propagate, False
    gc.collect()
    gc.disable()
    try:
        rig.run(main)
    finally:
        gc.enable()
        log.propagate = propagated
        log.removeHandler(handler)
        for logger, old in zip(loggers, levels, strict=True):
            logger.setLevel(old)
