"""cno.Client: in whose context variables its callbacks run."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asking import BIG, ask, both, exchange, h1, h2_only, until
from scripted import H2Server, Stage
from wire import soon

import cno
from cno.client.alarm import Alarm

whose: contextvars.ContextVar[str] = contextvars.ContextVar("whose", default="nobody's")


def begin(name: str, call: Any) -> Any:
    """Runs what a function returns as a task in which `whose` has this value."""

    async def main() -> Any:
        whose.set(name)
        return await call()

    return asyncio.ensure_future(main())


Seen = list[tuple[str, str]]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """The calls of some methods of a client, with the context in which they are made."""
    calls: Seen = []
    for kind, name in (
        (cno.Client, "data_received"),
        (cno.Client, "resume_writing"),
        (cno.Client, "connection_lost"),
        (cno.Client, "close"),
        (Alarm, "_ring"),
    ):

        def call(
            *args: Any,
            name: str = name,
            method: Any = getattr(kind, name),  # noqa: B008
        ) -> Any:
            calls.append((name, whose.get()))
            return method(*args)

        # Of the class: uvloop has bound them when a connection is made.
        monkeypatch.setattr(kind, name, call)
    return calls


@both
async def test_informational_responses(peer: Stage) -> None:
    """Each function runs in the context of the request that it was given to."""
    client, server = await peer.meet()
    said: list[Any] = []

    def inform(code: int, _: Any) -> None:
        said.append((code, whose.get()))

    for name in ("one's", "two's"):
        task = begin(name, lambda: client.request("GET", "/", inform=inform))
        asked = await soon(server.request())
        await asked.head(103)
        await asked.respond()
        assert (await soon(task)).code == 200
    assert said == [(103, "one's"), (103, "two's")]


@both
async def test_bodies(peer: Stage) -> None:
    """A body, and the function for its trailers, run in the context of their request, even if that
    has waited for its turn."""
    client, server = await peer.meet()
    if isinstance(server, H2Server):
        await server.settings(max_concurrent_streams=1)
        await server.ping()
    seen: list[str] = []

    async def body() -> AsyncIterator[bytes]:
        for _ in range(3):
            await asyncio.sleep(0)
            seen.append(whose.get())
            yield b"x"

    def trailers() -> Any:
        seen.append(whose.get())
        return []

    first = begin("first's", lambda: client.request("GET", "/"))
    asked = await soon(server.request())
    second = begin("second's", lambda: client.request("POST", "/", [], body(), trailers=trailers))
    await asyncio.sleep(0)
    await asked.respond()
    assert (await soon(first)).code == 200
    asked = await soon(server.request())
    assert await soon(asked.whole()) == b"xxx"
    await asked.respond()
    assert (await soon(second)).code == 200
    assert seen == ["second's"] * 4


@h1
async def test_reading_that_a_reader_resumes(peer: Stage, seen: Seen) -> None:
    """What the loop calls from then on is not the reader's."""
    client, server = await peer.meet()
    task, asked = await ask(client, server)
    sending = asyncio.ensure_future(asked.respond(200, BIG))
    response = await soon(task)
    await until(lambda: not client._reading)
    seen.clear()
    assert await soon(begin("reader's", lambda: response.payload.read(-1))) == BIG
    await soon(sending)
    assert await exchange(client, server)
    assert seen
    assert {name for _, name in seen} == {"nobody's"}


@both
async def test_writing_that_a_request_has_begun(peer: Stage, seen: Seen) -> None:
    client, server = await peer.meet()
    server.credit = False
    seen.clear()
    parts = (BIG for _ in range(64))
    task = begin("writer's", lambda: client.request("POST", "/", [], parts))
    asked = await soon(server.request())
    await until(lambda: client._waiters or client._blocked)
    server.credit = True
    await soon(asked.received(10 * len(BIG)))
    server.close()
    await soon(asyncio.wait([task]))
    assert task.exception() is not None
    await soon(client.wait_closed())
    assert ("connection_lost", "nobody's") in seen
    assert {name for _, name in seen} == {"nobody's"}


@both
async def test_timers_that_a_request_has_set(peer: Stage, seen: Seen) -> None:
    client, server = await peer.meet(timeout_idle=0.01)
    seen.clear()
    task = begin("first's", lambda: client.request("GET", "/", timeout=0.001))
    await soon(asyncio.wait([task]))
    assert isinstance(task.exception(), cno.RequestTimeout)
    if peer.version == "h2":
        await server.request()
    await soon(client.wait_closed())
    assert ("_ring", "nobody's") in seen
    assert {name for _, name in seen} == {"nobody's"}


@both
async def test_a_connection_that_a_request_has_closed(peer: Stage, seen: Seen) -> None:
    client, server = await peer.meet()
    seen.clear()

    async def close() -> None:
        assert await exchange(client, server)
        client.close()

    await soon(begin("closer's", close))
    await soon(client.wait_closed())
    assert [name for call, name in seen if call == "connection_lost"] == ["nobody's"]


@h2_only
async def test_a_connection_that_has_a_context_of_its_own(peer: Stage, seen: Seen) -> None:
    """It keeps the context in which it was made."""
    peer.listen()
    meeting = begin("maker's", peer.meet)
    client, server = await soon(meeting)
    seen.clear()
    task = begin("reader's", lambda: client.request("GET", "/"))
    asked = await soon(server.request())
    await asked.respond(200, b"ok")
    response = await soon(task)
    assert await soon(response.payload.read()) == b"ok"
    assert seen
    assert {name for _, name in seen} == {"maker's"}
