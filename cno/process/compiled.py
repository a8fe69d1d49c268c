"""The classes that serve applications: compiled ones, or those in Python where there are none."""

from __future__ import annotations

import asyncio
import inspect
import sys
from marshal import loads
from typing import Any

from cno import asgi
from cno.engine import fast
from cno.gateway import scope
from cno.observe.logs import error as log
from cno.server import connection, reply
from cno.server.exchange import Group
from cno.transport.writing import LEND, QUANTUM

CONNECTION: Any = connection.ServerConnection
REQUEST: Any = asgi.Request

_HELPERS: dict[str, Any] = {
    "loads": loads,
    "task": asyncio.Task,
    "http_scope": scope.http_scope,
    "asgi": scope.ASGI,
    **{
        name: getattr(asgi, name)
        for name in (
            "Inbox as_coroutine send_slowly finish_send answered app_failed app_ended"
        ).split()
    },
    **{
        name: getattr(reply, name)
        for name in (
            "refusal gone checked fail refuse trail write_later end_later write_rest finish_rest"
        ).split()
    },
}


def _mark(method: Any) -> None:
    """Makes `iscoroutinefunction()` true for a callable that returns coroutines."""
    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(method)
    method._is_coroutine = getattr(asyncio.coroutines, "_is_coroutine", True)


if fast.MODULE is not None:
    fast.MODULE.bind((QUANTUM, LEND, sys.version_info >= (3, 11)), _HELPERS)
    _mark(fast.MODULE.Port)

    class CompiledConnection(fast.MODULE.Connection, connection.ServerConnection):  # type: ignore[misc]
        """A connection that begins and ends ordinary exchanges in C."""

        make_reply = fast.MODULE.Reply

        def __init__(self, group: Group) -> None:
            super().__init__(group)
            options = {"loop": group.loop, **connection.TASK}
            self.attach(self.engine, self.engine.address, options)

    CONNECTION, REQUEST = CompiledConnection, fast.MODULE.Request


_announced = False


def announce() -> None:
    """Logs that the classes in Python serve, and why. Once per process: the first server calls this
    when it starts, because loggers may not be set up before."""
    global _announced
    if fast.MODULE is not None or _announced:
        return
    _announced = True
    if fast.UNWANTED:
        log.info("Serving without the compiled classes: %s", fast.WHY_NOT)
    else:
        log.warning("Serving without the compiled classes, which is slower: %s", fast.WHY_NOT)


def describe() -> str:
    """Says in a few words which classes serve."""
    return f"Python classes ({fast.WHY_NOT})" if fast.MODULE is None else "compiled classes"
