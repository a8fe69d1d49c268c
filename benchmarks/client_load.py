"""One client under measurement: `python client_load.py NAME PROTOCOL PORT`.

Answers "go SECONDS" on standard input, having made requests for so long, with how many were
answered and the seconds that took.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import uvloop

SIZE = 13  # octets of the body that app.py answers with

# Requests under way: on HTTP/1.1 each on a connection of its own, on HTTP/2 all on one.
UNDER_WAY = {"h1": 8, "h2": 32}

# One round of a task makes requests, and returns how many were answered in full.
Round = Callable[[], Awaitable[int]]

# What the others send unless they are told not to.
FIELDS = [("user-agent", "cno"), ("accept", "*/*"), ("accept-encoding", "gzip, deflate")]


@asynccontextmanager
async def cno(protocol: str, url: str) -> AsyncIterator[list[Round]]:
    """A Client is a connection."""
    from cno import Client, connect

    def make(client: Client) -> Round:
        async def one() -> int:
            response = await client.request("GET", "/", FIELDS)
            return response.code == 200 and len(await response.payload.read()) == SIZE

        return one

    count = UNDER_WAY[protocol]
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(await connect(None, url, force_http2=protocol == "h2"))
            for _ in range(count if protocol == "h1" else 1)
        ]
        yield [make(clients[number % len(clients)]) for number in range(count)]


@asynccontextmanager
async def aiohttp(protocol: str, url: str) -> AsyncIterator[list[Round]]:
    """One session with as many connections as tasks."""
    from aiohttp import ClientSession, TCPConnector

    count = UNDER_WAY[protocol]
    async with ClientSession(connector=TCPConnector(limit=count)) as session:

        async def one() -> int:
            async with session.get(url) as response:
                return response.status == 200 and len(await response.read()) == SIZE

        yield [one] * count


@asynccontextmanager
async def httpx(protocol: str, url: str) -> AsyncIterator[list[Round]]:
    """One client; HTTP/2 by prior knowledge on one connection."""
    from httpx import AsyncClient, Limits

    count = UNDER_WAY[protocol]
    limits = Limits(max_connections=count if protocol == "h1" else 1)
    versions = {"http1": protocol == "h1", "http2": protocol == "h2"}
    async with AsyncClient(limits=limits, trust_env=False, **versions) as client:

        async def one() -> int:
            response = await client.get(url)
            return response.status_code == 200 and len(response.content) == SIZE

        yield [one] * count


@asynccontextmanager
async def niquests(protocol: str, url: str) -> AsyncIterator[list[Round]]:
    """On HTTP/1.1 one session with as many connections as tasks. On HTTP/2, which it multiplexes
    within one task, that task asks for as many answers at once."""
    from niquests import AsyncSession

    count = UNDER_WAY[protocol]
    many = protocol == "h2"
    async with AsyncSession(multiplexed=many, disable_http1=many, pool_maxsize=count) as session:
        session.trust_env = False

        async def one() -> int:
            response: Any = await session.get(url)
            return response.status_code == 200 and len(response.content) == SIZE

        async def together() -> int:
            responses: list[Any] = [await session.get(url) for _ in range(count)]
            await session.gather()
            return sum(each.status_code == 200 and len(each.content) == SIZE for each in responses)

        yield [together] if many else [one] * count


CLIENTS = {client.__name__: client for client in (cno, aiohttp, httpx, niquests)}


async def load(rounds: list[Round], seconds: float) -> tuple[int, float]:
    """Answered requests, and the seconds from the first to the last of them."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    started = loop.time()
    loop.call_later(seconds, over.set)

    async def work(one: Round) -> int:
        answered = 0
        while not over.is_set():
            if not (count := await one()):
                raise ValueError("a request was not answered as it should be")
            answered += count
        return answered

    answered = sum(await asyncio.gather(*map(work, rounds)))
    return answered, loop.time() - started


async def main(name: str, protocol: str, port: str) -> None:
    """Serves the commands until there are none."""
    loop = asyncio.get_running_loop()
    async with CLIENTS[name](protocol, f"http://127.0.0.1:{port}/") as rounds:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            print(*await load(rounds, float(line.split()[1])), flush=True)


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(main(*sys.argv[1:]))
