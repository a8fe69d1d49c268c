"""What app.py does, with cno.Server: `python seed_app.py PORT`."""

from __future__ import annotations

import asyncio
import sys

import uvloop
from app import BODIES, uploaded

import cno

READ_SIZE = 2**16  # bytes of an upload that one read takes at most


async def handle(request: cno.Request) -> None:
    """Answers one request."""
    status, body = 200, BODIES.get(request.path)
    if body is None:
        status, body = uploaded(await received(request))
    headers = [("content-type", "text/plain"), ("content-length", str(len(body)))]
    await request.respond(status, headers, body)


async def received(request: cno.Request) -> int:
    """Read the whole request body; returns how many bytes came."""
    size = 0
    while part := await request.payload.read(READ_SIZE):
        size += len(part)
    return size


async def main(port: int) -> None:
    """Serves until it is killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: cno.Server(loop, handle), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(main(int(sys.argv[1])))
