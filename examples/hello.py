"""cno-asgi hello:app --app-dir examples

A plain ASGI application: `/` says hello, `/stream` sends a line per second, `/upload-size` counts
the bytes of an upload.
"""

import asyncio


async def app(scope, receive, send):
    """Serves one request, or the lifespan."""
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
    """Answers the events of the lifespan; there is nothing to prepare or clean up."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def answer(send, status, text):
    """Sends a whole response."""
    body = text.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def stream(send, lines=10):
    """Sends a response in chunks. When the client leaves, send() raises an OSError."""
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for number in range(1, lines + 1):
        more = number < lines
        body = f"line {number}\n".encode()
        await send({"type": "http.response.body", "body": body, "more_body": more})
        if more:
            await asyncio.sleep(1)


async def upload_size(receive):
    """Counts the bytes of the request's body without storing the body."""
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the client left in the middle of its upload")
        size += len(message.get("body", b""))
        if not message.get("more_body", False):
            return size
