"""The connection of a server: its exchanges and its end. The timeouts are in clock.py."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from cno.engine.binding import Engine
from cno.engine.events import (
    BATCH_WEBSOCKET,
    EVENT_PONG,
    EVENT_SETTINGS,
    HEAD_FLAGS,
    RST_INTERNAL_ERROR,
    RST_NO_ERROR,
    RST_REFUSED_STREAM,
    Event,
)
from cno.server.clock import TimedConnection
from cno.server.exchange import Exchange, Group, Opener
from cno.server.reply import DONE, ClientDisconnected, Reply
from cno.transport.connection import Stream
from cno.transport.writing import Part

# Seconds from the first GOAWAY of a shutdown to the second one, when the client does not answer the
# PING between them.
DRAIN = 1.0

# The payload of the PING between two GOAWAYs.
_DRAINED = b"draining"

# Arguments for the task of each request. From Python 3.12 on a task can start at once, without a
# turn of the loop. Before 3.12 log records have no task names, and one fixed name saves the time in
# which asyncio makes up a name for each task, which is a thirtieth of a small request.
TASK: dict[str, Any] = (
    {"eager_start": True} if sys.version_info >= (3, 12) else {"name": "cno request"}
)


class ServerConnection(TimedConnection):
    """One connection of a server.

    `running` has the exchanges whose application has not returned. `unfinished` counts those of
    `running` whose response is not complete, and is what SETTINGS_MAX_CONCURRENT_STREAMS limits: an
    exchange that was reset counts until its application returns, or a client could start any number
    of applications by resets (CVE-2023-44487). An exchange with a complete response no longer
    counts (RFC 9113 section 5.1.2), even while its application goes on.
    """

    gone_error = ClientDisconnected
    streams: dict[int, Exchange]

    # The class of the replies of this connection.
    make_reply: Any = Reply

    # Whether clients may ask for tunnels of other protocols: by Upgrade on HTTP/1 (RFC 9110 section
    # 7.8), and by CONNECT with :protocol on HTTP/2 (RFC 8441).
    upgrades = False

    def __init__(self, group: Group, *, gateway: bool = True) -> None:
        """With `gateway` the engine prepares requests for ASGI: a decoded path, `host` fields."""
        engine = Engine(server=True, serving=True, gateway=gateway, defaults=group.defaults)
        super().__init__(group, engine)
        self.answer = engine.answer
        self.open_request: Opener  # see Openers
        self.open_websocket: Opener | None
        self._max_streams = group.max_streams
        self.running: set[Exchange] = set()
        self.unfinished = 0
        self.gone = False  # whether the transport is closed
        self.server: tuple[str, int | None] | None = None  # the own address of the connection
        self.scheme = "http"
        self.http_version = "1.1"
        self._unread = False  # whether the client may be sending data that will not be read
        self._draining = False  # whether the first GOAWAY was sent and the second was not

    # ---- the transport ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins with the version that ALPN has chosen; on plain TCP the first bytes decide."""
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
        """Called when the client has closed its sending side.

        A complete HTTP/1 request is still answered (RFC 9112 section 9.6), and hang_up() tells its
        application. In all other cases the connection has no further use.
        """
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
        """Called when the transport is closed; every open exchange is lost."""
        self._over = True
        self._transport = None
        del self.open_request, self.open_websocket  # they refer to the connection: a cycle
        self.gone = True
        self._lose_all()
        self.check_gone()

    # ---- exchanges ----------------------------------------------------------------------------
    # Every request needs the following four methods. Their compiled twin is in
    # cno/engine/_fast_connection.c.

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
        """Makes the task of an exchange, which runs in a fresh copy of the connection's context."""
        context = self.apart()
        if sys.version_info >= (3, 11):
            return asyncio.Task(coroutine, loop=self.loop, context=context, **TASK)
        make: Any = asyncio.Task
        task: asyncio.Task[None] = context.run(make, coroutine, loop=self.loop, **TASK)
        return task

    def responded(self, reply: Reply) -> None:
        """Called when a response is complete. The rest of its request is not waited for."""
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
        # Input behind an HTTP/1 request may be kept even while reading goes on: a task that starts
        # at once can respond within data_received().
        if not self._reading or self._batch.kept:
            self._read_on()

    def returned(self, exchange: Exchange) -> None:
        """Called when an application has returned, or is no longer waited for."""
        if exchange not in self.running:
            return  # the group has given the application up before
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

    def _lose(self, stream: Stream) -> None:
        super()._lose(stream)
        if stream in self.running:
            self.group.left(stream)

    def _withdraw(self, part: Part) -> None:
        """Breaks off a response of which a cancelled send() has written only a part: the bytes of
        later sends must not be taken for the rest."""
        super()._withdraw(part)
        exchange = self.streams.get(part.stream)
        if part.at > part.start and exchange is not None:
            exchange.reply.broken_off()

    def _progress(self, stream: int, size: int) -> None:
        if (exchange := self.streams.get(stream)) is not None:
            exchange.reply.size += size

    # ---- answering ----------------------------------------------------------------------------

    def promise(self, parent: int, method: bytes, path: bytes, fields: bytes) -> None:
        """Pushes a response, if the client wants pushes and the version of HTTP has them.

        The promised request then comes back as a HEAD event. `fields` are marshalled as for
        Engine.answer. Raises UsageError for a request that HTTP does not allow.
        """
        self.engine.push(parent, method, path, fields)
        self._tell()
        self.flush_soon()

    def _read_on(self) -> None:
        """Takes up the input behind a response that is complete."""
        self._full = False
        if self._half_closed:
            self._end()
        elif self._batch.kept:
            self.go_on_soon()
        else:
            self._update_reading()

    def break_off(self, stream: int) -> None:
        """Ends a response that cannot be completed so that the client does not take it for whole: a
        reset on HTTP/2, an aborted connection on HTTP/1."""
        if self.streams.pop(stream, None) is None or self._over:
            return
        self._abandon(stream)
        self._reset(stream, RST_INTERNAL_ERROR)
        self.flush()
        if not self.http2 and self._transport is not None:
            self._over = True
            self._transport.abort()

    # ---- the end ------------------------------------------------------------------------------

    def shutdown(self) -> None:
        """Ends the connection when the requests under way are answered.

        On HTTP/2 a first GOAWAY announces the end and a second one, a round trip later, refuses new
        requests (RFC 9113 section 6.8). On HTTP/1 the next response has `connection: close`, and an
        idle connection closes at once.
        """
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
            self._end()  # a request whose head is not complete is dropped

    def cut(self) -> None:
        """Ends the connection at once. Applications learn of the end before the transport does."""
        self._over = True
        self._lose_all()
        if self._transport is not None:
            self._transport.abort()

    def _finish_drain(self) -> None:
        if self._draining and not self._over:
            self._draining = False
            self._shut_down()

    def _end(self) -> None:
        """Closes the transport behind the output that is written."""
        if self._over or self._transport is None:
            return
        self._over = True
        self._lose_all()
        self.flush()
        # The kernel sends a reset when a closed socket has, or gets, input that was not read, and
        # the reset may overtake the output. Only the sending side is closed in that case.
        unread = self._unread or (self.http2 and self._busy)
        self._linger()
        if self._half_closed or not unread or not self._transport.can_write_eof():
            self._transport.close()
            return
        with suppress(OSError):  # the client may have gone; the next read reports that
            self._transport.write_eof()
        self._update_reading()

    def check_gone(self) -> None:
        """Reports to the group when the connection has neither transport nor application."""
        if self.gone and not self.running:
            self.group.closed(self)
