"""cno.client.errors: no failure keeps a connection alive."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

import pytest
from asking import BIG, ask, both, engines, until
from scripted import Stage
from wire import soon

import cno
import cno.client.connection
import cno.client.dial
import cno.client.exchange
import cno.client.link
import cno.client.turns
import cno.client.upload


async def fails(task: Any, kind: type[BaseException]) -> None:
    """The task fails. Its exception is not raised here: a traceback would keep this frame."""
    await soon(asyncio.wait([task]))
    assert type(task.exception()) is kind


def begin(client: cno.Client, *args: Any, **options: Any) -> Any:
    return asyncio.ensure_future(client.request(*(args or ("GET", "/")), **options))


async def _fails_by_end(client: cno.Client, server: Any) -> None:
    task, queued = begin(client), begin(client)
    await soon(server.request())
    server.close()
    await fails(task, cno.ConnectionLost)
    await fails(queued, cno.ConnectionLost if client.is_http2 else cno.Unprocessed)


async def _fails_by_body(client: cno.Client, server: Any) -> None:
    def body() -> Any:
        yield b"some"
        raise KeyError("made up")

    await fails(begin(client, "POST", "/", [], body()), KeyError)


async def _fails_while_blocked(client: cno.Client, server: Any) -> None:
    server.credit = False
    task = begin(client, "POST", "/", [], (BIG for _ in range(64)))
    await soon(server.request())
    await until(lambda: client._waiting or client.parts)
    server.close()
    await fails(task, cno.ConnectionLost)


async def _fails_behind_a_promise(client: cno.Client, server: Any) -> None:
    if client.is_http2:
        task, asked = await ask(client, server, timeout=0.01)
        await asked.head(200)
        waiting = asyncio.ensure_future((await soon(task)).pushed.__anext__())
        await fails(waiting, cno.RequestTimeout)


async def _fails_while_read(client: cno.Client, server: Any) -> None:
    task, asked = await ask(client, server)
    await asked.head(200)
    await asked.write(b"some")
    reading = asyncio.ensure_future((await soon(task)).payload.readexactly(100))
    await asyncio.sleep(0)
    server.close()
    await fails(reading, cno.ConnectionLost)


async def _fails_in_time(client: cno.Client, server: Any) -> None:
    await fails(begin(client, timeout=0.001), cno.RequestTimeout)
    if client.is_http2:
        client.timeout = 0.001
        await fails(asyncio.ensure_future(client.ping()), cno.RequestTimeout)


async def _fails_with_a_ping(client: cno.Client, server: Any) -> None:
    if client.is_http2:
        ping = asyncio.ensure_future(client.ping())
        await asyncio.sleep(0)
        server.close()
        await fails(ping, cno.ConnectionLost)


async def _is_cancelled(client: cno.Client, server: Any) -> None:
    task, _ = await ask(client, server, "POST", "/", [], cno.Channel())
    queued = begin(client)
    await asyncio.sleep(0)
    for cancelled in (queued, task):
        cancelled.cancel()
        await soon(asyncio.wait([cancelled]))


async def _cannot_be_sent(client: cno.Client, server: Any) -> None:
    await fails(begin(client, "GET", "/", [("x", "\n")]), ValueError)
    await fails(begin(client, "POST", "/", [("content-length", "5")], [b"four"]), ValueError)


async def _breaks_the_protocol(client: cno.Client, server: Any) -> None:
    task, _ = await ask(client, server)
    await server.wire.send(bytes(100))
    await fails(task, cno.BadResponse)


@pytest.mark.parametrize(
    "fail",
    [
        _fails_by_end,
        _fails_by_body,
        _fails_while_blocked,
        _fails_while_read,
        _fails_behind_a_promise,
        _fails_in_time,
        _fails_with_a_ping,
        _is_cancelled,
        _cannot_be_sent,
        _breaks_the_protocol,
    ],
)
@both
async def test_failures_keep_nothing(peer: Stage, fail: Any) -> None:
    peer.listen()
    gc.collect()
    gc.disable()
    logging.getLogger("cno.error").propagate = False  # or pytest keeps what is logged
    try:
        before = engines()
        for _ in range(3):
            client, server = await peer.meet()
            await fail(client, server)
            client.close()
            server.close()
            await soon(client.wait_closed())
            peer.ours.clear()
            peer.theirs.clear()
        del client, server
        for _ in range(10):
            await asyncio.sleep(0)
        assert engines() == before
    finally:
        gc.enable()
        logging.getLogger("cno.error").propagate = True
