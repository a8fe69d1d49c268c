"""libcno without sockets: the functions and events of csrc/core.h as methods of `Connection`.

All exceptions are subclasses of Error, which is a ConnectionError; cno/engine/errors.py describes
them. Every constant of the C headers is an attribute of this module by its C name (`CNO_CLIENT`).
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
_UPGRADE = -1  # the kind of on_upgrade(), for which the engine has a flag of HEAD and no event


def __getattr__(name: str) -> int:
    """Lets type checkers know that the module has further attributes: the constants."""
    raise AttributeError(f"module 'cno.raw' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *CONSTANTS])


class Connection:
    """A connection whose events are calls of methods that a subclass overrides.

    on_writev() gets the output. All events that a call has caused are reported in order before the
    call returns. An exception from a method of the subclass leaves the call that reported the
    event; the events behind it are reported by the next call.
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
        """Changes local settings by their names in `struct cno_settings_t`.

        On a running HTTP/2 connection the settings bind the peer once the peer has acknowledged
        them. Raises UsageError for a value that is out of range, WouldBlock while earlier settings
        are not acknowledged, and TypeError for an unknown name.
        """
        self._engine.configure(**settings)
        self._tell()

    def limit(self, **limits: int) -> None:
        """Changes limits by their names in `struct cno_limits_t`, before connection_made().

        Raises UsageError for a value that is out of range and after connection_made(), and
        TypeError for an unknown name.
        """
        self._engine.limit(**limits)

    def manual_flow(self, *, connection: bool = False) -> None:
        """Leaves it to open_flow() to reopen the windows of streams, and with `connection` the
        window of the connection as well. Has to be called before connection_made()."""
        self._engine.manual_flow(connection=connection)

    def connection_made(
        self,
        is_http2: bool = False,
        *,
        prior_knowledge: bool = True,
        offer_upgrade: bool = False,
        h2c: bool = False,
    ) -> None:
        """Begins the connection, once the transport is connected.

        A server that begins with HTTP/1 changes to HTTP/2 when the client sends the preface of
        HTTP/2, unless `prior_knowledge` is False. With `offer_upgrade` a server reports requests
        for an upgrade by on_upgrade(), and the end of such a request only when the answer is not
        101. `h2c` allows the change to HTTP/2 by Upgrade (RFC 7540 section 3.2): a server agrees to
        the change, and a client asks for the change with its first request, if that has no body.
        Raises UsageError for a second call.
        """
        self._engine.begin(
            http2=is_http2,
            prior_knowledge=prior_knowledge,
            offer_upgrade=offer_upgrade,
            h2c=h2c,
        )
        self._tell()

    def connection_lost(self) -> None:
        """Ends the connection when the transport has ended. If that has cut a stream, raises
        ProtocolError behind the events."""
        try:
            self._engine.eof()
        finally:
            self._tell()

    def data_received(self, data: bytes) -> None:
        """Parses bytes from the transport and reports the events.

        Raises ProtocolError, behind the events, when the bytes violate the protocol; WouldBlock
        when too many bytes are kept already, and none of `data` was taken; Disconnected after the
        end of the connection.
        """
        data = bytes(data)
        self._tell(self._engine.feed(data), data)

    def shutdown(self, *, final: bool = True) -> None:
        """Takes no new streams, and calls on_close() when the open streams have ended.

        On HTTP/2 without `final` the end is only announced to the peer, and new streams are still
        taken (RFC 9113 section 6.8).
        """
        self._engine.shutdown(final=final)
        self._tell()

    @property
    def settings_unacked(self) -> int:
        """The number of local SETTINGS frames that the peer has not acknowledged. A caller that has
        waited too long ends the connection by write_reset(0, CNO_RST_SETTINGS_TIMEOUT)."""
        return self._engine.settings_unacked

    @property
    def closing(self) -> bool:
        """Whether a new request of a client would fail with Disconnected."""
        return self._engine.closing

    @property
    def pending(self) -> int:
        """The number of bytes that are kept until an HTTP/1 exchange is over or its tunnel is
        granted. After that data_received(b"") parses them."""
        return self._engine.pending

    @property
    def refused(self) -> tuple[str, bytes] | None:
        """Within on_fault() of a server: method and target of the request that was refused.

        Either is empty if it is not known or malformed. None for a fault that is not in the head of
        a request, and outside of on_fault().
        """
        return self._refused

    def open_flow(self, stream: int, size: int) -> None:
        """With manual_flow(): reopens the window of a stream by the `size` bytes of its body that
        were read. Does nothing on HTTP/1 and for a stream that has ended."""
        self._engine.open_flow(stream, size)
        self._tell()

    def priority(self, stream: int) -> tuple[int, bool]:
        """Returns the priority of a request (RFC 9218): its urgency (0 first, 7 last) and whether
        the client can use parts of the response."""
        return self._engine.priority(stream)

    # ---- writing ------------------------------------------------------------------------------
    @property
    def next_stream(self) -> int:
        """The id of the next request, or on a server of the next push."""
        return self._engine.next_stream

    @property
    def is_http2(self) -> bool:
        """Whether HTTP/2 is spoken."""
        return self._engine.http2

    def write_head(
        self, stream: int, code: int, method: str, path: str, headers: Headers, final: bool
    ) -> None:
        """Writes a response head, or a request head if `code` is 0. Heads with 1xx may come in
        front of the final response head. `final`: the message has no body.

        All methods that write raise StreamGone when the stream has ended, UsageError for a message
        that HTTP does not allow, and Disconnected after the end of the connection. Nothing was
        written then, and other streams are not affected. This method also raises WouldBlock for a
        request that has to wait for its turn.
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
        """Writes a head and the body behind it, as write_head() and then write_data() would.

        Returns how many bytes of `data` were taken. Content-Length is compared with `data` before
        anything is written. Raises the exceptions of both methods.
        """
        blob = packed(headers)
        taken = self._engine.message(
            stream, code, as_octets(method), as_octets(path), blob, data, final
        )
        self._tell()
        return taken

    def write_push(self, stream: int, method: str, path: str, headers: Headers) -> None:
        """Promises a response to a request that the client has not made, together with `stream`.

        Does nothing on HTTP/1, and when the client does not want pushes. Raises UsageError for a
        request that HTTP does not allow.
        """
        self._engine.push(stream, as_octets(method), as_octets(path), packed(headers))
        self._tell()

    def write_data(self, stream: int, data: bytes, final: bool) -> int:
        """Writes a part of a body. With `final` the body ends, if all bytes were taken.

        Returns how many bytes were taken. The rest can be written after on_flow_increase(). Raises
        the exceptions of write_head(), and WouldBlock for a tunnel that is not granted yet.
        """
        taken = self._engine.write(stream, data, final)
        self._tell()
        return taken

    def write_tail(self, stream: int, trailers: Headers) -> None:
        """Ends a message with trailers, which HTTP/1 drops unless the body is chunked. Raises the
        exceptions of write_head()."""
        self._engine.tail(stream, packed(trailers))
        self._tell()

    def write_reset(self, stream: int, code: int) -> None:
        """Resets a stream with a code of RFC 9113 section 7; on HTTP/1 ends the connection.

        Stream 0 stands for all streams and the connection; with CNO_RST_NO_ERROR that is a
        shutdown(). Raises StreamGone.
        """
        self._engine.reset(stream, code)
        self._tell()

    def write_ping(self, payload: bytes) -> None:
        """Sends a PING with eight bytes; on_pong() gets the same bytes when the peer answers.

        Does nothing on HTTP/1. Raises ValueError for another number of bytes.
        """
        self._engine.ping(payload)
        self._tell()

    # ---- events -------------------------------------------------------------------------------

    def on_writev(self, chunks: list[bytes]) -> None:
        """Called with bytes for the transport."""

    def on_close(self) -> None:
        """Called when neither side will send any more: the transport can be closed behind the
        output."""

    def on_stream_start(self, stream: int) -> None:
        """Called when a stream begins."""

    def on_stream_end(self, stream: int, code: int, side: int) -> None:
        """Called when a stream has ended. `code` is 0 after a complete exchange, else a code of
        RFC 9113 section 7; `side` is the side that has ended the stream."""

    def on_flow_increase(self, stream: int) -> None:
        """Called when there is room for more data on a stream, or (0) on all streams."""

    def on_message_head(
        self, stream: int, code: int, method: str, path: str, headers: list[tuple[str, str]]
    ) -> None:
        """Called with the head of a request (code 0) or of a response. `method` of a response is
        the reason phrase of HTTP/1."""

    def on_raw_head(
        self,
        stream: int,
        code: int,
        method: bytes,
        path: bytes,
        headers: Fields,
        flags: int,  # noqa: ARG002
    ) -> None:
        """Called with the head of a message as bytes, and with CNO_MESSAGE_* flags.

        The default decodes the head (UTF-8, or else latin-1) and calls on_message_head().
        """
        self.on_message_head(stream, code, as_text(method), as_text(path), pairs(headers))

    def on_upgrade(self, stream: int) -> None:
        """Called behind the head of a request for a tunnel, and of the response that grants one.

        A request asks for a tunnel by CONNECT, or by Upgrade if the server offers upgrades. The
        data of a tunnel has no framing.
        """

    def on_message_tail(self, stream: int, trailers: list[tuple[str, str]] | None) -> None:
        """Called when a message is complete. None: the message has no trailer section."""

    def on_raw_tail(self, stream: int, trailers: Fields | None) -> None:
        """Called with the trailers as bytes. The default calls on_message_tail()."""
        self.on_message_tail(stream, None if trailers is None else pairs(trailers))

    def on_message_data(self, stream: int, data: bytes) -> None:
        """Called with a chunk of a body."""

    def on_message_push(
        self, stream: int, parent: int, method: str, path: str, headers: list[tuple[str, str]]
    ) -> None:
        """Called when the server promises a response to a request that was not made. The response
        comes on `stream`; write_reset() of that stream declines it."""

    def on_raw_push(
        self, stream: int, parent: int, method: bytes, path: bytes, headers: Fields
    ) -> None:
        """Called with a promised request as bytes. The default calls on_message_push()."""
        self.on_message_push(stream, parent, as_text(method), as_text(path), pairs(headers))

    def on_settings(self) -> None:
        """Called when the settings of the peer have come or changed."""

    def on_pong(self, payload: bytes) -> None:
        """Called with the payload of a PING that the peer has answered."""

    def on_priority(self, stream: int, urgency: int, incremental: bool) -> None:
        """Called when the client has changed the priority of a request (RFC 9218)."""

    def on_fault(self, stream: int, error: ProtocolError) -> None:
        """Called for logs when the peer has violated the protocol. The fault ends one stream, or
        (0) the whole connection; in the latter case the call also raises `error`."""

    # ---- reporting ----------------------------------------------------------------------------

    def _tell(self, events: Iterable[Event] = (), data: bytes = b"") -> None:
        """Reports the output, and then the events in order.

        A call from within an event only appends its own events; the outermost call reports them.
        """
        for event in (*events, *self._engine.events()):
            self._untold.extend(_parts(event, data))
        if output := self._engine.output():
            self.on_writev([output])
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
                del fault  # the traceback of the fault refers to this frame


def _parts(event: Event, data: bytes) -> Iterator[Event]:
    """Splits an event of the engine into the events of `Connection`. DATA is a slice of `data`."""
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
        # The engine marshals the code as a signed number of 32 bits.
        yield (kind, stream, event[2] & 0xFFFFFFFF, event[3])
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
