"""What a server connection asks of its exchanges and of the group that it belongs to.

A connection sees a request only through the protocol Exchange. ASGI and handlers are the business
of the adapters that implement Exchange.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from cno.engine.binding import Defaults
from cno.engine.events import Event
from cno.server.reply import Reply
from cno.transport.connection import Stream

if TYPE_CHECKING:
    from cno.server.connection import ServerConnection


class Exchange(Stream, Protocol):
    """A request and the task that answers it, as the connection sees them.

    "The application" below is that task: it runs an ASGI or WSGI application or a handler.
    """

    reply: Reply
    body_done: bool  # whether the whole request has come

    def begin(self) -> None:
        """Starts the application, which calls ServerConnection.returned at its end."""

    def cancel(self) -> None:
        """Cancels the application."""

    def hang_up(self) -> None:
        """Called when the client has closed its sending side; the client may still be reading."""

    def wind_up(self) -> None:
        """Called when the server wants to end, so that an endless response can end in time."""

    def awaited(self) -> object | None:
        """Returns the future on which the application waits for more of the request's body, or
        None. Each wait has a new future, so that the timer sees progress."""


Opener = Callable[[Event], Exchange]


class Openers(NamedTuple):
    """The functions that make the exchanges of a connection from HEAD events."""

    request: Opener
    websocket: Opener | None = None  # None: `request` is called for WebSockets too


class Group(Protocol):
    """The group of connections that a connection belongs to, as the connection sees it."""

    loop: asyncio.AbstractEventLoop
    http2: bool
    defaults: Defaults
    max_streams: int

    # Timeouts in seconds. 0 means no limit, except for keep_alive, where 0 closes at once.
    keep_alive: float
    head_timeout: float
    body_timeout: float
    write_timeout: float

    def opened(self, connection: ServerConnection) -> None:
        """Called when the transport of a connection is connected."""

    def openers(self, connection: ServerConnection) -> Openers:
        """Returns the functions that make exchanges for the present version of HTTP."""

    def refused(self, connection: ServerConnection, fault: Event) -> None:
        """Called when the engine has refused input of the client, and has answered a refused
        request where HTTP allows an answer."""

    def left(self, exchange: Exchange) -> None:
        """Called when a client has gone before its response was complete, while the application
        still runs."""

    def closed(self, connection: ServerConnection) -> None:
        """Called when a connection has neither a transport nor a running application any more."""
