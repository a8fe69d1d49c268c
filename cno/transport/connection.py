"""The base class of client and server connections: an asyncio.Protocol around the engine.

This module has the incoming half: bytes of the transport go into the engine, events of the engine
go to the streams, and reading stops where memory would grow. The outgoing half is in writing.py.
Requests and responses are the business of cno.server and cno.client.
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

# Bytes of an HTTP/1 body that may wait for their reader before the socket is read no further. On
# HTTP/2 the window of the stream is the bound (SETTINGS_INITIAL_WINDOW_SIZE).
BODY_BUFFER = 65536


class Stream(Protocol):
    """The side of an exchange that its connection calls."""

    id: int

    def feed(self, data: bytes) -> int:
        """Takes a chunk of the incoming body; returns how many bytes wait to be read now."""

    def feed_end(self, trailers: Fields | None) -> None:
        """Called when the incoming body is complete. None: the body has no trailer section."""

    def lost(self) -> None:
        """Called when nothing can be sent or received on the stream any more."""


class Connection(Writing, asyncio.Protocol):
    """A connection of a client or of a server."""

    def __init__(self, loop: asyncio.AbstractEventLoop, engine: Engine) -> None:
        super().__init__(loop, engine)
        self._feed = engine.feed
        self.streams = {}
        self.peer: tuple[str, int] | None = None
        # The context in which callbacks run that belong to no single request (see `apart`).
        self.context = contextvars.copy_context()
        self._reading = True  # whether the transport reads from the socket
        self._full = False  # whether BODY_BUFFER bytes of an HTTP/1 body wait for their reader
        self._half_closed = False  # whether the peer has closed its sending side

    # ---- the transport ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop when the transport is connected."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH)
        self._secure = transport.get_extra_info("ssl_object") is not None
        self.context = contextvars.copy_context()
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self.peer = (str(peer[0]), int(peer[1]))

    def data_received(self, data: bytes) -> None:
        """Feeds the engine and hands out its events: one call and one list for each read."""
        if self._over:
            return  # the connection lingers, and the input is not wanted
        self._hand_out(self._feed(data), data)
        if self._ready:
            self._pump()
        if self._batch.out_size:
            self.flush_soon()
        if self._batch.kept:
            self._update_reading()

    # ---- events of the engine -----------------------------------------------------------------

    def _hand_out(self, events: Iterable[Event], data: bytes = b"") -> None:
        """Hands out events in order. DATA events are slices of `data`.

        Adjacent DATA events of one stream are joined, because the frames of HTTP/2 are small.
        """
        # (start, stop, stop) of a slice of `data`, or (-1, bytes, bytes).
        parts: list[tuple[int, int, Any]] = []
        body = 0  # the stream of the parts
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
        """Gives a chunk of a body to its stream."""
        exchange = self.streams.get(stream)
        if exchange is not None and exchange.feed(data) >= BODY_BUFFER and not self.http2:
            self._full = True
            self._update_reading()

    def _on_event(self, event: Event) -> None:
        """Handles an event that is neither HEAD nor DATA."""
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
        """Called when a stream has ended, after it was removed from `streams`."""
        self._lose(stream)

    def _on_other(self, event: Event) -> None:
        """Handles an event that only servers or only clients get."""

    def _end(self) -> None:
        """Called when the engine has ended the connection: neither side will send any more."""
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
        """Returns a fresh copy of the context in which the connection was accepted or made.

        Each request runs in a copy of its own, so that no request sees the context variables that
        another request has set.
        """
        return self.context.copy()

    def consumed(self, stream: int, size: int, left: int = 0) -> None:
        """Called when `size` bytes of a body were read, while `left` bytes wait to be read."""
        if not self.http2:
            self._full = left >= BODY_BUFFER
            self._update_reading()
        elif size:
            self.engine.open_flow(stream, size)
            if self._batch.out_size:
                self.flush_soon()

    def _update_reading(self) -> None:
        """Resumes or pauses reading from the socket.

        Reading stops while a body waits for its reader, while input waits for the end of an HTTP/1
        exchange, or while the peer does not read the output.
        """
        wanted = self._over or not (self._full or self._batch.kept or self._choked)
        if wanted == self._reading or self._transport is None or self._half_closed:
            return
        self._reading = wanted
        if wanted:
            # The loop calls data_received() in the context of the call that resumed reading. This
            # call may come from a request, whose context must not be seen by later requests.
            self.apart().run(self._transport.resume_reading)
        else:
            self._transport.pause_reading()

    def go_on(self) -> None:
        """Parses the input that the engine has kept until an HTTP/1 exchange was over or its tunnel
        was granted, and then reads on."""
        if not self._over:
            self.data_received(b"")
        self._update_reading()

    def go_on_soon(self) -> None:
        """Schedules go_on() for the next turn of the loop, outside the context of any request."""
        self.loop.call_soon(self.go_on, context=self.apart())

    def _reset(self, stream: int, code: int) -> None:
        with suppress(StreamGone, Disconnected):  # the stream may have ended in the same read
            self.engine.reset(stream, code)

    def _tell(self) -> None:
        """Hands out the events that a call other than data_received() has caused.

        One of them may be a HEAD: a server gets its own promises back as requests.
        """
        self._hand_out(self.engine.events())
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
    """Returns the address of the peer for a log line: host:port, or "unix"."""
    return f"{connection.peer[0]}:{connection.peer[1]}" if connection.peer else "unix"
