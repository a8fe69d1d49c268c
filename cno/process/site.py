"""Brings the connections of a server and an ASGI application together."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

from cno.accel import CONNECTION, REQUEST
from cno.asgi import Site
from cno.config.options import Config
from cno.gateway.interface import App
from cno.gateway.scope import scope_base
from cno.observe.logs import access as access_log
from cno.server.connection import Opener, ServerConnection
from cno.server.group import Keeper


def _root_path(path: str) -> str:
    """Returns `path` with a slash in front and none behind; "" for the root itself."""
    path = path.strip("/")
    return f"/{path}" if path else ""


class Gateway(Keeper):
    """The connections to one ASGI application on one event loop."""

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
        self._site = Site(app, state, logged)
        self._root_path = _root_path(config.root_path)

    def protocol(self) -> asyncio.Protocol:
        """Makes the protocol of a new connection; loop.create_server() calls this."""
        return CONNECTION(self)

    def opener(self, connection: ServerConnection) -> Opener:
        """Returns the function that begins the requests of a connection.

        A connection that changes from HTTP/1 to HTTP/2 asks again, because scopes differ then.
        """
        base = scope_base(connection, self._root_path)
        return partial(REQUEST, self._site, connection, base)
