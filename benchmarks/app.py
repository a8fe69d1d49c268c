"""The application that every server runs: plain ASGI, no framework.

``/`` answers 13 bytes of text, ``/10k`` answers 10240, ``/1m`` answers 1048576, each with two
sends. ``/upload`` reads the body of the request and answers with its length in bytes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

HELLO = b"Hello, world!"
TEN_K = b"0123456789abcdef" * 640
ONE_M = b"0123456789abcdef" * 65536
BODIES = {"/": HELLO, "/10k": TEN_K, "/1m": ONE_M}
UPLOAD_SIZE = 2**20  # bytes of body that /upload wants


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Serve one HTTP request, or the lifespan of the server."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    status, body = 200, BODIES.get(scope["path"])
    if body is None:
        status, body = uploaded(await received(receive))
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", b"text/plain"),
                (b"content-length", b"%d" % len(body)),
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})


def uploaded(size: int) -> tuple[int, bytes]:
    """The answer to a body of `size` bytes. A body of the wrong length is an error, so that the
    load generators, which look at the status of every answer, notice each byte that is missing."""
    return (200 if size == UPLOAD_SIZE else 400), b"%d" % size


async def received(receive: Receive) -> int:
    """Read the whole request body; returns how many bytes came."""
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    return size


async def lifespan(receive: Receive, send: Send) -> None:
    """Answer the two lifespan events (ASGI lifespan protocol 2.0)."""
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
