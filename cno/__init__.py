"""cno: an ASGI server for HTTP/1.1 and HTTP/2 on a C engine of its own.

`cno.run(app, **options)` serves until a signal. `async with cno.serve(app, **options) as server`
serves inside a running event loop. The options are those of `cno-asgi --help`. Below ASGI there are
`cno.Server`, whose handler is one coroutine function, `cno.connect` and `cno.request` on the other
side, and `cno.raw`, the engine itself.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cno.client.dial import connect, request
    from cno.client.errors import (
        BadResponse,
        ConnectFailed,
        ConnectionLost,
        ConnectTimeout,
        RequestFailed,
        RequestTimeout,
        StreamReset,
        TLSFailed,
        Unprocessed,
    )
    from cno.client.protocol import Client
    from cno.client.response import Push, Response
    from cno.process.service import serve
    from cno.process.supervisor import run
    from cno.server.protocol import Server, ServerGroup
    from cno.server.reply import ClientDisconnected
    from cno.server.request import Request
    from cno.transport.channel import Channel

__version__ = "0.1.0"

__all__ = [
    "BadResponse",
    "Channel",
    "Client",
    "ClientDisconnected",
    "ConnectFailed",
    "ConnectTimeout",
    "ConnectionLost",
    "Push",
    "Request",
    "RequestFailed",
    "RequestTimeout",
    "Response",
    "Server",
    "ServerGroup",
    "StreamReset",
    "TLSFailed",
    "Unprocessed",
    "__version__",
    "connect",
    "request",
    "run",
    "serve",
]

# Loaded on first use: `import cno` alone costs nothing.
_HOMES = {
    **dict.fromkeys(
        (
            "BadResponse",
            "ConnectFailed",
            "ConnectTimeout",
            "ConnectionLost",
            "RequestFailed",
            "RequestTimeout",
            "StreamReset",
            "TLSFailed",
            "Unprocessed",
        ),
        "cno.client.errors",
    ),
    "Channel": "cno.transport.channel",
    "Client": "cno.client.protocol",
    "ClientDisconnected": "cno.server.reply",
    "Push": "cno.client.response",
    "Request": "cno.server.request",
    "Response": "cno.client.response",
    "Server": "cno.server.protocol",
    "ServerGroup": "cno.server.protocol",
    "connect": "cno.client.dial",
    "request": "cno.client.dial",
    "run": "cno.process.supervisor",
    "serve": "cno.process.service",
}


if not TYPE_CHECKING:  # which would believe that there is everything

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'cno' has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
