"""libcno, one to one: `Connection` has the functions and events of csrc/core.h as methods.

Errors are exceptions, all of them Error and so ConnectionError: ProtocolError is what the peer did
wrong, UsageError what the caller did, StreamGone of this stream alone, WouldBlock for now,
Disconnected for good. Every constant of the C headers is an attribute of this module under its C
name (`CNO_CLIENT`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from cno.engine.binding import Engine
from cno.engine.errors import (
    Disconnected,
    Error,
    OutOfMemory,
    ProtocolError,
    StreamGone,
    UsageError,
    WouldBlock,
)
from cno.engine.events import CONSTANTS, Event
from cno.engine.fields import Fields, Headers, as_octets, as_text, packed, pairs

__all__ = [
    "Connection",
    "Disconnected",
    "Error",
    "OutOfMemory",
    "ProtocolError",
    "StreamGone",
    "UsageError",
    "WouldBlock",
]

globals().update(CONSTANTS)
CNO_BATCH_START = CONSTANTS["CNO_BATCH_START"]
CNO_EVENT_CLOSE = CONSTANTS["CNO_EVENT_CLOSE"]
CNO_EVENT_DATA = CONSTANTS["CNO_EVENT_DATA"]
CNO_EVENT_END = CONSTANTS["CNO_EVENT_END"]
CNO_EVENT_FAULT = CONSTANTS["CNO_EVENT_FAULT"]
CNO_EVENT_FLOW = CONSTANTS["CNO_EVENT_FLOW"]
CNO_EVENT_HEAD = CONSTANTS["CNO_EVENT_HEAD"]
CNO_EVENT_PONG = CONSTANTS["CNO_EVENT_PONG"]
CNO_EVENT_PRIORITY = CONSTANTS["CNO_EVENT_PRIORITY"]
CNO_EVENT_PUSH = CONSTANTS["CNO_EVENT_PUSH"]
CNO_EVENT_SETTINGS = CONSTANTS["CNO_EVENT_SETTINGS"]
CNO_EVENT_START = CONSTANTS["CNO_EVENT_START"]
CNO_EVENT_TAIL = CONSTANTS["CNO_EVENT_TAIL"]
CNO_MESSAGE_FINAL = CONSTANTS["CNO_MESSAGE_FINAL"]
CNO_MESSAGE_UPGRADE = CONSTANTS["CNO_MESSAGE_UPGRADE"]
_UPGRADE = -1  # an event of `Connection` alone: the engine has a flag for it


def __getattr__(name: str) -> int:
    """The constants, for type checkers."""
    raise AttributeError(f"module 'cno.raw' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *CONSTANTS])


class Connection:
    """A connection whose events are methods that a subclass overrides.

    Octets to send come as `on_writev`; everything that happened during a call is told in order
    before the call returns. What an event raises ends the telling and is raised by the call; the
    rest is told by the next one.
    """

    def __init__(self, *, server: bool) -> None:
        """Raises MemoryError."""
        self._engine = Engine(server=server)
        self._untold: deque[Event] = deque()
        self._telling = False
        self._fault: ProtocolError | None = None
        self._refused: tuple[str, bytes] | None = None

    # ---- life ---------------------------------------------------------------------------------

    def configure(self, **settings: int) -> None:
        """Changes our settings by the names of `struct cno_settings_t`; on a running HTTP/2
        connection they bind the peer when it acknowledges them. Raises UsageError when one is out
        of its range, WouldBlock until those before are acknowledged, TypeError for another name."""
        self._engine.configure(**settings)
        self._tell()

    def limit(self, **limits: int) -> None:
        """Changes limits by their names in struct cno_limits_t, before connection_made.

        Raises UsageError when one is out of its range or it is too late, TypeError for another
        name.
        """
        self._engine.limit(**limits)

    def manual_flow(self, *, connection: bool = False) -> None:
        """Windows are reopened by open_flow alone: those of streams, and that of the connection if
        so asked. Before connection_made."""
        self._engine.manual_flow(connection=connection)

    def connection_made(
        self,
        is_http2: bool = False,
        *,
        prior_knowledge: bool = True,
        offer_upgrade: bool = False,
        h2c: bool = False,
    ) -> None:
        """The transport is up; a server speaking HTTP/1 turns to HTTP/2 at its preface, unless
        `prior_knowledge` is off. With `offer_upgrade` it tells of a request to upgrade by
        on_upgrade, and of its end (on_message_tail) only when the answer is not 101. `h2c` lets
        HTTP/1 turn to HTTP/2 by Upgrade (RFC 7540 section 3.2): a server when it is asked, a client
        asks with its first request if that has no body. Raises UsageError for a second call."""
        self._engine.begin(
            http2=is_http2,
            prior_knowledge=prior_knowledge,
            offer_upgrade=offer_upgrade,
            h2c=h2c,
        )
        self._tell()

    def connection_lost(self) -> None:
        """The transport is gone. Raises ProtocolError when that cut a stream, after its events."""
        try:
            self._engine.eof()
        finally:
            self._tell()

    def data_received(self, data: bytes) -> None:
        """Octets from the transport. Raises ProtocolError, after the events, if they were wrong,
        WouldBlock when too much is kept already (nothing was taken), Disconnected after the end."""
        data = bytes(data)
        self._tell(self._engine.feed(data), data)

    def shutdown(self, *, final: bool = True) -> None:
        """No new streams; on_close when those that are open have ended. On HTTP/2, without `final`
        this is only announced, and nothing refused yet (RFC 9113 section 6.8)."""
        self._engine.shutdown(final=final)
        self._tell()

    @property
    def settings_unacked(self) -> int:
        """How many SETTINGS frames of ours the peer has not acknowledged; a caller that waited too
        long ends the connection by write_reset(0, CNO_RST_SETTINGS_TIMEOUT)."""
        return self._engine.settings_unacked

    @property
    def closing(self) -> bool:
        """Whether a new request of a client would fail with Disconnected."""
        return self._engine.closing

    @property
    def pending(self) -> int:
        """How many octets are kept until an HTTP/1 exchange is over, or its tunnel is granted: then
        data_received(b"") goes on with them."""
        return self._engine.pending

    @property
    def refused(self) -> tuple[str, bytes] | None:
        """In on_fault of a server: method and target of the request that was refused, each empty
        where it is not known or malformed. None when the fault was not about the head of a request,
        and outside of on_fault."""
        return self._refused

    def open_flow(self, stream: int, size: int) -> None:
        """With manual_flow: `size` octets of this stream's body were used up. Nothing where there
        is no window: on HTTP/1, and when the stream has ended."""
        self._engine.open_flow(stream, size)
        self._tell()

    def priority(self, stream: int) -> tuple[int, bool]:
        """Urgency (0 first, 7 last) and whether the response is incremental (RFC 9218)."""
        return self._engine.priority(stream)

    # ---- writing ------------------------------------------------------------------------------
    @property
    def next_stream(self) -> int:
        """The id for the next request, or on a server for the next push."""
        return self._engine.next_stream

    @property
    def is_http2(self) -> bool:
        """Whether HTTP/2 is spoken."""
        return self._engine.http2

    def write_head(
        self, stream: int, code: int, method: str, path: str, headers: Headers, final: bool
    ) -> None:
        """A response head, or with code 0 a request head; 1xx may come before the final one.

        Raises, as all that write do, StreamGone when the stream has ended, UsageError for what
        cannot be sent, and Disconnected after the end of the connection: nothing was written then,
        and nothing else is harmed. WouldBlock when a request has to wait for its turn.
        """
        blob = packed(headers)
        self._engine.head(stream, code, as_octets(method), as_octets(path), blob, final)
        self._tell()

    def write_message(
        self,
        stream: int,
        code: int,
        method: str,
        path: str,
        headers: Headers,
        data: bytes,
        final: bool,
    ) -> int:
        """write_head and then write_data in one: returns how many octets of `data` were taken.
        Content-Length is checked against them before anything is written. Raises as they do."""
        blob = packed(headers)
        taken = self._engine.message(
            stream, code, as_octets(method), as_octets(path), blob, data, final
        )
        self._tell()
        return taken

    def write_push(self, stream: int, method: str, path: str, headers: Headers) -> None:
        """Promises a response to a request that the client of `stream` will want; does nothing
        where that is impossible or unwanted. Raises UsageError for what is no request."""
        self._engine.push(stream, as_octets(method), as_octets(path), packed(headers))
        self._tell()

    def write_data(self, stream: int, data: bytes, final: bool) -> int:
        """Returns how many octets were taken; wait for on_flow_increase to write the others.
        Raises as write_head does, WouldBlock for a tunnel that is not granted yet."""
        taken = self._engine.write(stream, data, final)
        self._tell()
        return taken

    def write_tail(self, stream: int, trailers: Headers) -> None:
        """Ends a message with trailers; HTTP/1 drops them unless the body is chunked. Raises as
        write_head does."""
        self._engine.tail(stream, packed(trailers))
        self._tell()

    def write_reset(self, stream: int, code: int) -> None:
        """Ends a stream; stream 0 is all and the connection, or with NO_ERROR a shutdown. Raises
        StreamGone."""
        self._engine.reset(stream, code)
        self._tell()

    def write_ping(self, payload: bytes) -> None:
        """PING with eight octets; on_pong brings them back. HTTP/1 has none. Raises ValueError for
        another number of octets."""
        self._engine.ping(payload)
        self._tell()

    # ---- events -------------------------------------------------------------------------------

    def on_writev(self, chunks: list[bytes]) -> None:
        """Octets for the transport."""

    def on_close(self) -> None:
        """Nothing more will be said: close the transport when all is written."""

    def on_stream_start(self, stream: int) -> None:
        """A stream begins."""

    def on_stream_end(self, stream: int, code: int, side: int) -> None:
        """A stream ended: 0 after a complete exchange, else a code of RFC 9113 section 7."""

    def on_flow_increase(self, stream: int) -> None:
        """More may be written on a stream, or (0) on all."""

    def on_message_head(
        self, stream: int, code: int, method: str, path: str, headers: list[tuple[str, str]]
    ) -> None:
        """A request (code 0) or response; a response's method is its HTTP/1 reason phrase."""

    def on_raw_head(
        self,
        stream: int,
        code: int,
        method: bytes,
        path: bytes,
        headers: Fields,
        flags: int,  # noqa: ARG002
    ) -> None:
        """The same in octets, with CNO_MESSAGE_* flags: told instead of on_message_head, which this
        calls with all that decoded as UTF-8, or else latin-1."""
        self.on_message_head(stream, code, as_text(method), as_text(path), pairs(headers))

    def on_upgrade(self, stream: int) -> None:
        """Behind the head of a request for a tunnel (CONNECT, or Upgrade where that is offered),
        and of the response that grants one: from there on the data of the stream has no framing."""

    def on_message_tail(self, stream: int, trailers: list[tuple[str, str]] | None) -> None:
        """The message is complete. None: it had no trailer section."""

    def on_raw_tail(self, stream: int, trailers: Fields | None) -> None:
        """The same in octets: told instead of on_message_tail, which this calls."""
        self.on_message_tail(stream, None if trailers is None else pairs(trailers))

    def on_message_data(self, stream: int, data: bytes) -> None:
        """A part of a body."""

    def on_message_push(
        self, stream: int, parent: int, method: str, path: str, headers: list[tuple[str, str]]
    ) -> None:
        """The server will answer a request that was not made; write_reset(stream) declines."""

    def on_raw_push(
        self, stream: int, parent: int, method: bytes, path: bytes, headers: Fields
    ) -> None:
        """The same in octets: told instead of on_message_push, which this calls."""
        self.on_message_push(stream, parent, as_text(method), as_text(path), pairs(headers))

    def on_settings(self) -> None:
        """The peer's settings have changed."""

    def on_pong(self, payload: bytes) -> None:
        """The answer to a PING."""

    def on_priority(self, stream: int, urgency: int, incremental: bool) -> None:
        """The client wants the response to one request in another order now (RFC 9218)."""

    def on_fault(self, stream: int, error: ProtocolError) -> None:
        """Something the peer sent was refused: on one stream, which ends, or (0) with the whole
        connection; then the call raises `error` as well. For logs."""

    # ---- telling ------------------------------------------------------------------------------

    def _tell(self, events: Iterable[Event] = (), data: bytes = b"") -> None:
        """Hands out the output, and then the events in order. A call from within an event only adds
        to what is to be told."""
        for event in (*events, *self._engine.events()):
            self._untold.extend(_parts(event, data))
        if octets := self._engine.output():
            self.on_writev([octets])
        if self._telling:
            return
        self._telling = True
        try:
            while self._untold:
                event = self._untold.popleft()
                if event[0] == CNO_EVENT_FAULT:
                    fault = ProtocolError(event[5], event[2], event[3], int(event[4]))
                    self._fault = self._fault if event[1] else fault
                    self._refused = None if event[6] is None else (event[6], event[7])
                    self.on_fault(event[1], fault)
                    self._refused = None
                else:
                    _TELLERS[event[0]](self, *event[1:])
        finally:
            self._telling = False
            self._refused = None
        if self._fault is not None:
            fault, self._fault = self._fault, None
            try:
                raise fault
            finally:
                del fault  # whose traceback has this frame


def _parts(event: Event, data: bytes) -> Iterator[Event]:
    """One event of the engine as those of `Connection`; `data` is what DATA is a slice of."""
    kind, stream = event[:2]
    if kind == CNO_EVENT_HEAD:
        flags, code, method, target, _, _, fields = event[2:]
        if flags & CNO_BATCH_START:
            yield (CNO_EVENT_START, stream)
        yield (kind, stream, code, as_octets(method), target, fields, flags & ~CNO_BATCH_START)
        if flags & CNO_MESSAGE_UPGRADE:
            yield (_UPGRADE, stream)
        if flags & CNO_MESSAGE_FINAL:
            yield (CNO_EVENT_TAIL, stream, None)
    elif kind == CNO_EVENT_DATA:
        yield (kind, stream, event[3] if event[2] < 0 else data[event[2] : event[3]])
    elif kind == CNO_EVENT_END:
        yield (kind, stream, event[2] & 0xFFFFFFFF, event[3])  # it crosses as a signed number
    elif kind == CNO_EVENT_PUSH:
        yield (CNO_EVENT_START, stream)
        yield (kind, stream, event[2], as_octets(event[3]), event[4], event[5])
    else:
        yield event


_TELLERS: dict[int, Any] = {
    CNO_EVENT_START: lambda self, stream: self.on_stream_start(stream),
    CNO_EVENT_HEAD: lambda self, *event: self.on_raw_head(*event),
    CNO_EVENT_DATA: lambda self, *event: self.on_message_data(*event),
    CNO_EVENT_TAIL: lambda self, *event: self.on_raw_tail(*event),
    _UPGRADE: lambda self, stream: self.on_upgrade(stream),
    CNO_EVENT_END: lambda self, *event: self.on_stream_end(*event),
    CNO_EVENT_FLOW: lambda self, stream: self.on_flow_increase(stream),
    CNO_EVENT_PUSH: lambda self, *event: self.on_raw_push(*event),
    CNO_EVENT_SETTINGS: lambda self, _: self.on_settings(),
    CNO_EVENT_PONG: lambda self, _, payload: self.on_pong(payload),
    CNO_EVENT_CLOSE: lambda self, _: self.on_close(),
    CNO_EVENT_PRIORITY: lambda self, stream, u, i: self.on_priority(stream, u, bool(i)),
}
