"""The application that every server runs: plain ASGI, no framework.

``/`` answers 13 octets of text, ``/10k`` answers 10240, each with two sends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

HELLO = b"Hello, world!"
TEN_K = b"0123456789abcdef" * 640


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Serve one HTTP request, or the lifespan of the server."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    body = TEN_K if scope["path"] == "/10k" else HELLO
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [
                (b"content-type", b"text/plain"),
                (b"content-length", b"%d" % len(body)),
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def lifespan(receive: Receive, send: Send) -> None:
    """Answer the two lifespan events (ASGI lifespan protocol 2.0)."""
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
