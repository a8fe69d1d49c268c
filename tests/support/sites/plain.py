"""A plain ASGI application for clients of other projects: uploads and downloads of any size."""

import asyncio

BLOCK = bytes(range(256)) * 256


async def app(scope, receive, send):
    """Serves `/bytes/N` (N bytes), `/once/N` (N bytes in one message), `/count` and `/echo`."""
    if scope["type"] != "http":
        raise NotImplementedError
    path = scope["path"]
    if path == "/count":
        await count(receive, send)
    elif path == "/echo":
        await echo(receive, send)
    elif path == "/refuse":
        await answer(send, 413, b"too large")
    elif path.startswith("/once/"):
        await answer(send, 200, (BLOCK * 100)[: int(path[6:])])
    elif path.startswith("/bytes/"):
        await stream(send, int(path[7:]))
    else:
        await answer(send, 200, f"HTTP/{scope['http_version']} {scope['method']}\n".encode())


async def answer(send, status, body):
    """Sends a whole response."""
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def stream(send, size):
    """Sends a response in pieces of 64 KiB."""
    headers = [(b"content-length", b"%d" % size)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    print("app: begun", flush=True)
    for at in range(0, size, len(BLOCK)):
        body = BLOCK[: size - at]
        await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body"})
    print("app: done", flush=True)


async def count(receive, send):
    """Counts the bytes of the body and drops them."""
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message["body"])
        if not message["more_body"]:
            break
    await answer(send, 200, b"%d" % size)


async def echo(receive, send):
    """Sends the body back while the body is still arriving."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message["more_body"]
        await send({"type": "http.response.body", "body": message["body"], "more_body": more})
        await asyncio.sleep(0)
