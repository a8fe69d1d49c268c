"""Serves handlers with `cno.Server` in this process."""

import asyncio
import ssl
import weakref
from typing import Any

from peer import LOOPS, Peer, listening, over
from wire import Response, soon

import cno


class Site(Peer):
    """Serves a handler with cno.Server, and connects to the server."""

    async def start(
        self, handle: Any, *, tls: ssl.SSLContext | None = None, **options: Any
    ) -> None:
        loop = asyncio.get_running_loop()
        self._stack.enter_context(listening("cno.error", self.log))
        self.made: list[weakref.ref[cno.Server]] = []
        self.group = cno.ServerGroup(loop, **options)

        def make() -> cno.Server:
            server = cno.Server(loop, handle, group=self.group)
            self.made.append(weakref.ref(server))
            return server

        self.server = await loop.create_server(make, "127.0.0.1", 0, ssl=tls)
        self._stack.push_async_callback(self.stop)

    async def stop(self) -> None:
        """Closes the listener and drains."""
        self.server.close()
        await self.group.drain(0.0 if self.cuts else 1.0)

    async def leave(self, *, force: bool = False) -> None:
        self.cuts = self.cuts or force
        for client in self.clients:
            client.close()
        await soon(self._stack.aclose())


SERVED = [loop for loop in LOOPS if loop != "python"]
both = over("h1", "h2", loops=SERVED, make=Site)
h1 = over("h1", loops=SERVED, make=Site)
h2_only = over("h2", loops=SERVED, make=Site)


def noted(handle: Any) -> Any:
    """Wraps a handler: `.done()` waits for the result of a call, a value or an exception."""
    results: asyncio.Queue[Any] = asyncio.Queue()

    async def call(request: cno.Request) -> None:
        try:
            results.put_nowait(await handle(request))
        except BaseException as error:
            results.put_nowait(error)
            raise

    call.done = lambda: soon(results.get())  # type: ignore[attr-defined]
    return call


async def hello(request: cno.Request) -> None:
    await request.respond(200, [("content-type", "text/plain")], b"hello")


def plain(response: Response) -> tuple[int, bytes]:
    assert response.complete, response
    return response.status, response.body
