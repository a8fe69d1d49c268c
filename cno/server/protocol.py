"""cno.Server: an asyncio.Protocol that has every request answered by a coroutine function.

Knows the messages of HTTP and nothing of ASGI.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, cast

from cno.config.options import Config
from cno.server.connection import Openers, ServerConnection
from cno.server.group import MERCY, Group
from cno.server.request import Request

if TYPE_CHECKING:
    from typing_extensions import Unpack

Handler: TypeAlias = "Callable[[Request], Awaitable[Any]]"


class ServerOptions(TypedDict, total=False):
    """What Server and ServerGroup take, as `cno-asgi` does: same names, units and defaults, but no
    Server field unless it is asked for. And `upgrade`: handlers are told of requests for tunnels of
    other protocols."""

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
    """Servers with the same options on the same loop, which are drained together.

    `cno.Server(loop, handle, group=group)` makes one of them. For one drain.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop | None = None, **options: Unpack[ServerOptions]
    ) -> None:
        """`loop` None is the running one. Raises TypeError for an option that is none, ValueError
        for a value that it cannot have."""
        for name in options:
            if name not in ServerOptions.__annotations__:
                raise TypeError(f"there is no option {name!r}")
        self.upgrade = options.pop("upgrade", False)
        if not isinstance(self.upgrade, bool):
            raise ValueError(f"upgrade: {self.upgrade!r} is neither true nor false")
        config = Config(**{"server_header": False, **options})
        super().__init__(loop or asyncio.get_running_loop(), config)

    def openers(self, connection: ServerConnection) -> Openers:
        """What begins the requests of a connection."""
        return Openers(partial(Request, cast(Server, connection)))

    async def drain(self, timeout: float | None = None) -> None:
        """No new requests: what is under way is finished, then the connections close.

        After `timeout` seconds they are cut and what handlers are left are cancelled; one that goes
        on all the same is not waited for.
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


# The groups of servers that were given none, by their options.
_Groups: TypeAlias = "weakref.WeakValueDictionary[Any, ServerGroup]"
_groups: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Groups]
_groups = weakref.WeakKeyDictionary()


def _group(loop: asyncio.AbstractEventLoop | None, options: ServerOptions) -> ServerGroup:
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
    """One connection of a server: what the factory that loop.create_server is given returns.

    `await handle(request)` runs as a task for each request. It is cancelled when the client leaves
    before it has its answer, and never because it was answered.
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
        """`loop` None is the running one, or that of `group`, which has the options then.

        Raises TypeError and ValueError for the options, as ServerGroup does.
        """
        if group is None:
            group = _group(loop, options)
        elif options:
            raise TypeError("the options are those of the group")
        elif loop is not None and loop is not group.loop:
            raise ValueError("the group is of another loop")
        super().__init__(group, gateway=False)
        self._max_streams *= 2  # with those that are pushed
        self.upgrades = group.upgrade
        self.handle = handle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is up; it stays an attribute when it is closed."""
        self.transport = cast(asyncio.Transport, transport)
        super().connection_made(transport)

    def eof_received(self) -> bool:
        """The client has said all. In a tunnel the handler may still have something to say."""
        for request in cast("list[Request]", [*self.streams.values()]):
            if request.tunnel and not self.http2:
                request.feed_end(None)
        return super().eof_received()

    def open_tunnel(self, request: Request) -> None:
        """Takes what was kept until the tunnel of this request was granted."""
        self.go_on()
        if self._half_closed and not self._over:
            request.feed_end(None)
