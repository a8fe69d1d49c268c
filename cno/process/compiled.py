"""The classes that serve applications: the compiled ones of cno.engine._fast, or those in Python.

The Python classes serve if the extension module is missing or CNO_NO_EXTENSIONS is set. A module
built from other headers than the engine raises ImportError.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
from marshal import loads
from typing import Any

from cno import asgi
from cno.engine.binding import ADDRESSES
from cno.gateway import scope
from cno.observe.logs import error as log
from cno.server import connection, reply
from cno.transport.writing import LEND, QUANTUM

CONNECTION: Any = connection.ServerConnection
REQUEST: Any = asgi.Request

# The reason why the Python classes serve; "" if the compiled ones do.
WHY_NOT = ""

_HELPERS: dict[str, Any] = {
    "loads": loads,
    "task": asyncio.Task,
    "http_scope": scope.http_scope,
    "asgi": scope.ASGI,
    **{
        name: getattr(asgi, name)
        for name in "Inbox as_coroutine send_slowly answered app_failed app_ended".split()
    },
    **{
        name: getattr(reply, name)
        for name in (
            "refusal gone checked fail refuse trail write_later write_rest finish_rest"
        ).split()
    },
}


def _mark(method: Any) -> None:
    """Makes `iscoroutinefunction()` true for a callable that returns coroutines."""
    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(method)
    method._is_coroutine = getattr(asyncio.coroutines, "_is_coroutine", True)


if os.environ.get("CNO_NO_EXTENSIONS"):
    WHY_NOT = "CNO_NO_EXTENSIONS is set"
else:
    try:
        from cno.engine import _fast
    except ImportError as error:
        WHY_NOT = f"cno.engine._fast cannot be imported: {error}"
        log.warning("Serving without compiled classes, which is slower: %s", WHY_NOT)
    else:
        _fast.bind(ADDRESSES, (QUANTUM, LEND, sys.version_info >= (3, 11)), _HELPERS)
        _mark(_fast.Port)

        class CompiledConnection(_fast.Connection, connection.ServerConnection):
            """A connection whose ordinary exchanges begin and end in C."""

            make_reply = _fast.Reply

            def __init__(self, group: connection.Group) -> None:
                super().__init__(group)
                options = {"loop": group.loop, **connection.TASK}
                self.attach(self.engine, self.engine.address, options)

        CONNECTION, REQUEST = CompiledConnection, _fast.Request
