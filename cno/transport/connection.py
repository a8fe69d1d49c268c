"""One connection on an event loop, of either role: an asyncio.Protocol around the engine.

This module has the incoming half: the transport's bytes, the engine's events, and when reading
stops. The outgoing half is in writing.py; what a server or a client is, in their packages.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Iterable
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
from cno.transport.writing import WRITE_HIGH, Writing

# Bytes of an HTTP/1 body that may wait for their reader before reading stops. The windows of HTTP/2
# bound the same (SETTINGS_INITIAL_WINDOW_SIZE).
BODY_BUFFER = 65536


class Stream(Protocol):
    """What a connection does to an exchange."""

    id: int

    def feed(self, data: bytes) -> int:
        """A part of the incoming body; returns how many bytes wait to be read now."""

    def feed_end(self, trailers: Fields | None) -> None:
        """The incoming body is complete; None: there was no trailer section."""

    def lost(self) -> None:
        """Nothing can be sent or will be received any more."""


class Connection(Writing, asyncio.Protocol):
    """A connection of either role."""

    def __init__(self, loop: asyncio.AbstractEventLoop, engine: Engine) -> None:
        super().__init__(loop, engine)
        self._feed = engine.feed
        self.streams = {}
        self.peer: tuple[str, int] | None = None
        # What everything begins in that does not belong to one request (see `apart`).
        self.context = contextvars.copy_context()
        self._reading = True
        self._full = False  # a body waits for its reader
        self._half_closed = False  # then nothing is read any more either

    # ---- the transport ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is up."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH)
        self._secure = transport.get_extra_info("ssl_object") is not None
        self.context = contextvars.copy_context()
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self.peer = (str(peer[0]), int(peer[1]))

    def data_received(self, data: bytes) -> None:
        """One call into the engine and one list of events back, however much the bytes held."""
        if self._over:
            return  # lingering
        self._hand_out(self._feed(data), data)
        if self._ready:
            self._pump()
        if self._batch.out_size:
            self.flush_soon()
        if self._batch.kept:
            self._update_reading()

    # ---- events of the engine -----------------------------------------------------------------

    def _hand_out(self, events: Iterable[Event], data: bytes = b"") -> None:
        """Hands out events in order. Parts of one body that came in one read are one part: frames
        of HTTP/2 are small. `data` is what DATA events are slices of."""
        parts: list[tuple[int, int, Any]] = []  # start, stop, or -1 and the bytes themselves
        body = 0  # the stream that they belong to
        for event in events:
            kind = event[0]
            if parts and (kind != EVENT_DATA or event[1] != body):
                self._on_body(body, parts, data)
                parts = []
            if kind == EVENT_DATA:
                body = event[1]
                parts.append((event[2], event[3], event[3]))
            elif kind == EVENT_HEAD:
                self._on_head(event)
            else:
                self._on_event(event)
        if parts:
            self._on_body(body, parts, data)

    def _on_body(self, stream: int, parts: list[tuple[int, int, Any]], data: bytes) -> None:
        start, stop, part = parts[0]
        if len(parts) > 1:
            view = memoryview(data)
            self._on_data(stream, b"".join([p if a < 0 else view[a:b] for a, b, p in parts]))
        else:
            self._on_data(stream, part if start < 0 else data[start:stop])

    def _on_data(self, stream: int, data: bytes) -> None:
        """A part of a body."""
        exchange = self.streams.get(stream)
        if exchange is not None and exchange.feed(data) >= BODY_BUFFER and not self.http2:
            self._full = True
            self._update_reading()

    def _on_event(self, event: Event) -> None:
        """Anything but a head or a part of a body."""
        kind = event[0]
        if kind == EVENT_TAIL:
            if (stream := self.streams.get(event[1])) is not None:
                stream.feed_end(event[2])
        elif kind == EVENT_END:
            if (stream := self.streams.pop(event[1], None)) is not None:
                self._on_end(stream, event)
        elif kind == EVENT_FLOW:
            self._opened(event[1])
        elif kind == EVENT_FAULT:
            self._on_fault(event)
        elif kind == EVENT_CLOSE:
            self._end()
        else:
            self._on_other(event)

    def _on_head(self, event: Event) -> None:
        raise NotImplementedError

    def _on_end(self, stream: Stream, event: Event) -> None:  # noqa: ARG002
        """A stream has ended and is none of `streams` any more."""
        self._lose(stream)

    def _on_other(self, event: Event) -> None:
        """An event that only one of the roles knows."""

    def _end(self) -> None:
        """Nothing more will be said or understood."""
        raise NotImplementedError

    def _on_fault(self, event: Event) -> None:
        _, stream, reason, wire, offset, text = event[:6]
        where = f" stream {stream}" if stream else ""
        log.warning(
            "%s -%s refused: %s at byte %d (%d): %s",
            peer_name(self),
            where,
            reason,
            offset,
            wire,
            text,
        )

    # ---- reading ------------------------------------------------------------------------------

    def apart(self) -> contextvars.Context:
        """A context of its own for something that begins on this connection: a copy of the one in
        which the connection was accepted or made. What the application of one request sets is seen
        by no other."""
        return self.context.copy()

    def consumed(self, stream: int, size: int, left: int = 0) -> None:
        """The application has taken `size` bytes of a body, of which `left` wait."""
        if not self.http2:
            self._full = left >= BODY_BUFFER
            self._update_reading()
        elif size:
            self.engine.open_flow(stream, size)
            if self._batch.out_size:
                self.flush_soon()

    def _update_reading(self) -> None:
        """Reads while there is room: bytes kept behind an unfinished exchange, a body that nobody
        takes and output that nobody reads all stop it."""
        wanted = self._over or not (self._full or self._batch.kept or self._choked)
        if wanted == self._reading or self._transport is None or self._half_closed:
            return
        self._reading = wanted
        if wanted:
            # The loop remembers the context for what it reads from now on.
            self.apart().run(self._transport.resume_reading)
        else:
            self._transport.pause_reading()

    def go_on(self) -> None:
        """Reads on where an exchange that was unfinished, or a tunnel that was not granted, had
        stopped the engine."""
        if not self._over:
            self.data_received(b"")
        self._update_reading()

    def go_on_soon(self) -> None:
        """The same in the next turn of the loop, and outside the context of any request."""
        self.loop.call_soon(self.go_on, context=self.apart())

    def _reset(self, stream: int, code: int) -> None:
        with suppress(StreamGone, Disconnected):  # the stream may have ended in the same read
            self.engine.reset(stream, code)

    def _tell(self) -> None:
        """Hands out the events that writing has caused."""
        self._hand_out(self.engine.events())  # among which a promise is a request of ours
        if self._ready:
            self._pump()

    # ---- the end ------------------------------------------------------------------------------

    def _lose(self, stream: Stream) -> None:
        stream.lost()
        self._abandon(stream.id)

    def _lose_all(self) -> None:
        while self.streams:
            self._lose(self.streams.popitem()[1])


def peer_name(connection: Connection) -> str:
    """The other side for a log line."""
    return f"{connection.peer[0]}:{connection.peer[1]}" if connection.peer else "unix"
