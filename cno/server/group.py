"""The connections of one server on one event loop: their clock, and how they end together."""

from __future__ import annotations

import asyncio
from email.utils import formatdate

from cno.config.options import Config
from cno.engine.binding import Defaults
from cno.engine.events import Event
from cno.observe.logs import error as log
from cno.server.connection import ServerConnection
from cno.server.exchange import Exchange, Openers
from cno.server.reply import DONE
from cno.transport.connection import peer_name

# Seconds that an application has to end by itself while the server ends and its client has gone.
# Then the application is cancelled, and has as many seconds again for its cleanup; after those the
# server no longer waits for the application.
MERCY = 1.0

# Seconds between two ticks of the clock.
TICK = 1.0


class Group:
    """The connections of one server. The clock runs while the group has connections."""

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

    def openers(self, connection: ServerConnection) -> Openers:
        """Returns the functions that make the exchanges of a connection."""
        raise NotImplementedError

    # ---- what connections report --------------------------------------------------------------

    def opened(self, connection: ServerConnection) -> None:
        """Called when the transport of a connection is connected."""
        self.connections.add(connection)
        if self._timer is None:
            self._tick()
        if self._draining:
            self.loop.call_soon(connection.shutdown)

    def refused(self, connection: ServerConnection, fault: Event) -> None:
        """Called when the engine has refused input of a client; see connection.Group.refused."""

    def left(self, exchange: Exchange) -> None:
        """Called when a client has gone before its response was complete. While the group drains,
        the application then has MERCY seconds to end by itself."""
        if self._draining:
            self.loop.call_later(MERCY, self._cancel, exchange)

    def closed(self, connection: ServerConnection) -> None:
        """Called when a connection has neither a transport nor a running application any more."""
        self.connections.discard(connection)
        if self._emptied and not self.connections and not self._emptied.done():
            self._emptied.set_result(None)

    # ---- the end ------------------------------------------------------------------------------

    def shutdown(self) -> None:
        """Begins to drain: requests under way are finished, new requests are not taken.

        Applications whose client has gone before its response was complete are cancelled after
        MERCY seconds.
        """
        self._draining = True
        for connection in list(self.connections):
            connection.shutdown()
            for exchange in connection.running:
                if exchange.id not in connection.streams and exchange.reply.state != DONE:
                    self.left(exchange)

    def tell(self) -> bool:
        """Tells every application with an open response that the server wants to end.

        Data that the application still sends goes to the client. Returns whether there is an open
        response.
        """
        exchanges = [e for c in self.connections for e in c.streams.values()]
        for exchange in exchanges:
            exchange.wind_up()
        return bool(exchanges)

    async def wait_closed(self) -> None:
        """Waits until the group has neither a connection nor a running application."""
        if self.connections:
            self._emptied = self._emptied or self.loop.create_future()
            await asyncio.shield(self._emptied)
        self._stop_clock()

    def abort(self) -> None:
        """Cuts every connection, so that the applications learn that their clients have gone.
        Applications that do not end by themselves are cancelled after MERCY seconds."""
        for connection in list(self.connections):
            connection.cut()
        self.loop.call_later(MERCY, self._cancel_all)

    def _cancel_all(self) -> None:
        for connection in list(self.connections):
            for exchange in list(connection.running):
                self._cancel(exchange)

    def _cancel(self, exchange: Exchange) -> None:
        """Cancels the application of an exchange, and waits at most MERCY seconds for its end."""
        connection = exchange.reply.connection
        if exchange in connection.running:
            exchange.cancel()
            self.loop.call_later(MERCY, self._forget, exchange)

    def _forget(self, exchange: Exchange) -> None:
        connection = exchange.reply.connection
        if exchange in connection.running:
            log.warning(
                "%s - an application does not end after it was cancelled: no longer waited for",
                peer_name(connection),
            )
            connection.returned(exchange)

    # ---- the clock ----------------------------------------------------------------------------

    def _tick(self) -> None:
        """Runs once a second: renews the Date field and lets each connection check its timeouts."""
        self._timer = None
        if not self.connections:
            return
        self._timer = self.loop.call_later(TICK, self._tick)
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
