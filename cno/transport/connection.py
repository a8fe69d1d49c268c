"""One connection on an event loop, of either side: an asyncio.Protocol around the engine.

Owns the transport, the order of writes and back-pressure in both directions. Knows streams by what
they let happen to them; what a server or a client is lies in serving.py and client.py.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Protocol, cast

from cno.engine.binding import Engine
from cno.engine.errors import Disconnected, StreamGone
from cno.engine.events import (
    EVENT_CLOSE,
    EVENT_DATA,
    EVENT_END,
    EVENT_FAULT,
    EVENT_FLOW,
    EVENT_HEAD,
    EVENT_TAIL,
    Event,
)
from cno.engine.fields import Fields
from cno.observe.logs import error as log

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

# Octets of an HTTP/1 body that wait for whom it is for before reading stops. The windows of HTTP/2
# bound the same (SETTINGS_INITIAL_WINDOW_SIZE).
BODY_BUFFER = 65536


class Stream(Protocol):
    """What a connection does to an exchange."""

    id: int

    def feed(self, data: bytes) -> int:
        """A part of the body that comes; returns how many octets wait to be read now."""

    def feed_end(self, trailers: Fields | None) -> None:
        """That body is complete; None: it had no trailer section."""

    def lost(self) -> None:
        """Nothing can be sent or will be received any more."""


class Connection(asyncio.Protocol):
    """A connection. `streams` are those that can be sent to."""

    # What a writer gets when its stream is gone.
    gone_error: type[ConnectionError] = ConnectionResetError

    streams: dict[int, Any]

    def __init__(self, loop: asyncio.AbstractEventLoop, engine: Engine) -> None:
        self.loop = loop
        self.engine = engine
        self._batch = engine.batch
        self._feed = engine.feed
        self._output = engine.output
        self.streams = {}
        self.http2 = False
        self.writable = True
        self.peer: tuple[str, int] | None = None
        self._transport: asyncio.Transport | None = None
        self._reading = True
        self._full = False  # a body waits for its reader
        self._choked = False  # output waits for the peer
        self._flushing = False
        self._half_closed = False  # then nothing is read any more either
        self._over = False
        self._turn = 0  # octets of bodies since others had a turn
        self._waiters: dict[asyncio.Future[None], Stream] = {}  # writers behind a full transport
        self._blocked: dict[asyncio.Future[None], Stream] = {}  # writers behind a closed window

    # ---- the transport ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is up."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self.peer = (str(peer[0]), int(peer[1]))

    def data_received(self, data: bytes) -> None:
        """One call into the engine and one list of events back, however much the octets held."""
        if self._over:
            return  # lingering
        for event in self._feed(data):
            if event[0] == EVENT_HEAD:
                self._on_head(event)
            else:
                self._on_event(event, data)
        if self._batch.out_size:
            self.flush_soon()
        if self._batch.kept:
            self._update_reading()

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

    # ---- events of the engine -----------------------------------------------------------------

    def _on_event(self, event: Event, data: bytes = b"") -> None:
        """Anything but a head. `data` is what DATA events are slices of."""
        kind = event[0]
        if kind == EVENT_DATA:
            if (stream := self.streams.get(event[1])) is not None:
                self._on_data(stream, event[3] if event[2] < 0 else data[event[2] : event[3]])
        elif kind == EVENT_TAIL:
            if (stream := self.streams.get(event[1])) is not None:
                stream.feed_end(event[2])
        elif kind == EVENT_END:
            if (stream := self.streams.pop(event[1], None)) is not None:
                self._on_end(stream, event)
        elif kind == EVENT_FLOW:
            self._wake(self._blocked, event[1])
        elif kind == EVENT_FAULT:
            self._on_fault(event)
        elif kind == EVENT_CLOSE:
            self._end()
        else:
            self._on_other(event)

    def _on_head(self, event: Event) -> None:
        raise NotImplementedError

    def _on_end(self, stream: Stream, event: Event) -> None:  # noqa: ARG002
        """A stream has ended. By now it is none of `streams`."""
        self._lose(stream)

    def _on_other(self, event: Event) -> None:
        """What only one of the sides cares for."""

    def _end(self) -> None:
        """Nothing more will be said or understood."""
        raise NotImplementedError

    def _on_data(self, stream: Stream, data: bytes) -> None:
        if stream.feed(data) >= BODY_BUFFER and not self.http2:
            self._full = True
            self._update_reading()

    def _on_fault(self, event: Event) -> None:
        _, stream, reason, wire, offset, text = event[:6]
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

    async def write_rest(
        self, stream: Stream, data: bytes | bytearray | memoryview, taken: int, final: bool
    ) -> None:
        """Writes a body from data[taken:] on, as the windows and the transport allow.

        Raises `gone_error`, or UsageError when it is longer or shorter than was said.
        """
        rest = memoryview(data)[taken:]
        while rest:
            part = rest[:QUANTUM]
            try:
                taken = self.engine.write(stream.id, part, final and len(part) == len(rest))
            except (StreamGone, Disconnected):
                raise self.gone_error from None
            rest = rest[taken:]
            if rest:
                self.flush_soon()
                if taken < len(part):
                    await self._wait(self._blocked, stream)
                await self.take_turns(stream, taken)

    async def take_turns(self, stream: Stream, size: int) -> None:
        """Called after `size` octets of a body: returns when the transport takes more, and lets
        others run after each QUANTUM. Raises `gone_error`."""
        self._turn += size
        if not self.writable:
            self._turn = 0
            await self._wait(self._waiters, stream)
        elif self._turn >= QUANTUM:
            self._turn = 0
            await asyncio.sleep(0)
            if stream.id not in self.streams:
                raise self.gone_error

    def _reset(self, stream: int, code: int) -> None:
        with suppress(StreamGone, Disconnected):  # it may have ended in the same read
            self.engine.reset(stream, code)

    def _tell(self) -> None:
        """Hands out what writing has made happen."""
        for event in self.engine.events():
            if event[0] == EVENT_HEAD:
                self._on_head(event)  # a promise is a request of ours
            else:
                self._on_event(event)

    async def _wait(self, where: dict[asyncio.Future[None], Stream], stream: Stream) -> None:
        if self._over or stream.id not in self.streams:
            raise self.gone_error
        future = self.loop.create_future()
        where[future] = stream
        try:
            await future
        finally:
            where.pop(future, None)
            del future  # what it raises would keep it, and it that

    def _wake(self, where: dict[asyncio.Future[None], Stream], stream: int = 0) -> None:
        for future, waiting in list(where.items()):
            if (not stream or waiting.id == stream) and not future.done():
                future.set_result(None)

    # ---- the end ------------------------------------------------------------------------------

    def _lose(self, stream: Stream) -> None:
        stream.lost()
        for where in (self._waiters, self._blocked):
            for future, waiting in list(where.items()) if where else ():
                if waiting is stream and not future.done():
                    future.set_exception(self.gone_error())

    def _lose_all(self) -> None:
        while self.streams:
            self._lose(self.streams.popitem()[1])


def peer_name(connection: Connection) -> str:
    """The other side for a log line."""
    return f"{connection.peer[0]}:{connection.peer[1]}" if connection.peer else "unix"
