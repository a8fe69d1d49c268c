"""The connection of a server: requests come, are answered by tasks, and it ends in good order.

Knows requests by what they let happen to them, and nothing of ASGI.
"""

from __future__ import annotations

import asyncio
import math
import ssl
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from marshal import dumps
from typing import Any, Protocol

from cno.engine.binding import Defaults, Engine
from cno.engine.errors import Error
from cno.engine.events import (
    EVENT_PONG,
    EVENT_SETTINGS,
    RST_CANCEL,
    RST_INTERNAL_ERROR,
    RST_NO_ERROR,
    RST_REFUSED_STREAM,
    Event,
)
from cno.observe.logs import error as log
from cno.transport import connection
from cno.transport.connection import Connection, peer_name

# Seconds that the peer has to close after us, so that our last words are not lost to a reset.
LINGER = 2.0

# Seconds between the two GOAWAYs of a shutdown, if the PING between them is not answered.
DRAIN = 1.0


# Tasks start without a turn of the loop where the interpreter can do that. Where it cannot, loggers
# do not show names of tasks either, and to make one up is a thirtieth of a small request.
_TASK: dict[str, Any] = (
    {"eager_start": True} if sys.version_info >= (3, 12) else {"name": "cno request"}
)

# What a 500 says that no application wrote; its fields as Engine.answer takes them.
FAILED = b"Internal Server Error"
FAILED_FIELDS = dumps(
    [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")], 2
)

_DRAINED = b"draining"  # the payload of the PING between two GOAWAYs


class ClientDisconnected(ConnectionResetError):
    """The client has gone, or has given up on this request; nothing can be sent any more."""


class Stream(connection.Stream, Protocol):
    """What a connection does to a request."""

    body_done: bool
    task: asyncio.Task[None]

    def run(self) -> Coroutine[Any, Any, None]:
        """What `task` does: answers. At its end it takes itself out of ServerConnection.running."""

    def hang_up(self) -> None:
        """The client says no more, but may still listen."""

    @property
    def unanswered(self) -> bool:
        """Whether nothing was answered yet."""

    def awaited(self) -> object | None:
        """What waits for more of the body: another thing after each part."""


Opener = Callable[[Event], Stream]


class Host(Protocol):
    """What a connection is told by whoever serves."""

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

    def opener(self, connection: ServerConnection) -> Opener:
        """What begins a stream for each request head of this connection, as it is now."""

    def closed(self, connection: ServerConnection) -> None:
        """A connection has neither a transport nor an application running any more."""


class ServerConnection(Connection):
    """A server connection.

    `running` are the streams whose application has not returned: one that was reset keeps its place
    among SETTINGS_MAX_CONCURRENT_STREAMS until then (CVE-2023-44487).
    """

    gone_error = ClientDisconnected
    streams: dict[int, Stream]

    # Whether clients may ask for tunnels of other protocols: by Upgrade on HTTP/1 (RFC 9110 section
    # 7.8), by CONNECT with :protocol on HTTP/2 (RFC 8441).
    upgrades = False

    def __init__(self, host: Host, *, gateway: bool = True) -> None:
        """`gateway` shapes requests for an application server."""
        engine = Engine(server=True, serving=True, gateway=gateway, defaults=host.defaults)
        super().__init__(host.loop, engine)
        self.host = host
        self.answer = engine.answer
        self._open: Opener  # for the next request head
        self._start: Any = partial(asyncio.Task, loop=host.loop, **_TASK)
        self._max_streams = host.max_streams
        self.running: set[Stream] = set()
        self.gone = False  # the transport is
        self.server: tuple[str, int | None] | None = None
        self.scheme = "http"
        self.http_version = "1.1"
        self._unread = False  # the peer may be sending what we will not read
        self._busy = False  # since the last tick
        self._draining = False  # between the two GOAWAYs
        now = self.loop.time()
        self._deadline = now + (host.head_timeout or math.inf)  # for something to happen
        self._head_since = now  # a head is under way
        self._taken_at = now  # the client has read of what waits for it
        self._untaken = 0  # octets, at the last tick
        self._waits: dict[object, float] = {}  # since when things wait for the client

    # ---- the transport ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins as what ALPN chose; on plain TCP the first octets decide."""
        super().connection_made(transport)
        self.host.opened(self)
        secure: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        if secure is not None:
            self.scheme = "https"
            self.http2 = self.host.http2 and secure.selected_alpn_protocol() == "h2"
            self.http_version = "2" if self.http2 else "1.1"
        own = transport.get_extra_info("sockname")
        if isinstance(own, tuple):
            self.server = (str(own[0]), int(own[1]))
        elif own:
            self.server = (own if isinstance(own, str) else bytes(own).decode(), None)
        self._open = self.host.opener(self)
        self.engine.configure(
            max_concurrent_streams=self.host.max_streams,
            enable_connect_protocol=int(self.upgrades),
        )
        self.engine.begin(
            http2=self.http2,
            prior_knowledge=self.host.http2 and secure is None,
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
        del self._open  # which knows this connection
        self.gone = True
        self._lose_all()
        self.check_gone()

    # ---- events of the engine -----------------------------------------------------------------

    def _on_head(self, event: Event) -> None:
        if len(self.running) >= self._max_streams:
            self._reset(event[1], RST_REFUSED_STREAM)
            return
        self._busy = True
        stream = self._open(event)
        self.streams[event[1]] = stream
        self.running.add(stream)
        stream.task = self._start(stream.run())

    def _on_other(self, event: Event) -> None:
        if event[0] == EVENT_SETTINGS:
            self.http2 = True
            self.http_version = "2"
            self._open = self.host.opener(self)
        elif event[0] == EVENT_PONG and event[2] == _DRAINED:
            self._finish_drain()

    def _on_fault(self, event: Event) -> None:
        self._unread = self._unread or not event[1]
        super()._on_fault(event)

    # ---- answering ----------------------------------------------------------------------------

    def promise(self, parent: int, method: bytes, path: bytes, fields: bytes) -> None:
        """Pushes, where that is possible and wanted: begins a stream of ours. `fields` as for
        Engine.answer. Raises UsageError."""
        self.engine.push(parent, method, path, fields)
        self._tell()
        self.flush_soon()

    def responded(self, stream: Stream) -> None:
        """The response is complete: what is left of the request is not waited for."""
        self.streams.pop(stream.id, None)
        if not self.http2:
            self._unread = not stream.body_done
            if self.writable and self._transport is not None:
                self._transport.write(self._output())
            else:
                self.flush()
        else:
            if not stream.body_done and not self._over:
                self._reset(stream.id, RST_NO_ERROR)
            if not self._flushing:
                self.flush_soon()
        if self._batch.events_size:
            self._tell()
        if not self._reading or self._batch.kept:  # an eager task may answer within the read
            self._read_on()

    def _read_on(self) -> None:
        """The answer is out that what follows on the connection had to wait for."""
        self._full = False
        if self._half_closed:
            self._end()
        elif self._batch.kept:
            self.loop.call_soon(self.go_on)
        else:
            self._update_reading()

    def break_off(self, stream: Stream) -> None:
        """A response that cannot be completed: the client must not take it for whole."""
        if self.streams.pop(stream.id, None) is None or self._over:
            return
        self._reset(stream.id, RST_INTERNAL_ERROR)
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
        if _late(now - self._taken_at, self.host.write_timeout):
            self._give_up("it takes nothing of the response")
        elif self._over:
            if untaken:
                self._deadline = now + LINGER
            elif now >= self._deadline:
                self._transport.abort()
        elif _late(now - self._head_since, self.host.head_timeout):
            self._give_up("it does not complete the head of a request")
        elif self._busy or self.running or untaken:
            self._busy = False
            self._deadline = now + self.host.keep_alive
            self._check_waits(now)
        elif now >= self._deadline and self._head_since == now:
            self._shut_down()

    def _check_waits(self, now: float) -> None:
        """Gives up streams whose application waits for the client."""
        waits: dict[object, float] = {}
        blocked = {stream.id: future for future, stream in self._blocked.items()}
        for stream in list(self.streams.values()):
            writer, limit = blocked.get(stream.id), self.host.write_timeout
            wait: object = writer
            if writer is None and stream.unanswered:
                # Who has closed its side may have gone: no answer that is being made tells.
                wait = stream if self._half_closed else stream.awaited()
                limit = limit if self._half_closed else self.host.body_timeout
            if wait is not None:
                waits[wait] = since = self._waits.get(wait, now)
                if _late(now - since, limit):
                    self._give_up_stream(stream, writing=writer is not None)
        self._waits = waits

    def _give_up_stream(self, stream: Stream, *, writing: bool) -> None:
        if self._half_closed:
            self._give_up("it has closed its side, and its answer is not there")
            return
        what = "takes nothing of the response" if writing else "sends nothing of the body"
        log.info("%s - gave up stream %d: it %s", peer_name(self), stream.id, what)
        if writing:
            del self.streams[stream.id]
            self._lose(stream)
            self._reset(stream.id, RST_CANCEL)
            self.flush_soon()
        else:
            with suppress(Error):
                fields = dumps([(b"connection", b"close")], 2)
                self.answer(stream.id, 408, fields, b"", 0)  # RFC 9110 section 15.5.9
            self._lose(stream)
            self.responded(stream)

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
            self.host.closed(self)


def _late(seconds: float, limit: float) -> bool:
    return 0 < limit <= seconds
