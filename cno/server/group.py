"""Keeps the connections of one server on one event loop: their clock, and their end."""

from __future__ import annotations

import asyncio
from email.utils import formatdate

from cno.config.options import Config
from cno.engine.binding import Defaults
from cno.server.connection import ServerConnection

# Seconds that applications have, after they were told of the end, before their tasks are cancelled.
MERCY = 1.0


class Keeper:
    """The connections of one server. The clock runs while there are any."""

    def __init__(self, loop: asyncio.AbstractEventLoop, config: Config) -> None:
        self.loop = loop
        self.http2: bool = config.http2
        self.keep_alive: float = config.timeout_keep_alive
        self.head_timeout: float = config.timeout_request_head
        self.body_timeout: float = config.timeout_request_body
        self.write_timeout: float = config.timeout_response_write
        self.max_streams: int = config.h2_max_concurrent_streams
        self.connections: set[ServerConnection] = set()
        self.defaults = Defaults(_default_fields(config))
        self._config = config
        self._emptied: asyncio.Future[None] | None = None
        self._draining = False
        self._timer: asyncio.TimerHandle | None = None

    def opened(self, connection: ServerConnection) -> None:
        """A connection has a transport."""
        self.connections.add(connection)
        if self._timer is None:
            self._tick()
        if self._draining:
            self.loop.call_soon(connection.shutdown)

    def closed(self, connection: ServerConnection) -> None:
        """A connection has neither a transport nor an application running any more."""
        self.connections.discard(connection)
        if self._emptied and not self.connections and not self._emptied.done():
            self._emptied.set_result(None)

    def shutdown(self) -> None:
        """Begins to drain: what is under way is finished, nothing new is taken on."""
        self._draining = True
        for connection in list(self.connections):
            connection.shutdown()

    async def wait_closed(self) -> None:
        """Returns when no connection and no running application is left."""
        if self.connections:
            self._emptied = self._emptied or self.loop.create_future()
            await asyncio.shield(self._emptied)
        self._stop_clock()

    def tell(self) -> None:
        """Tells every application whose response is still open that the server is about to end:
        receive() returns http.disconnect, and send() goes on to work."""
        for connection in list(self.connections):
            for stream in list(connection.streams.values()):
                stream.hang_up()

    def abort(self) -> None:
        """Tells the applications that nobody listens any more and cuts every connection; tasks that
        do not end by themselves are cancelled a second later."""
        for connection in list(self.connections):
            connection.cut()
        self.loop.call_later(MERCY, self._cancel)

    def _cancel(self) -> None:
        for connection in self.connections:
            for stream in connection.running:
                stream.task.cancel()

    def _tick(self) -> None:
        """Once a second: the Date field, and connections that were idle for too long."""
        self._timer = None
        if not self.connections:
            return
        self._timer = self.loop.call_later(1.0, self._tick)
        if self._config.date_header:
            self.defaults.set(_default_fields(self._config))
        now = self.loop.time()
        for connection in list(self.connections):
            connection.tick(now)

    def _stop_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _default_fields(config: Config) -> list[tuple[bytes, bytes]]:
    own = list(config.header)
    names = {name for name, _ in own}
    fields: list[tuple[bytes, bytes]] = []
    if config.date_header and b"date" not in names:
        fields.append((b"date", formatdate(usegmt=True).encode()))
    if config.server_header and b"server" not in names:
        fields.append((b"server", b"cno"))
    return fields + own
