"""Serves one ASGI application: gives out protocols, keeps the clock, drains."""

from __future__ import annotations

import asyncio
import logging
from email.utils import formatdate
from functools import partial
from typing import Any

from cno.accel import CONNECTION, REQUEST
from cno.asgi import Site
from cno.config import Config
from cno.connection import Connection, Opener
from cno.engine import Defaults
from cno.interface import App
from cno.logs import access as access_log
from cno.scope import scope_base

# Seconds that applications have, after they were told of the end, before their tasks are cancelled.
MERCY = 1.0


def _root_path(path: str) -> str:
    """With a slash in front and none behind; "" for the root itself."""
    path = path.strip("/")
    return f"/{path}" if path else ""


class Gateway:
    """Serves one application on one event loop: gives out protocols, keeps the clock, drains."""

    def __init__(
        self,
        app: App,
        config: Config,
        *,
        loop: asyncio.AbstractEventLoop,
        state: dict[str, Any] | None,
    ) -> None:
        self.loop = loop
        logged: bool = config.access_log and access_log.isEnabledFor(logging.INFO)
        self._site = Site(app, state, logged)
        self._root_path = _root_path(config.root_path)
        self.http2: bool = config.http2
        self.keep_alive: float = config.timeout_keep_alive
        self.max_streams: int = config.h2_max_concurrent_streams
        self.connections: set[Connection] = set()
        self._config = config
        self._emptied: asyncio.Future[None] | None = None
        self._draining = False
        self.defaults = Defaults(self._default_fields())
        self._timer = loop.call_later(1.0, self._tick)

    def protocol(self) -> asyncio.Protocol:
        """The factory for loop.create_server."""
        connection = CONNECTION(self)
        if self._draining:
            self.loop.call_soon(connection.shutdown)
        return connection

    def opener(self, connection: Connection) -> Opener:
        """Begins requests of this connection, as it is now."""
        base = scope_base(connection, self._root_path)
        return partial(REQUEST, self._site, connection, base)

    def closed(self) -> None:
        """A connection is no more."""
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
        self._timer.cancel()

    def abort(self) -> None:
        """Tells the applications http.disconnect and cuts every connection; tasks that do not end
        by themselves are cancelled a second later."""
        for connection in list(self.connections):
            connection.cut()
        self.loop.call_later(MERCY, self._cancel)

    def _cancel(self) -> None:
        for connection in self.connections:
            for stream in connection.running:
                stream.task.cancel()

    # ---- the clock ----------------------------------------------------------------------------

    def _default_fields(self) -> list[tuple[bytes, bytes]]:
        own = list(self._config.header)
        names = {name for name, _ in own}
        fields: list[tuple[bytes, bytes]] = []
        if self._config.date_header and b"date" not in names:
            fields.append((b"date", formatdate(usegmt=True).encode()))
        if self._config.server_header and b"server" not in names:
            fields.append((b"server", b"cno"))
        return fields + own

    def _tick(self) -> None:
        """Once a second: the Date field, and connections that were idle for too long."""
        self._timer = self.loop.call_later(1.0, self._tick)
        if self._config.date_header:
            self.defaults.set(self._default_fields())
        now = self.loop.time()
        for connection in list(self.connections):
            connection.tick(now)
