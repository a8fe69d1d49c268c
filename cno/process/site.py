"""The connections of a server to one application, with the adapter for each kind of request."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

from cno.asgi import Application
from cno.config.options import Config
from cno.engine.events import Event
from cno.gateway.interface import App
from cno.gateway.scope import scope_base
from cno.observe import access
from cno.observe.logs import access as access_log
from cno.process import compiled
from cno.server.connection import ServerConnection
from cno.server.exchange import Openers
from cno.server.group import Group
from cno.transport.connection import peer_name


def _root_path(path: str) -> str:
    """Returns `path` with a slash in front and none behind; "" for the root itself."""
    path = path.strip("/")
    return f"/{path}" if path else ""


class Site(Group):
    """The connections to one application on one event loop."""

    def __init__(
        self,
        app: App,
        config: Config,
        *,
        loop: asyncio.AbstractEventLoop,
        state: dict[str, Any] | None,
    ) -> None:
        super().__init__(loop, config)
        logged: bool = config.access_log and access_log.isEnabledFor(logging.INFO)
        self._application = Application(app, state, logged)
        self._root_path = _root_path(config.root_path)

    def protocol(self) -> asyncio.Protocol:
        """Makes the protocol of a new connection; loop.create_server() calls this."""
        connection: asyncio.Protocol = compiled.CONNECTION(self)
        return connection

    def openers(self, connection: ServerConnection) -> Openers:
        """Returns the functions that begin the exchanges of a connection.

        A connection that changes from HTTP/1 to HTTP/2 asks again, because scopes differ then.
        """
        base = scope_base(connection, self._root_path)
        return Openers(partial(compiled.REQUEST, self._application, connection, base))

    def refused(self, connection: ServerConnection, fault: Event) -> None:
        """Logs a request that the engine has answered by itself, without the application."""
        _, _, reason, wire, _, _, method, target = fault
        if self._application.access_log and 100 <= wire <= 599:
            access.refused(peer_name(connection), method, target, wire, reason)
