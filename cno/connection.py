"""One connection on an event loop: an asyncio.Protocol around the engine.

Owns the transport, the order of writes, back-pressure in both directions and the end of the
connection. Knows streams by what they let happen to them, and nothing of ASGI.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, cast

from cno.engine import CONSTANTS, Defaults, Disconnected, Engine, Event, StreamGone
from cno.fields import Fields
from cno.logs import error as log

# Octets of a body that one writer puts out before it looks whether there is room, and others get
# their turn.
QUANTUM = 65536

# Octets of output that are gathered before they are handed to the transport.
GATHER = 65536

# Octets that the transport may hold before writers wait.
WRITE_HIGH = 131072

# Octets that the transport may hold before reading stops, because what is read makes more of them:
# answers too small to wait, and frames that answer frames.
OUTPUT_HIGH = 524288

# Octets of an HTTP/1 request body that wait for the application before reading stops. The windows
# of HTTP/2 bound the same (SETTINGS_INITIAL_WINDOW_SIZE).
BODY_BUFFER = 65536

# Seconds for the first request of a connection to arrive.
FIRST_REQUEST = 30.0

# Seconds that the peer has to close after us, so that our last words are not lost to a reset.
LINGER = 2.0

# Seconds between the two GOAWAYs of a shutdown, if the PING between them is not answered.
DRAIN = 1.0

_HEAD: int = CONSTANTS["CNO_EVENT_HEAD"]
_DATA: int = CONSTANTS["CNO_EVENT_DATA"]
_TAIL: int = CONSTANTS["CNO_EVENT_TAIL"]
_END: int = CONSTANTS["CNO_EVENT_END"]
_FLOW: int = CONSTANTS["CNO_EVENT_FLOW"]
_FAULT: int = CONSTANTS["CNO_EVENT_FAULT"]
_CLOSE: int = CONSTANTS["CNO_EVENT_CLOSE"]
_SETTINGS: int = CONSTANTS["CNO_EVENT_SETTINGS"]
_PONG: int = CONSTANTS["CNO_EVENT_PONG"]

# Tasks start without a turn of the loop where the interpreter can do that. Where it cannot, loggers
# do not show names of tasks either, and to make one up is a thirtieth of a small request.
_TASK: dict[str, Any] = (
    {"eager_start": True} if sys.version_info >= (3, 12) else {"name": "cno request"}
)

_DRAINED = b"draining"  # the payload of the PING between two GOAWAYs


class ClientDisconnected(ConnectionResetError):
    """The client has gone, or has given up on this request; nothing can be sent any more."""


class Stream(Protocol):
    """What a connection does to a request."""

    id: int
    body_done: bool
    task: asyncio.Task[None]

    def run(self) -> Coroutine[Any, Any, None]:
        """What `task` does: answers. At its end it takes itself out of Connection.running."""

    def feed(self, data: bytes) -> int:
        """A part of its body; returns how many octets wait for the application now."""

    def feed_end(self, trailers: Fields | None) -> None:
        """The body is complete; None: it had no trailer section."""

    def hang_up(self) -> None:
        """The client says no more, but may still listen."""

    def lost(self) -> None:
        """Nothing can be sent or will be received any more."""


Opener = Callable[[Event], Stream]


class Host(Protocol):
    """What a connection is told by whoever serves."""

    loop: asyncio.AbstractEventLoop
    http2: bool
    defaults: Defaults
    keep_alive: float  # seconds
    max_streams: int

    def opened(self, connection: Connection) -> None:
        """A connection has a transport."""

    def opener(self, connection: Connection) -> Opener:
        """What begins a stream for each request head of this connection, as it is now."""

    def closed(self, connection: Connection) -> None:
        """A connection has neither a transport nor an application running any more."""


class Connection(asyncio.Protocol):
    """A server connection.

    `streams` can be sent to. `running` are those whose application has not returned: one that was
    reset keeps its place among SETTINGS_MAX_CONCURRENT_STREAMS until then (CVE-2023-44487).
    """

    def __init__(self, host: Host, *, gateway: bool = True) -> None:
        """`gateway` shapes requests for an application server."""
        self.host = host
        self.loop = host.loop
        self.engine = Engine(server=True, serving=True, gateway=gateway, defaults=host.defaults)
        self._batch = self.engine.batch
        self._feed = self.engine.feed
        self._output = self.engine.output
        self.answer = self.engine.answer
        self._open: Opener  # for the next request head
        self._start: Any = partial(asyncio.Task, loop=host.loop, **_TASK)
        self._max_streams = host.max_streams
        self.streams: dict[int, Stream] = {}
        self.running: set[Stream] = set()
        self.http2 = False
        self.writable = True
        self.gone = False  # the transport is
        self.client: tuple[str, int] | None = None
        self.server: tuple[str, int | None] | None = None
        self.scheme = "http"
        self.http_version = "1.1"
        self._transport: asyncio.Transport | None = None
        self._reading = True
        self._full = False  # a body waits for its application
        self._choked = False  # output waits for the peer
        self._unread = False  # the peer may be sending what we will not read
        self._flushing = False
        self._half_closed = False  # then nothing is read any more either
        self._busy = False  # since the last tick
        self._deadline = self.loop.time() + FIRST_REQUEST  # for something to happen
        self._over = False
        self._turn = 0  # octets of bodies since others had a turn
        self._draining = False  # between the two GOAWAYs
        self._waiters: dict[asyncio.Future[None], Stream] = {}  # writers behind a full transport
        self._blocked: dict[asyncio.Future[None], Stream] = {}  # writers behind a closed window

    # ---- the transport ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins as what ALPN chose; on plain TCP the first octets decide."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH)
        self.host.opened(self)
        secure: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        if secure is not None:
            self.scheme = "https"
            self.http2 = self.host.http2 and secure.selected_alpn_protocol() == "h2"
            self.http_version = "2" if self.http2 else "1.1"
        peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if isinstance(peer, tuple):
            self.client = (str(peer[0]), int(peer[1]))
        if isinstance(own, tuple):
            self.server = (str(own[0]), int(own[1]))
        elif own:
            self.server = (own if isinstance(own, str) else bytes(own).decode(), None)
        self._open = self.host.opener(self)
        self.engine.configure(max_concurrent_streams=self.host.max_streams)
        self.engine.begin(http2=self.http2, prior_knowledge=self.host.http2 and secure is None)
        self.flush()

    def data_received(self, data: bytes) -> None:
        """One call into the engine and one list of events back, however much the octets held."""
        if self._over:
            return  # lingering
        for event in self._feed(data):
            if event[0] == _HEAD:
                self._on_head(event)
            else:
                self._on_event(event, data)
        if self._batch.out_size:
            self.flush_soon()
        if self._batch.kept:
            self._update_reading()

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

    def pause_writing(self) -> None:
        """The transport has enough: writers wait."""
        self.writable = False

    def resume_writing(self) -> None:
        """Writers go on, in the order in which they came."""
        self.writable = True
        self._wake(self._waiters)
        if self._choked:
            self._choked = False
            self._update_reading()

    def tick(self, now: float) -> None:
        """Called about once a second: gives up on a connection that has been idle for too long."""
        if not self._over and (self._busy or self.running):
            self._busy = False
            self._deadline = now + self.host.keep_alive
        elif self._transport is None or now < self._deadline:
            pass
        elif self._over:
            self._transport.abort()
        else:
            self._shut_down()

    # ---- events of the engine -----------------------------------------------------------------

    def _on_event(self, event: Event, data: bytes = b"") -> None:
        """Anything but a head. `data` is what DATA events are slices of."""
        kind = event[0]
        if kind == _DATA:
            if (stream := self.streams.get(event[1])) is not None:
                self._on_data(stream, event[3] if event[2] < 0 else data[event[2] : event[3]])
        elif kind == _TAIL:
            if (stream := self.streams.get(event[1])) is not None:
                stream.feed_end(event[2])
        elif kind == _END:
            if (stream := self.streams.pop(event[1], None)) is not None:
                self._lose(stream)
        elif kind == _SETTINGS:
            self.http2 = True
            self.http_version = "2"
            self._open = self.host.opener(self)
        elif kind == _FLOW:
            self._wake(self._blocked, event[1])
        elif kind == _FAULT:
            self._on_fault(event)
        elif kind == _CLOSE:
            self._end()
        elif kind == _PONG and event[2] == _DRAINED:
            self._finish_drain()

    def _on_head(self, event: Event) -> None:
        if len(self.running) >= self._max_streams:
            self._reset(event[1], CONSTANTS["CNO_RST_REFUSED_STREAM"])
            return
        self._busy = True
        stream = self._open(event)
        self.streams[event[1]] = stream
        self.running.add(stream)
        stream.task = self._start(stream.run())

    def _on_data(self, stream: Stream, data: bytes) -> None:
        if stream.feed(data) >= BODY_BUFFER and not self.http2:
            self._full = True
            self._update_reading()

    def _on_fault(self, event: Event) -> None:
        _, stream, reason, wire, offset, text = event
        self._unread = self._unread or not stream
        peer = peer_name(self)
        where = f" stream {stream}" if stream else ""
        log.warning(
            "%s -%s refused: %s at byte %d (%d): %s", peer, where, reason, offset, wire, text
        )

    # ---- reading ------------------------------------------------------------------------------

    def consumed(self, stream: int, size: int, left: int = 0) -> None:
        """The application has taken `size` octets of a body, of which `left` wait."""
        if not self.http2:
            self._full = left >= BODY_BUFFER
            self._update_reading()
        elif size:
            self.engine.open_flow(stream, size)
            if self._batch.out_size:
                self.flush_soon()

    def _update_reading(self) -> None:
        """Reads while there is room: octets kept behind an unfinished exchange, a body that nobody
        takes and output that nobody reads all stop it."""
        wanted = self._over or not (self._full or self._batch.kept or self._choked)
        if wanted == self._reading or self._transport is None or self._half_closed:
            return
        self._reading = wanted
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def go_on(self) -> None:
        """Reads on where an exchange that was unfinished, or a tunnel that was not granted, had
        stopped the engine."""
        if not self._over:
            self.data_received(b"")
        self._update_reading()

    # ---- writing ------------------------------------------------------------------------------

    def flush(self) -> None:
        """Hands the gathered output to the transport."""
        self._flushing = False
        transport = self._transport
        if (octets := self._output()) and transport is not None:
            transport.write(octets)
            if not self.writable and transport.get_write_buffer_size() > OUTPUT_HIGH:
                self._choked = True
                self._update_reading()

    def flush_soon(self) -> None:
        """HTTP/1: now. HTTP/2: once per turn of the loop, behind all that is ready to run."""
        if not self.http2 or self._batch.out_size >= GATHER:
            self.flush()
        elif not self._flushing:
            self._flushing = True
            self.loop.call_soon(self.flush)

    def promise(self, parent: int, method: bytes, path: bytes, fields: bytes) -> None:
        """Pushes, where that is possible and wanted: begins a stream of ours. `fields` as for
        Engine.answer. Raises UsageError."""
        self.engine.push(parent, method, path, fields)
        self._tell()
        self.flush_soon()

    async def write_rest(
        self, stream: Stream, data: bytes | bytearray | memoryview, taken: int, final: bool
    ) -> None:
        """Writes a body from data[taken:] on, as the windows and the transport allow.

        Raises ClientDisconnected, or UsageError when it is longer or shorter than was said.
        """
        rest = memoryview(data)[taken:]
        while rest:
            part = rest[:QUANTUM]
            try:
                taken = self.engine.write(stream.id, part, final and len(part) == len(rest))
            except (StreamGone, Disconnected):
                raise ClientDisconnected from None
            rest = rest[taken:]
            if rest:
                self.flush_soon()
                if taken < len(part):
                    await self._wait(self._blocked, stream)
                await self.take_turns(stream, taken)

    async def take_turns(self, stream: Stream, size: int) -> None:
        """Called after `size` octets of a body: returns when the transport takes more, and lets
        others run after each QUANTUM. Raises ClientDisconnected."""
        self._turn += size
        if not self.writable:
            self._turn = 0
            await self._wait(self._waiters, stream)
        elif self._turn >= QUANTUM:
            self._turn = 0
            await asyncio.sleep(0)

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
                self._reset(stream.id, CONSTANTS["CNO_RST_NO_ERROR"])
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
        self._reset(stream.id, CONSTANTS["CNO_RST_INTERNAL_ERROR"])
        self.flush()
        if not self.http2 and self._transport is not None:
            self._over = True
            self._transport.abort()

    def _reset(self, stream: int, code: int) -> None:
        with suppress(StreamGone, Disconnected):  # it may have ended in the same read
            self.engine.reset(stream, code)

    def _tell(self) -> None:
        """Hands out what writing has made happen."""
        for event in self.engine.events():
            if event[0] == _HEAD:
                self._on_head(event)  # a promise is a request of ours
            else:
                self._on_event(event)

    async def _wait(self, where: dict[asyncio.Future[None], Stream], stream: Stream) -> None:
        if self._over or stream.id not in self.streams:
            raise ClientDisconnected
        future = self.loop.create_future()
        where[future] = stream
        try:
            await future
        finally:
            where.pop(future, None)

    def _wake(self, where: dict[asyncio.Future[None], Stream], stream: int = 0) -> None:
        for future, waiting in list(where.items()):
            if (not stream or waiting.id == stream) and not future.done():
                future.set_result(None)

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
        if self._half_closed or not unread or not self._transport.can_write_eof():
            self._transport.close()
            return
        self._deadline = self.loop.time() + LINGER
        self._transport.write_eof()
        self._update_reading()

    def _lose(self, stream: Stream) -> None:
        stream.lost()
        for where in (self._waiters, self._blocked):
            for future, waiting in list(where.items()):
                if waiting is stream and not future.done():
                    future.set_exception(ClientDisconnected())

    def _lose_all(self) -> None:
        while self.streams:
            self._lose(self.streams.popitem()[1])

    def check_gone(self) -> None:
        """Forgets a connection that has neither transport nor application any more."""
        if self.gone and not self.running:
            self.host.closed(self)


def peer_name(connection: Connection) -> str:
    """The client for a log line."""
    return f"{connection.client[0]}:{connection.client[1]}" if connection.client else "unix"
