"""cno.Client and cno.Server under load: every response belongs to its request, and no memory stays.

CNO_SOAK=1 (make soak) runs the whole load; otherwise the load takes at most a minute.
"""

import asyncio
import gc
import itertools
import os
import random
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from peer import LOOPS, listening, run

import cno
from cno.client.exchange import Exchange
from cno.transport.body import Payload

SOAK = bool(os.environ.get("CNO_SOAK"))

KIB = 1 << 10
MIB = 1 << 20


def resident() -> int:
    """Returns the resident memory of this process in bytes, or 0 if unknown."""
    if not sys.platform.startswith("linux"):
        return 0
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def alive(*kinds: type) -> list[object]:
    """Returns all objects of these types."""
    return [item for item in gc.get_objects() if type(item) in kinds]


# Bytes by which a process may grow after a fifth of the jobs.
GROWTH = 4 * MIB


# ---- many requests on few connections -----------------------------------------------------------

BLOB = random.Random(1).randbytes(256 * KIB)

# The kinds of requests, each with its number among a hundred.
KINDS = {
    "small": 50,  # both bodies have a few bytes
    "down": 10,  # the response is tens of KiB in one part
    "pour": 10,  # the response comes in parts
    "up": 10,  # the request is tens of KiB in one part
    "feed": 8,  # the request goes in parts
    "echo": 6,  # both bodies go in parts, at the same time
    "leave": 6,  # only the first bytes of the response are read
}

# The number of requests among a hundred that are cancelled, unless they end before that.
CANCELLED = 15


@dataclass
class Job:
    """The description of one request."""

    number: int
    kind: str
    size: int
    turns: int | None  # of the loop, after which it is cancelled

    @property
    def octets(self) -> bytes:
        """Returns a body that no other job has."""
        return b"%d " % self.number + BLOB[self.number % 1009 :][: self.size]


def jobs(count: int, seed: int) -> Iterator[Job]:
    rng = random.Random(seed)
    kinds = [kind for kind, share in KINDS.items() for _ in range(share)]
    for number in range(count):
        kind = rng.choice(kinds)
        size = 0 if kind == "small" else rng.randrange(KIB, 64 * KIB)
        turns = rng.randrange(12) if rng.randrange(100) < CANCELLED else None
        yield Job(number, kind, size, turns)


async def pieces(octets: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(octets), 5000):
        yield octets[at : at + 5000]
        await asyncio.sleep(0)


async def parts(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while data := await reader.read(8192):
        yield data


async def handle(request: cno.Request) -> None:
    """The handler, which answers a job."""
    _, kind, number, size = request.path.split("/")
    job = Job(int(number), kind, int(size), None)
    if kind == "echo":
        await request.respond(200, [], parts(request.payload))
    elif kind in ("up", "feed"):
        same = await request.payload.read() == job.octets
        await request.respond(200 if same else 400, [], b"%d" % job.number)
    elif kind in ("pour", "leave"):
        await request.respond(200, [("x-number", number)], pieces(job.octets))
    else:
        await request.respond(200, [], job.octets)


async def ask(client: cno.Client, job: Job) -> None:
    """Makes the request of a job, and checks that the response belongs to the job."""
    path = f"/{job.kind}/{job.number}/{job.size}"
    body: Any = b""
    if job.kind in ("up", "feed", "echo"):
        body = job.octets if job.kind == "up" else pieces(job.octets)
    response = await client.request("POST" if body else "GET", path, [], body)
    assert response.code == 200, (job, response)
    if job.kind == "leave":
        async with response:
            assert await response.payload.readexactly(9) == job.octets[:9], job
    elif job.kind in ("up", "feed"):
        assert await response.payload.read() == b"%d" % job.number, job
    else:
        assert await response.payload.read() == job.octets, job


class Load:
    """Tasks that share jobs, on connections of cno.Client to cno.Server in this process."""

    def __init__(self, version: str, connections: int) -> None:
        self.version = version
        self.group = cno.ServerGroup()
        self.clients: list[cno.Client | None] = [None] * connections
        self.locks = [asyncio.Lock() for _ in self.clients]
        self.cancelled = self.connected = 0

    async def run(self, tasks: int, count: int) -> None:
        """Runs all jobs; then checks that nothing is left of them."""
        loop = asyncio.get_running_loop()
        self.listener = await loop.create_server(
            lambda: cno.Server(None, handle, group=self.group), "127.0.0.1", 0
        )
        places = len(self.clients)
        todo = jobs(count, 7)
        sizes = []
        for share in (itertools.islice(todo, count // 5), todo):
            await asyncio.gather(*(self.work(n % places, share) for n in range(tasks)))
            sizes.append(resident())
        print(f"{count} requests on {self.connected} connections, {self.cancelled} cancelled;")
        print("RSS at a fifth and at the end", *(f"{size / MIB:.1f} MiB" for size in sizes))
        assert self.cancelled > count * CANCELLED // 200
        for place in range(places):  # the server has seen all when it has answered this
            await self.one(place, Job(count, "small", 0, None))
        await self.look()
        assert not alive(Exchange, cno.Response, cno.Request, Payload)
        assert sizes[1] - sizes[0] < GROWTH
        for client in self.clients:
            async with client:
                pass
        self.listener.close()
        await self.group.wait_closed()

    async def look(self) -> None:
        """Checks that no request is under way, and that both sides agree about their windows."""
        while len(self.group.connections) > len(self.clients):
            await asyncio.sleep(0)
        peers = {server.peer: server for server in self.group.connections}
        for client in self.clients:
            server = peers[client.transport.get_extra_info("sockname")]
            while server.running:
                await asyncio.sleep(0)
            assert not client.streams
            assert not client._turns
            assert not server.streams
            ours, theirs = client.engine.conn, server.engine.conn
            for side in (client, server):
                assert not side._waiting
                assert not side.parts
                assert list(side.engine.conn.stream_count) == [0, 0]
            assert ours.window_recv == theirs.window_send
            assert ours.window_send == theirs.window_recv

    async def work(self, place: int, todo: Iterator[Job]) -> None:
        """Runs jobs until there are none. Each task of the load runs this."""
        for job in todo:
            task = asyncio.ensure_future(self.one(place, job))
            if job.turns is not None:
                for _ in range(job.turns):
                    await asyncio.sleep(0)
                self.cancelled += task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            del task

    async def one(self, place: int, job: Job) -> None:
        """Runs a job; again, if the connection has ended before the turn of the job. On HTTP/1 a
        request that is cancelled halfway ends the connection."""
        while True:
            client = await self.connected_to(place)
            try:
                return await ask(client, job)
            except cno.RequestFailed as failure:
                if self.version == "h2" or not failure.unprocessed:
                    raise

    async def connected_to(self, place: int) -> cno.Client:
        async with self.locks[place]:
            client = self.clients[place]
            if client is None or client.is_closed:
                self.connected += 1
                scheme = {"h1": "http", "h2": "h2c"}[self.version]
                port = self.listener.sockets[0].getsockname()[1]
                client = await cno.connect(None, f"{scheme}://127.0.0.1:{port}/")
                self.clients[place] = client
            return client


@pytest.mark.timeout(600)
@pytest.mark.parametrize("loop", [loop for loop in LOOPS if loop != "python"])
@pytest.mark.parametrize(("version", "connections"), [("h2", 1), ("h1", 20)])
def test_a_load_of_many_kinds(version: str, connections: int, loop: str) -> None:
    """100 tasks make 100,000 requests on one connection of HTTP/2, and fewer on 20 of HTTP/1."""
    count = {"h2": 100000, "h1": 20000}[version] if SOAK else 5000
    log: list[str] = []

    async def main() -> None:
        await Load(version, connections).run(100, count)

    gc.collect()
    gc.disable()
    try:
        with listening("cno.error", log):
            run(main, loop, 600.0)
    finally:
        gc.enable()
    assert not log
