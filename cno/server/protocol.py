"""cno.Server: an asyncio.Protocol that calls one coroutine function for each request.

Also cno.ServerGroup, which has the options of its servers and drains them together. ASGI is not
known here.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, cast

from cno.config.options import Config
from cno.server.connection import ServerConnection
from cno.server.exchange import Openers
from cno.server.group import MERCY, Group
from cno.server.request import Request

if TYPE_CHECKING:
    from typing_extensions import Unpack

Handler: TypeAlias = "Callable[[Request], Awaitable[Any]]"


class ServerOptions(TypedDict, total=False):
    """The options of Server and ServerGroup.

    Names, units and defaults are those of `cno-asgi`, except that the field `server` is off by
    default. `upgrade` is an option of this API alone: with it, handlers see and may grant requests
    for tunnels of other protocols.
    """

    http2: bool
    h2_max_concurrent_streams: int
    server_header: bool
    date_header: bool
    header: Sequence[tuple[bytes, bytes] | tuple[str, str] | str]
    timeout_keep_alive: float
    timeout_request_head: float
    timeout_request_body: float
    timeout_response_write: float
    upgrade: bool


# ---- connections --------------------------------------------------------------------------------


class ServerGroup(Group):
    """Servers with the same options on the same event loop, which are drained together.

    `cno.Server(loop, handle, group=group)` makes a server of the group. A group is drained once.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop | None = None, **options: Unpack[ServerOptions]
    ) -> None:
        """`loop` None is the running loop. Raises TypeError for the name of an unknown option, and
        ValueError for a value that an option cannot have."""
        for name in options:
            if name not in ServerOptions.__annotations__:
                raise TypeError(f"there is no option {name!r}")
        self.upgrade = options.pop("upgrade", False)
        if not isinstance(self.upgrade, bool):
            raise ValueError(f"upgrade must be True or False, not {self.upgrade!r}")
        config = Config(**{"server_header": False, **options})
        super().__init__(loop or asyncio.get_running_loop(), config)

    def openers(self, connection: ServerConnection) -> Openers:
        """Returns the function that makes the requests of a connection."""
        return Openers(partial(Request, cast(Server, connection)))

    async def drain(self, timeout: float | None = None) -> None:
        """Finishes the requests under way, takes no new requests, and closes the connections.

        After `timeout` seconds the connections that are still open are cut, which cancels their
        handlers. A handler that does not end after that is not waited for.
        """
        self.shutdown()
        closed = asyncio.ensure_future(self.wait_closed())
        try:
            await asyncio.wait({closed}, timeout=timeout)
            if not closed.done():
                self.abort()
                await asyncio.wait({closed}, timeout=2 * MERCY)
        finally:
            closed.cancel()


# By loop and options: the groups of servers that were made without `group`.
_Groups: TypeAlias = "weakref.WeakValueDictionary[Any, ServerGroup]"
_groups: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Groups]
_groups = weakref.WeakKeyDictionary()


def _group(loop: asyncio.AbstractEventLoop | None, options: ServerOptions) -> ServerGroup:
    """Returns the group that servers with these options share."""
    loop = loop or asyncio.get_running_loop()
    group: ServerGroup | None
    try:
        groups = _groups[loop]
    except KeyError:
        groups = _groups[loop] = weakref.WeakValueDictionary()
    key = repr(sorted(options.items())) if options else ""
    if (group := groups.get(key)) is None:
        group = groups[key] = ServerGroup(loop, **options)
    return group


class Server(ServerConnection):
    """One connection of a server; the factory for loop.create_server() returns a new Server.

    `await handle(request)` runs in a task of its own for each request. The task is cancelled when
    the client leaves before the response is complete, and never after that.
    """

    group: ServerGroup
    transport: asyncio.Transport

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop | None,
        handle: Handler,
        *,
        group: ServerGroup | None = None,
        **options: Unpack[ServerOptions],
    ) -> None:
        """`loop` None is the running loop, or the loop of `group`.

        Options are given here or to `group`, not to both. Raises TypeError and ValueError for the
        options, as ServerGroup does.
        """
        if group is None:
            group = _group(loop, options)
        elif options:
            raise TypeError("options cannot be given together with a group, which has its own")
        elif loop is not None and loop is not group.loop:
            raise ValueError("the group belongs to another loop")
        super().__init__(group, gateway=False)
        self._max_streams *= 2  # as many pushed requests as requests of the client
        self.upgrades = group.upgrade
        self.handle = handle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop. `transport` stays an attribute after the connection is lost."""
        self.transport = cast(asyncio.Transport, transport)
        super().connection_made(transport)

    def eof_received(self) -> bool:
        """Called when the client has closed its sending side. The payload of an HTTP/1 tunnel ends
        then, while the handler may go on writing."""
        for request in cast("list[Request]", [*self.streams.values()]):
            if request.tunnel and not self.http2:
                request.feed_end(None)
        return super().eof_received()

    def open_tunnel(self, request: Request) -> None:
        """Parses the input that was kept until the tunnel of this request was granted."""
        self.go_on()
        if self._half_closed and not self._over:
            request.feed_end(None)
