"""The connection of a server: requests come, each begins an exchange, and it ends in good order.

Knows exchanges by what they let happen to them, and nothing of ASGI.
"""

from __future__ import annotations

import asyncio
import math
import ssl
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from cno.engine.binding import Defaults, Engine
from cno.engine.events import (
    BATCH_WEBSOCKET,
    EVENT_PONG,
    EVENT_SETTINGS,
    HEAD_FLAGS,
    RST_CANCEL,
    RST_INTERNAL_ERROR,
    RST_NO_ERROR,
    RST_REFUSED_STREAM,
    Event,
)
from cno.observe.logs import error as log
from cno.server.reply import DONE, HELD, ClientDisconnected, Reply
from cno.transport import connection
from cno.transport.connection import Connection, peer_name

# Seconds that the peer has to close after us, so that our last words are not lost to a reset.
LINGER = 2.0

# Seconds between the two GOAWAYs of a shutdown, if the PING between them is not answered.
DRAIN = 1.0

# The payload of the PING between two GOAWAYs.
_DRAINED = b"draining"

# What every task of a request is made with. Tasks start without a turn of the loop where the
# interpreter can do that. Where it cannot, loggers do not show names of tasks either, and to make
# one up is a thirtieth of a small request.
TASK: dict[str, Any] = (
    {"eager_start": True} if sys.version_info >= (3, 12) else {"name": "cno request"}
)


class Exchange(connection.Stream, Protocol):
    """What a connection does to a request."""

    reply: Reply
    body_done: bool  # the client has said all

    def begin(self) -> None:
        """Has the request answered. At the end of that calls ServerConnection.returned."""

    def cancel(self) -> None:
        """Ends what answers the request: it is of no use any more."""

    def hang_up(self) -> None:
        """The client says no more, but may still listen."""

    def wind_up(self) -> None:
        """The server wants to end: a response that is made as things happen should end too."""

    def awaited(self) -> object | None:
        """The reader that waits for more of the request's body, or None; another object after each
        part, so that the timer sees progress."""


Opener = Callable[[Event], Exchange]


class Openers(NamedTuple):
    """What makes the exchanges of a connection, by the flags of a head."""

    request: Opener
    websocket: Opener | None = None  # None: as any other request


class Group(Protocol):
    """What a connection is told by the group of connections that it belongs to."""

    loop: asyncio.AbstractEventLoop
    http2: bool
    defaults: Defaults
    max_streams: int

    # Seconds; all but the first are for ever when 0.
    keep_alive: float
    head_timeout: float
    body_timeout: float
    write_timeout: float

    def opened(self, connection: ServerConnection) -> None:
        """A connection has a transport."""

    def openers(self, connection: ServerConnection) -> Openers:
        """What begins an exchange for each request head of this connection, as it is now."""

    def refused(self, connection: ServerConnection, fault: Event) -> None:
        """The engine has refused something of the client, and answered it where it can be."""

    def left(self, exchange: Exchange) -> None:
        """A client has gone before its answer was complete, while the application still runs."""

    def closed(self, connection: ServerConnection) -> None:
        """A connection has neither a transport nor an application running any more."""


class ServerConnection(Connection):
    """A server connection.

    `running` are the exchanges whose application has not returned, `unfinished` counts those of
    them that were not answered in full: an exchange that was reset keeps its place among
    SETTINGS_MAX_CONCURRENT_STREAMS until its application returns (CVE-2023-44487), and one that was
    answered does not (RFC 9113 section 5.1.2), whatever its application does then.
    """

    gone_error = ClientDisconnected
    streams: dict[int, Exchange]

    # What makes the replies of this connection.
    make_reply: Any = Reply

    # Whether clients may ask for tunnels of other protocols: by Upgrade on HTTP/1 (RFC 9110 section
    # 7.8), by CONNECT with :protocol on HTTP/2 (RFC 8441).
    upgrades = False

    def __init__(self, group: Group, *, gateway: bool = True) -> None:
        """`gateway` shapes requests for an application server."""
        engine = Engine(server=True, serving=True, gateway=gateway, defaults=group.defaults)
        super().__init__(group.loop, engine)
        self.group = group
        self.answer = engine.answer
        self.open_request: Opener  # for the next request head
        self.open_websocket: Opener | None
        self._max_streams = group.max_streams
        self.running: set[Exchange] = set()
        self.unfinished = 0
        self.gone = False  # the transport is
        self.server: tuple[str, int | None] | None = None
        self.scheme = "http"
        self.http_version = "1.1"
        self._unread = False  # the peer may be sending what we will not read
        self._busy = False  # since the last tick
        self._draining = False  # between the two GOAWAYs
        now = self.loop.time()
        self._deadline = now + (group.head_timeout or math.inf)  # for something to happen
        self._head_since = now  # a head is under way
        self._taken_at = now  # the client has read of what waits for it
        self._untaken = 0  # bytes, at the last tick
        self._waits: dict[object, float] = {}  # since when things wait for the client

    # ---- the transport ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins as what ALPN chose; on plain TCP the first bytes decide."""
        super().connection_made(transport)
        self.group.opened(self)
        secure: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        if secure is not None:
            self.scheme = "https"
            self.http2 = self.group.http2 and secure.selected_alpn_protocol() == "h2"
            self.http_version = "2" if self.http2 else "1.1"
        own = transport.get_extra_info("sockname")
        if isinstance(own, tuple):
            self.server = (str(own[0]), int(own[1]))
        elif own:
            self.server = (own if isinstance(own, str) else bytes(own).decode(), None)
        self.open_request, self.open_websocket = self.group.openers(self)
        self.engine.configure(
            max_concurrent_streams=self.group.max_streams,
            enable_connect_protocol=int(self.upgrades),
        )
        self.engine.begin(
            http2=self.http2,
            prior_knowledge=self.group.http2 and secure is None,
            offer_upgrade=self.upgrades,
        )
        self.flush()

    def eof_received(self) -> bool:
        """The client has said all. An HTTP/1 request that is complete is answered all the same
        (RFC 9112 section 9.6); its application may learn of it from receive()."""
        if self._over or not self.streams:
            return False
        complete = all(stream.body_done for stream in self.streams.values())
        if self.http2 or self.scheme == "https" or not complete:
            self.cut()
            return False
        self._half_closed = True
        self._reading = False
        for stream in list(self.streams.values()):
            stream.hang_up()
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Every request learns that nobody listens any more."""
        self._over = True
        self._transport = None
        del self.open_request, self.open_websocket  # which know this connection
        self.gone = True
        self._lose_all()
        self.check_gone()

    # ---- exchanges ----------------------------------------------------------------------------
    # These four are what every request needs, and are compiled in cno/engine/_fast_connection.c.

    def _on_head(self, event: Event) -> None:
        if self.unfinished >= self._max_streams:
            self._reset(event[1], RST_REFUSED_STREAM)
            return
        self._busy = True
        opener = self.open_request
        if event[HEAD_FLAGS] & BATCH_WEBSOCKET and self.open_websocket is not None:
            opener = self.open_websocket
        exchange = opener(event)
        self.streams[event[1]] = exchange
        self.running.add(exchange)
        self.unfinished += 1
        exchange.begin()

    def start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """The task of an exchange, in a context of its own."""
        context = self.apart()
        if sys.version_info >= (3, 11):
            return asyncio.Task(coroutine, loop=self.loop, context=context, **TASK)
        make: Any = asyncio.Task
        task: asyncio.Task[None] = context.run(make, coroutine, loop=self.loop, **TASK)
        return task

    def responded(self, reply: Reply) -> None:
        """A response is complete: what is left of its request is not waited for."""
        self.unfinished -= 1
        exchange = self.streams.pop(reply.id, None)
        unread = exchange is not None and not exchange.body_done
        if not self.http2:
            self._unread = unread
            self.flush()
        else:
            if unread and not self._over:
                self._reset(reply.id, RST_NO_ERROR)
            if not self._flushing:
                self.flush_soon()
        if self._batch.events_size:
            self._tell()
        if not self._reading or self._batch.kept:  # an eager task may answer within the read
            self._read_on()

    def returned(self, exchange: Exchange) -> None:
        """What answered a request has come to its end."""
        if exchange not in self.running:
            return  # given up before
        self.running.discard(exchange)
        if exchange.reply.state != DONE:
            self.unfinished -= 1
        if self.gone:
            self.check_gone()

    # ---- events of the engine -----------------------------------------------------------------

    def _on_other(self, event: Event) -> None:
        if event[0] == EVENT_SETTINGS:
            self.http2 = True
            self.http_version = "2"
            self.open_request, self.open_websocket = self.group.openers(self)
        elif event[0] == EVENT_PONG and event[2] == _DRAINED:
            self._finish_drain()

    def _on_fault(self, event: Event) -> None:
        self._unread = self._unread or not event[1]
        super()._on_fault(event)
        self.group.refused(self, event)

    def _lose(self, stream: connection.Stream) -> None:
        super()._lose(stream)
        if stream in self.running:
            self.group.left(stream)

    def _progress(self, stream: int, size: int) -> None:
        if (exchange := self.streams.get(stream)) is not None:
            exchange.reply.size += size

    # ---- answering ----------------------------------------------------------------------------

    def promise(self, parent: int, method: bytes, path: bytes, fields: bytes) -> None:
        """Pushes, where that is possible and wanted: begins a stream of ours. `fields` as for
        Engine.answer. Raises UsageError."""
        self.engine.push(parent, method, path, fields)
        self._tell()
        self.flush_soon()

    def _read_on(self) -> None:
        """The response is out that what follows on the connection had to wait for."""
        self._full = False
        if self._half_closed:
            self._end()
        elif self._batch.kept:
            self.go_on_soon()
        else:
            self._update_reading()

    def break_off(self, stream: int) -> None:
        """A response that cannot be completed: the client must not take it for whole."""
        if self.streams.pop(stream, None) is None or self._over:
            return
        self._abandon(stream)
        self._reset(stream, RST_INTERNAL_ERROR)
        self.flush()
        if not self.http2 and self._transport is not None:
            self._over = True
            self._transport.abort()

    # ---- time ---------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Called about once a second: gives up on a client that takes too long."""
        if self._transport is None:
            return
        untaken = self._transport.get_write_buffer_size()
        # What an application adds while there is room hides what the client takes.
        if not untaken or untaken < self._untaken or (self.writable and self.running):
            self._taken_at = now
        self._untaken = untaken
        if not self._over and (not self.engine.head_begun or (self.streams and not self.http2)):
            self._head_since = now
        if _late(now - self._taken_at, self.group.write_timeout):
            self._give_up("it takes nothing of the response")
        elif self._over:
            if untaken:
                self._deadline = now + LINGER
            elif now >= self._deadline:
                self._transport.abort()
        elif _late(now - self._head_since, self.group.head_timeout):
            self._give_up("it does not complete the head of a request")
        elif self._busy or self.running or untaken:
            self._busy = False
            self._deadline = now + self.group.keep_alive
            self._check_waits(now)
        elif now >= self._deadline and self._head_since == now:
            self._shut_down()

    def _check_waits(self, now: float) -> None:
        """Gives up exchanges whose application waits for the client for too long."""
        waits: dict[object, float] = {}
        for exchange in list(self.streams.values()):
            part, limit = self._stalled.get(exchange.id), self.group.write_timeout
            wait: object = None
            if part is not None:
                wait = (exchange.id, part.at)  # another one when a byte has gone
            elif exchange.reply.state <= HELD:
                # A client that has closed its side may have gone, and only writing would tell.
                wait = exchange if self._half_closed else exchange.awaited()
                limit = limit if self._half_closed else self.group.body_timeout
            if wait is not None:
                waits[wait] = since = self._waits.get(wait, now)
                if _late(now - since, limit):
                    self._give_up_exchange(exchange, writing=part is not None)
        self._waits = waits

    def _give_up_exchange(self, exchange: Exchange, *, writing: bool) -> None:
        if self._half_closed:
            self._give_up("it has closed its side, and its answer is not there")
            return
        what = "takes nothing of the response" if writing else "sends nothing of the body"
        log.info("%s - gave up stream %d: it %s", peer_name(self), exchange.id, what)
        if writing:
            del self.streams[exchange.id]
            self._lose(exchange)
            self._reset(exchange.id, RST_CANCEL)
            self.flush_soon()
        else:
            exchange.reply.refuse(408)  # RFC 9110 section 15.5.9
            exchange.lost()

    def _give_up(self, why: str) -> None:
        log.info("%s - cut: %s", peer_name(self), why)
        self.cut()

    # ---- the end ------------------------------------------------------------------------------

    def shutdown(self) -> None:
        """No new requests: HTTP/2 hears of it twice, a round trip apart (RFC 9113 section 6.8);
        HTTP/1 with the next answer, or at once when idle."""
        if self._over or self._draining:
            return
        if self.http2:
            self.engine.shutdown(final=False)
            self.engine.ping(_DRAINED)
            self._draining = True
            self.loop.call_later(DRAIN, self._finish_drain)
            self.flush()
        else:
            self._shut_down()

    def _shut_down(self) -> None:
        self.engine.shutdown(final=True)
        self.flush()
        self._tell()
        if not self.streams:
            self._end()  # what there is of a request is not one yet

    def cut(self) -> None:
        """Ends everything now; applications are told first."""
        self._over = True
        self._lose_all()
        if self._transport is not None:
            self._transport.abort()

    def _finish_drain(self) -> None:
        if self._draining and not self._over:
            self._draining = False
            self._shut_down()

    def _end(self) -> None:
        """All is said: the transport closes once the client has had it."""
        if self._over or self._transport is None:
            return
        self._over = True
        self._lose_all()
        self.flush()
        # Only where more may come in is a close a danger to what went out.
        unread = self._unread or (self.http2 and self._busy)
        self._deadline = self.loop.time() + LINGER
        if self._half_closed or not unread or not self._transport.can_write_eof():
            self._transport.close()
            return
        with suppress(OSError):  # the client may have gone, which reading is about to tell
            self._transport.write_eof()
        self._update_reading()

    def check_gone(self) -> None:
        """Forgets a connection that has neither transport nor application any more."""
        if self.gone and not self.running:
            self.group.closed(self)


def _late(seconds: float, limit: float) -> bool:
    return 0 < limit <= seconds
