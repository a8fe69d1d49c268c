"""Transfers of bodies larger than the memory that a process may use.

The server, `bulk.py serve LOOP`, answers GET /SIZE with a body of SIZE bytes, and an upload with
the size of the upload; it pauses for a path that ends in /slow. The client, `bulk.py upload LOOP
URL SIZE SLOW` or `bulk.py download ...`, makes a small transfer and then one of SIZE bytes, with
pauses of its own if SLOW is "client". The client prints its peak memory after each transfer.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import cno

MIB = 1 << 20
BLOCK = bytes(65536)

# Bytes of the small transfer, which shows the memory that every transfer costs.
SMALL = 8 * MIB

# Seconds that a slow side pauses after each 4 MiB; and the seconds of one longer pause in the large
# transfer, in which every buffer fills up.
PAUSE = 0.01
REST = 0.3


def peak(pid: int | str = "self") -> int:
    """Returns the peak resident memory of a process in bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


class Pace:
    """The speed at which one side makes or reads a body."""

    def __init__(self, slow: bool) -> None:
        self.slow = slow
        self.size = 0

    async def after(self, size: int) -> None:
        """Pauses if necessary; called after `size` more bytes of the body."""
        blocks = self.size // (4 * MIB)
        self.size += size
        if self.slow and self.size // (4 * MIB) > blocks:
            await asyncio.sleep(REST if blocks == SMALL // (4 * MIB) else PAUSE)


async def body(size: int, slow: bool) -> AsyncIterator[bytes]:
    pace = Pace(slow)
    for _ in range(size // len(BLOCK)):
        yield BLOCK
        await pace.after(len(BLOCK))


async def size_of(reader: asyncio.StreamReader, slow: bool) -> int:
    pace = Pace(slow)
    while data := await reader.read(65536):
        await pace.after(len(data))
    return pace.size


async def handle(request: cno.Request) -> None:
    """Answers one request of the server."""
    slow = request.path.endswith("/slow")
    if request.method == "GET":
        size = int(request.path.split("/")[1])
        await request.respond(200, [("content-length", str(size))], body(size, slow))
    else:
        size = await size_of(request.payload, slow)
        await request.respond(200, [], b"%d" % size)


async def serve() -> None:
    """Serves until the process is killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: cno.Server(loop, handle), "127.0.0.1", 0)
    print(f"cno running on http://127.0.0.1:{server.sockets[0].getsockname()[1]} (")
    await server.serve_forever()


async def transfer(what: str, url: str, size: int, slow: str) -> None:
    """Makes a small transfer and a large one; prints the peak memory after each."""
    path = "/slow" if slow == "server" else "/fast"
    async with await cno.connect(None, url) as client:
        for octets in (SMALL, size):
            if what == "download":
                response = await client.request("GET", f"/{octets}{path}")
                got = await size_of(response.payload, slow == "client")
            else:
                response = await client.request("POST", path, [], body(octets, slow == "client"))
                got = int(await response.payload.read())
            assert got == octets, (got, octets)
            print("peak", peak(), flush=True)
            sys.stdin.readline()


if __name__ == "__main__":
    what, loop, *more = sys.argv[1:]
    if loop == "uvloop":
        import uvloop

        uvloop.install()
    if what == "serve":
        asyncio.run(serve())
    else:
        asyncio.run(transfer(what, more[0], int(more[1]), more[2]))
