"""What app.py does, with cno.Server: `python seed_app.py PORT`."""

from __future__ import annotations

import asyncio
import sys

import uvloop
from app import HELLO, TEN_K

import cno


async def handle(request: cno.Request) -> None:
    """Answers one request."""
    body = TEN_K if request.path == "/10k" else HELLO
    headers = [("content-type", "text/plain"), ("content-length", str(len(body)))]
    await request.respond(200, headers, body)


async def main(port: int) -> None:
    """Serves until it is killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: cno.Server(loop, handle), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(main(int(sys.argv[1])))
