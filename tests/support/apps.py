"""Applications for tests that start the command; each attribute is one application."""

import asyncio


async def respond(send, body: bytes, status: int = 200) -> None:
    """Sends a whole response."""
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def lifespan(scope, receive, send) -> None:
    """Answers the lifespan, and prints a line at startup and at shutdown."""
    await receive()
    print("app: startup", flush=True)
    scope["state"]["started"] = "yes"
    await send({"type": "lifespan.startup.complete"})
    await receive()
    print("app: shutdown", flush=True)
    await send({"type": "lifespan.shutdown.complete"})


async def hello(scope, receive, send) -> None:
    """Answers with the path, the root path and the state that the lifespan has set."""
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
        return
    lines = [scope["path"], scope["root_path"], str(scope["state"].get("started"))]
    await respond(send, "\n".join(lines).encode())


async def slow(scope, receive, send) -> None:
    """Reads the whole body of a request, without a time limit, and sends the body back."""
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
        return
    print("app: request", flush=True)
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            print("app: disconnect", flush=True)
            return
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    await respond(send, body)


async def failing(scope, receive, send) -> None:
    """Answers that its startup has failed."""
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


async def hanging(scope, receive, send) -> None:
    """Never finishes starting."""
    await receive()
    print("app: startup", flush=True)
    await asyncio.Event().wait()


async def stubborn(scope, receive, send) -> None:
    """Starts, and never finishes stopping."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    print("app: shutdown", flush=True)
    await asyncio.Event().wait()


def factory():
    """Returns an application; the target of --factory."""
    return hello


class Nested:
    """Has an application as an attribute, for `module:attribute.attribute`."""

    app = staticmethod(hello)


def double(scope):
    """An ASGI 2 application."""

    async def instance(receive, send) -> None:
        await hello(scope, receive, send)

    return instance


not_callable = 5
