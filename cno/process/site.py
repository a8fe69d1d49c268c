"""Serves one ASGI application: gives out protocols and begins requests."""

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
    """With a slash in front and none behind; "" for the root itself."""
    path = path.strip("/")
    return f"/{path}" if path else ""


class Gateway(Keeper):
    """Serves one application on one event loop."""

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
        """The factory for loop.create_server."""
        return CONNECTION(self)

    def opener(self, connection: ServerConnection) -> Opener:
        """Begins requests of this connection, as it is now."""
        base = scope_base(connection, self._root_path)
        return partial(REQUEST, self._site, connection, base)
