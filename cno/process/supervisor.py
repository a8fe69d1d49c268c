"""Runs a process that serves, from the configuration to the exit code."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

from cno.config.errors import StartupFailed
from cno.config.options import Config
from cno.observe import logs
from cno.observe.logs import error as log
from cno.process import heap, listen, loop, signals
from cno.process.service import Service

# The exit code of a process whose server could not start.
STARTUP_FAILED = 3


def run(app: Any, **options: Any) -> None:
    """Serves `app` (an ASGI application or "module:attribute") until SIGINT or SIGTERM.

    The options are those of the command line. Returns when the requests under way and the
    application's shutdown are finished, and at once after a second signal. Calls sys.exit(3) when
    the start fails. Raises ConfigError for the value of an option, TypeError for its name.
    """
    if code := supervise(Config(app=app, **options)):
        sys.exit(code)


def supervise(config: Config) -> int:
    """Sets up the loggers, serves until a signal, and returns the exit code of the process."""
    logs.configure(config.log_level, access_log=config.access_log)
    heap.keep()
    try:
        factory = loop.factory(config.loop)
        sockets = listen.bind(config)
    except StartupFailed as failure:
        log.error("%s", failure)
        return STARTUP_FAILED
    return loop.run(factory, _serve(config, sockets))


async def _serve(config: Config, sockets: list[socket.socket]) -> int:
    service = Service(config)
    starting = asyncio.ensure_future(service.start(sockets))

    def interrupt() -> None:
        if not starting.done():
            starting.cancel()
        elif service.closing:
            service.force()
        else:
            service.close()

    with signals.handled(interrupt):
        try:
            await starting
        except asyncio.CancelledError:
            return 0
        except StartupFailed as failure:
            log.error("%s", failure)
            return STARTUP_FAILED
        except Exception:
            log.exception("The application raised an exception while being loaded")
            return STARTUP_FAILED
        await service.wait_closed()
    return 0
