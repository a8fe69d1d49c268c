"""A plain ASGI application for clients from outside: bodies of any size, in and out."""

import asyncio

BLOCK = bytes(range(256)) * 256


async def app(scope, receive, send):
    """`/bytes/N` gives N octets, `/once/N` in one message, `/count` counts, `/echo` returns."""
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
    """A whole response."""
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def stream(send, size):
    """A response in pieces of 64 KiB."""
    headers = [(b"content-length", b"%d" % size)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    print("app: begun", flush=True)
    for at in range(0, size, len(BLOCK)):
        body = BLOCK[: size - at]
        await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body"})
    print("app: done", flush=True)


async def count(receive, send):
    """The octets of the body, which are dropped."""
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
    """The body as it comes."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message["more_body"]
        await send({"type": "http.response.body", "body": message["body"], "more_body": more})
        await asyncio.sleep(0)
