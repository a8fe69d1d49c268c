"""An ASGI application with every kind of exchange, for tests of clients with various servers."""

import asyncio
import hashlib
from contextlib import suppress

BLOCK = bytes(range(256)) * 256

# The number of streams that have ended because the client had left.
gone = 0


class Gone(Exception):
    """The client has left."""


async def app(scope, receive, send):
    """`/bytes/N`, `/stream`, `/status/N`, `/echo`, `/digest`, `/events`, `/gone`, `/hints`,
    `/trailers`; anything else says hello."""
    if scope["type"] != "http":
        raise NotImplementedError
    name, _, size = scope["path"][1:].partition("/")
    if name == "bytes":
        await answer(send, (BLOCK * (int(size) // len(BLOCK) + 1))[: int(size)])
    elif name == "status":
        await answer(send, b"as you like it", int(size))
    elif name == "gone":
        await answer(send, b"%d" % gone)
    elif name in SPECIAL:
        with suppress(Gone):
            await SPECIAL[name](scope, receive, send)
    else:
        await answer(send, b"hello over " + scope["http_version"].encode())


async def answer(send, body, status=200):
    """Sends a whole response."""
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def parts(receive):
    """Yields the parts of the body as they arrive."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        yield message.get("body", b"")
        if not message.get("more_body"):
            return


async def stream(scope, receive, send):
    """Sends a body without a content-length."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for number in range(100):
        await send({"type": "http.response.body", "body": b"%099d\n" % number, "more_body": True})
    await send({"type": "http.response.body"})


async def echo(scope, receive, send):
    """Sends the body back while the body is still arriving."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    async for part in parts(receive):
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body"})


async def digest(scope, receive, send):
    """Reads the whole body, then answers with its digest."""
    found = hashlib.sha256()
    async for part in parts(receive):
        found.update(part)
    await answer(send, found.hexdigest().encode())


async def events(scope, receive, send):
    """Sends server-sent events until the client leaves."""
    global gone
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await receive()
    left = asyncio.ensure_future(receive())
    while not left.done():
        await send({"type": "http.response.body", "body": b"data: x\n\n", "more_body": True})
        await asyncio.wait([left], timeout=0.01)
    gone += 1


async def hints(scope, receive, send):
    """Sends a 103 in front of the response, if the server supports that."""
    if "http.response.early_hint" in scope.get("extensions", {}):
        await send({"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload"]})
    await answer(send, b"hinted")


async def trailers(scope, receive, send):
    """Sends trailer fields behind the response, if the server supports that."""
    able = "http.response.trailers" in scope.get("extensions", {})
    headers = [(b"trailer", b"x-sum")]
    await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": able})
    await send({"type": "http.response.body", "body": b"body"})
    if able:
        await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"4")]})


SPECIAL = {
    "stream": stream,
    "echo": echo,
    "digest": digest,
    "events": events,
    "hints": hints,
    "trailers": trailers,
}
