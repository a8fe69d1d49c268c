"""The floor: what the kernel, uvloop and one call of Python per read cost, and nothing else.

`python floor.py PORT PATH` answers every HTTP/1.1 request with what app.py answers for PATH. It
parses nothing: one read is one request, or the head and the first bytes of an upload.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop
from app import BODIES, UPLOAD_SIZE, uploaded

BUFFER_SIZE = 256_000  # bytes that one read of an upload takes at most; as uvloop's other reads


class Answer(asyncio.Protocol):
    """Writes a constant after each read."""

    transport: asyncio.Transport

    def __init__(self, response: bytes) -> None:
        self.response = response

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by uvloop."""
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Called by uvloop."""
        self.transport.write(self.response)


class Upload(asyncio.BufferedProtocol):
    """Writes a constant after each UPLOAD_SIZE bytes of body, all read into the same memory."""

    transport: asyncio.Transport

    def __init__(self, response: bytes) -> None:
        self.response = response
        self.buffer = bytearray(BUFFER_SIZE)
        self.view = memoryview(self.buffer)
        self.left = 0  # bytes of the request under way that have not come; 0: the next is a head

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by uvloop."""
        self.transport = transport  # type: ignore[assignment]

    def get_buffer(self, sizehint: int) -> memoryview:
        """Called by uvloop."""
        return self.view

    def buffer_updated(self, count: int) -> None:
        """Called by uvloop. A head in more than one read is an error, which ends the connection."""
        if not self.left:
            self.left = self.buffer.index(b"\r\n\r\n", 0, count) + 4 + UPLOAD_SIZE
        self.left -= count
        if not self.left:
            self.transport.write(self.response)


async def main(port: int, path: str) -> None:
    """Serves until it is killed."""
    body = BODIES.get(path)
    cls = Upload if body is None else Answer
    if body is None:
        body = uploaded(UPLOAD_SIZE)[1]
    head = f"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {len(body)}\r\n\r\n"
    response = head.encode() + body
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: cls(response), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
