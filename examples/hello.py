"""cno-asgi hello:app --app-dir examples

A plain ASGI application: `/` says hello, `/stream` sends a line per second, `/upload-size` counts
what is posted to it.
"""

import asyncio


async def app(scope, receive, send):
    """Answers by path."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    path = scope["path"].removeprefix(scope["root_path"])
    if path == "/":
        await answer(send, 200, f"Hello over HTTP/{scope['http_version']}!\n")
    elif path == "/stream":
        await stream(send)
    elif path == "/upload-size":
        await answer(send, 200, f"{await upload_size(receive)}\n")
    else:
        await answer(send, 404, "There is nothing here.\n")


async def lifespan(receive, send):
    """Has nothing to prepare and nothing to clean up."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def answer(send, status, text):
    """A whole response at once."""
    body = text.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def stream(send, lines=10):
    """A response in pieces. If the client leaves, send() raises an OSError, which ends this."""
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for number in range(1, lines + 1):
        more = number < lines
        body = f"line {number}\n".encode()
        await send({"type": "http.response.body", "body": body, "more_body": more})
        if more:
            await asyncio.sleep(1)


async def upload_size(receive):
    """Octets in the request's body, never held in memory at once."""
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the client left in the middle of its upload")
        size += len(message.get("body", b""))
        if not message.get("more_body", False):
            return size
