"""cno.Client and cno.Server under load: every answer is that of its request, and nothing stays.

CNO_SOAK=1 (make soak) runs all of it in full; otherwise it is what a minute allows.
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
    """Octets of this process in memory; 0 where that is not known."""
    if not sys.platform.startswith("linux"):
        return 0
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def alive(*kinds: type) -> list[object]:
    """The objects of these types that there are."""
    return [item for item in gc.get_objects() if type(item) in kinds]


# Octets that a process may grow by from the time when a fifth is done.
GROWTH = 4 * MIB


# ---- many requests on few connections -----------------------------------------------------------

BLOB = random.Random(1).randbytes(256 * KIB)

# Of each kind of request, how many there are among a hundred.
KINDS = {
    "small": 50,  # neither body is larger than a few octets
    "down": 10,  # tens of KiB come at once
    "pour": 10,  # they come in pieces
    "up": 10,  # they go at once
    "feed": 8,  # they go in pieces
    "echo": 6,  # they go and come in pieces, at the same time
    "leave": 6,  # only the first octets of what comes are read
}

# Of a hundred requests, those that are cancelled, if they take as long as that.
CANCELLED = 15


@dataclass
class Job:
    """One request."""

    number: int
    kind: str
    size: int
    turns: int | None  # of the loop, after which it is cancelled

    @property
    def octets(self) -> bytes:
        """The body that goes or comes: no other job has the same."""
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
    """Answers a job."""
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
    """Makes the request of a job, and looks whether the answer is its own."""
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
        """All jobs; then looks at what is left of them."""
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
        """Nothing is under way on either side, which agree about their windows."""
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
                assert not side._parts
                assert list(side.engine.conn.stream_count) == [0, 0]
            assert ours.window_recv == theirs.window_send
            assert ours.window_send == theirs.window_recv

    async def work(self, place: int, todo: Iterator[Job]) -> None:
        """One of the tasks."""
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
        """A job, again where the connection ended before its turn: on HTTP/1 a request that is
        cancelled halfway ends it."""
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
    """100,000 requests by 100 tasks over one connection of HTTP/2, fewer over 20 of HTTP/1."""
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
