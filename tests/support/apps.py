"""Applications for tests that start the command, one per attribute."""

import asyncio


async def respond(send, body: bytes, status: int = 200) -> None:
    """A whole response."""
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def lifespan(scope, receive, send) -> None:
    """Says on standard output when it is started and stopped."""
    await receive()
    print("app: startup", flush=True)
    scope["state"]["started"] = "yes"
    await send({"type": "lifespan.startup.complete"})
    await receive()
    print("app: shutdown", flush=True)
    await send({"type": "lifespan.shutdown.complete"})


async def hello(scope, receive, send) -> None:
    """Answers with the path and what the lifespan left in the state."""
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
        return
    lines = [scope["path"], scope["root_path"], str(scope["state"].get("started"))]
    await respond(send, "\n".join(lines).encode())


async def slow(scope, receive, send) -> None:
    """Holds every request until the client sends the rest of its body, however long that takes."""
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
    """Refuses to start."""
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
    """Makes an application."""
    return hello


class Nested:
    """For module:attribute.attribute."""

    app = staticmethod(hello)


def double(scope):
    """An ASGI 2 application."""

    async def instance(receive, send) -> None:
        await hello(scope, receive, send)

    return instance


not_callable = 5
