"""The classes that serve: compiled where cno._accel is there, the Python ones where it is not.

With CNO_NO_EXTENSIONS in the environment they are the Python ones.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
from collections.abc import Awaitable
from marshal import dumps, loads
from typing import Any

from cno import asgi
from cno.engine.binding import ADDRESSES
from cno.gateway.scope import ASGI, http_scope
from cno.server import connection as serving
from cno.server.connection import Host
from cno.transport import connection

CONNECTION: type[serving.ServerConnection] = serving.ServerConnection
REQUEST: type[asgi.Request] = asgi.Request


async def _awaited(awaitable: Awaitable[None]) -> None:
    await awaitable


def _mark(method: Any) -> None:
    """Makes it known as what returns coroutines, where that is asked with iscoroutinefunction."""
    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(method)
    method._is_coroutine = getattr(asyncio.coroutines, "_is_coroutine", True)


try:
    if os.environ.get("CNO_NO_EXTENSIONS"):
        raise ImportError("they are not wanted")
    from cno import _accel

    _accel.bind(ADDRESSES, connection.QUANTUM, loads, http_scope, ASGI, _awaited)
except ImportError:
    pass
else:
    _mark(_accel.Send)

    class CompiledConnection(_accel.Connection, serving.ServerConnection):
        """A connection that hands ordinary requests out in C."""

        def __init__(self, host: Host) -> None:
            super().__init__(host)
            self.attach(self.engine, self.engine.address)

    class CompiledRequest(_accel.Request, asgi.Request):
        """A request that is answered in C when it is an ordinary one."""

        slow_send = asgi.Request.send

        def _write(self, body: bytes, total: int) -> int:
            if type(self._fields) is tuple:  # as the compiled send() keeps them
                self._fields = dumps(list(self._fields), 2)
            return super()._write(body, total)

        async def write_on(self, body: bytes, taken: int) -> None:
            """The rest of an answer that did not fit."""
            await self._write_rest(body, taken, True)
            self._end()

    CONNECTION, REQUEST = CompiledConnection, CompiledRequest
