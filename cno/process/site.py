"""One application, served: gives out connections, and chooses the adapter for each request."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

from cno.asgi import Site as Application
from cno.config.options import Config
from cno.engine.events import Event
from cno.gateway.interface import App
from cno.gateway.scope import scope_base
from cno.observe import access
from cno.observe.logs import access as access_log
from cno.process import compiled
from cno.server.connection import Openers, ServerConnection
from cno.server.group import Group
from cno.transport.connection import peer_name


def _root_path(path: str) -> str:
    """With a slash in front and none behind; "" for the root itself."""
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
        """The factory for loop.create_server."""
        connection: asyncio.Protocol = compiled.CONNECTION(self)
        return connection

    def openers(self, connection: ServerConnection) -> Openers:
        """What begins the exchanges of this connection, as it is now."""
        base = scope_base(connection, self._root_path)
        return Openers(partial(compiled.REQUEST, self._application, connection, base))

    def refused(self, connection: ServerConnection, fault: Event) -> None:
        """A request that the engine has answered itself gets its line in the access log."""
        _, _, reason, wire, _, _, method, target = fault
        if self._application.access_log and 100 <= wire <= 599:
            access.refused(peer_name(connection), method, target, wire, reason)
