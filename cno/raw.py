"""libcno, one to one: the only module that sees the compiled engine.

`Connection` has the methods and events of csrc/core.h. `Engine` is what it and the asyncio layer are
built on: one call in, one list of events and one run of octets out.

Every constant of the C headers is an attribute of this module under its C name (`CNO_CLIENT`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from marshal import dumps, loads
from typing import Any

from cno._engine import ffi, lib

__all__ = [
    "Connection",
    "Defaults",
    "Disconnected",
    "Engine",
    "Error",
    "OutOfMemory",
    "ProtocolError",
    "StreamGone",
    "UsageError",
    "WouldBlock",
]

Headers = Iterable[tuple[str | bytes, str | bytes]]
Event = tuple[Any, ...]

_CONSTANTS: dict[str, int] = {
    name: value
    for name in dir(lib)
    if name.startswith("CNO_") and isinstance(value := getattr(lib, name), int)
}
globals().update(_CONSTANTS)


def __getattr__(name: str) -> int:
    """The constants, for type checkers."""
    raise AttributeError(f"module 'cno.raw' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_CONSTANTS])


# ---- errors ------------------------------------------------------------------------------------


class Error(ConnectionError):
    """What the engine refused. `reason` is a stable word; `wire` is what the peer was told (an RFC 9113
    section 7 code or an HTTP status, 0 for nothing); `offset` counts octets of input."""

    def __init__(self, text: str, reason: str = "", wire: int = 0, offset: int = 0) -> None:
        super().__init__(text)
        self.reason = reason
        self.wire = wire
        self.offset = offset


class ProtocolError(Error):
    """The peer broke the protocol. The connection is over."""


class UsageError(Error):
    """The caller did what the contract forbids. Nothing was sent."""


class StreamGone(Error):
    """The stream has ended, or never was. Only this call fails."""


class WouldBlock(Error):
    """Not now: try again after the next event."""


class Disconnected(Error):
    """The connection takes no more."""


class OutOfMemory(Error, MemoryError):
    """An allocation failed. The connection is over."""


_ERRORS: dict[int, type[Error]] = {
    lib.CNO_ERRNO_ASSERTION: UsageError,
    lib.CNO_ERRNO_NO_MEMORY: OutOfMemory,
    lib.CNO_ERRNO_PROTOCOL: ProtocolError,
    lib.CNO_ERRNO_INVALID_STREAM: StreamGone,
    lib.CNO_ERRNO_WOULD_BLOCK: WouldBlock,
    lib.CNO_ERRNO_DISCONNECT: Disconnected,
}


def _error() -> Error:
    """The last error of this thread as an exception."""
    error = lib.cno_error()
    reason = ffi.string(error.reason).decode()
    text = ffi.string(error.text).decode("utf-8", "replace")
    return _ERRORS.get(error.code, Error)(text, reason, error.wire, error.offset)


def _check(result: int) -> int:
    if result < 0:
        raise _error()
    return result


# ---- the engine --------------------------------------------------------------------------------


class Defaults:
    """Fields that every answer gets unless the application set them; shared by many engines."""

    __slots__ = ("handle",)

    def __init__(self, fields: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self.handle = ffi.gc(lib.cno_defaults_new(), lib.cno_defaults_free)
        if not self.handle:
            raise MemoryError
        self.set(fields)

    def set(self, fields: Sequence[tuple[bytes, bytes]]) -> None:
        """Replaces all. Raises UsageError for more than 16 or for octets that a field cannot hold."""
        blob = dumps(list(fields), 2)
        _check(lib.cno_defaults_set(self.handle, blob, len(blob)))


class Engine:
    """One connection of the engine, the events it has to tell and the octets it has to send.

    Every method may leave octets behind, which `output` takes, and those that read may return events:
    tuples as csrc/batch.h lists them, the kind (CNO_EVENT_*) first.
    """

    __slots__ = ("_defaults", "batch", "conn")

    def __init__(
        self, *, server: bool, gateway: bool = False, defaults: Defaults | None = None
    ) -> None:
        """`gateway` shapes requests for an application server (CNO_BATCH_GATEWAY) and makes the caller
        answerable for the windows of streams (`open_flow`)."""
        kind = lib.CNO_SERVER if server else lib.CNO_CLIENT
        flags = lib.CNO_BATCH_GATEWAY if gateway else 0
        self.batch = ffi.gc(lib.cno_batch_new(kind, flags), lib.cno_batch_free)
        if not self.batch:
            raise MemoryError
        self.conn = ffi.addressof(self.batch, "conn")
        if gateway:
            self.conn.options |= lib.CNO_MANUAL_FLOW
        self._defaults = defaults
        if defaults is not None:
            self.batch.defaults = defaults.handle

    def configure(self, **settings: int) -> None:
        """Changes settings of ours by name (`struct cno_settings_t`). Raises UsageError out of range."""
        new = ffi.new("struct cno_settings_t *", self.conn.settings[lib.CNO_LOCAL])
        for name, value in settings.items():
            setattr(new, name, value)
        _check(lib.cno_configure(self.conn, new))

    def begin(self, *, http2: bool, prior_knowledge: bool = True) -> None:
        """The transport is up. Without `prior_knowledge` an HTTP/1 server never turns to HTTP/2."""
        if not prior_knowledge:
            self.conn.options |= lib.CNO_NO_PRIOR_KNOWLEDGE
        version = lib.CNO_HTTP2 if http2 else lib.CNO_HTTP1
        _check(lib.cno_begin(self.conn, version))
        self.batch.version = version

    def feed(self, data: bytes) -> Sequence[Event]:
        """Octets of the transport. What the peer did wrong is told by a FAULT event, not raised."""
        batch = self.batch
        if lib.cno_batch_consume(batch, data, len(data)) < 0:
            error = _error()
            if not isinstance(error, ProtocolError):
                raise error
        size: int = batch.events_size
        if not size:
            return ()
        events: list[Event] = loads(ffi.buffer(batch.events, size))
        batch.events_size = 0
        return events

    def events(self) -> Sequence[Event]:
        """What calls other than `feed` have made happen."""
        size: int = self.batch.events_size
        if not size:
            return ()
        events: list[Event] = loads(ffi.buffer(self.batch.events, size))
        self.batch.events_size = 0
        return events

    def output(self) -> bytes:
        """Takes the octets that are to be sent."""
        batch = self.batch
        size: int = batch.out_size
        if not size:
            return b""
        batch.out_size = 0
        octets: bytes = ffi.buffer(batch.out, size)[:]
        return octets

    @property
    def pending(self) -> int:
        """Octets kept until the HTTP/1 exchange before them is over; then call feed(b"")."""
        kept: int = self.batch.kept
        return kept

    @property
    def http2(self) -> bool:
        """Whether HTTP/2 is spoken."""
        return bool(self.batch.version == 2)

    def answer(self, stream: int, status: int, fields: bytes, body: bytes, final: bool) -> int:
        """A response head with the default fields, and its body or a part of it; `fields` is
        marshal.dumps([(name, value), ...], 2). Returns how many octets of the body were taken.

        Raises UsageError (nothing was written), StreamGone or Disconnected.
        """
        taken: int = lib.cno_batch_answer(
            self.batch, stream, status, fields, len(fields), body, len(body), final
        )
        if taken < 0:
            raise _error()
        return taken

    def write(self, stream: int, data: Any, final: bool) -> int:
        """A part of a body: any object with a buffer. Returns how many octets were taken; `final` only
        counts if all were."""
        buffer = data if type(data) is bytes else ffi.from_buffer(data)
        taken: int = lib.cno_write_data(self.conn, stream, buffer, len(buffer), final)
        if taken < 0:
            raise _error()
        return taken

    def head(
        self, stream: int, code: int, method: bytes, path: bytes, fields: bytes, final: bool
    ) -> None:
        """A head as it is, without default fields. Code 0 is a request."""
        _check(
            lib.cno_batch_head(
                self.batch,
                stream,
                code,
                method,
                len(method),
                path,
                len(path),
                fields,
                len(fields),
                final,
            )
        )

    def push(self, parent: int, method: bytes, path: bytes, fields: bytes) -> None:
        """Promises a response, where that is possible and wanted."""
        _check(
            lib.cno_batch_push(
                self.batch, parent, method, len(method), path, len(path), fields, len(fields)
            )
        )

    def tail(self, stream: int, fields: bytes) -> None:
        """Ends a message with trailers."""
        _check(lib.cno_batch_tail(self.batch, stream, fields, len(fields)))

    def reset(self, stream: int, code: int) -> None:
        """Ends a stream (RFC 9113 section 7); on HTTP/1 the connection. Raises StreamGone."""
        _check(lib.cno_write_reset(self.conn, stream, code))

    def ping(self, payload: bytes) -> None:
        """PING with eight octets, which a PONG event brings back."""
        if len(payload) != 8:
            raise ValueError("the payload of a PING has eight octets")
        _check(lib.cno_write_ping(self.conn, payload))

    def open_flow(self, stream: int, size: int) -> None:
        """`size` octets of this stream's body were used up."""
        _check(lib.cno_open_flow(self.conn, stream, size))

    def shutdown(self, *, final: bool) -> None:
        """No new streams; see cno_shutdown."""
        _check(lib.cno_shutdown(self.conn, final))

    def eof(self) -> None:
        """The transport has ended. Raises ProtocolError when that cut a stream."""
        _check(lib.cno_eof(self.conn))

    @property
    def next_stream(self) -> int:
        """The id for the next request, or on a server for the next push."""
        stream: int = lib.cno_next_stream(self.conn)
        return stream


# ---- the seed's interface ----------------------------------------------------------------------


def _text(octets: bytes) -> str:
    """Fields are UTF-8 or, where they are not, latin-1 (RFC 9110 section 5.5)."""
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def _octets(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def _fields(headers: Headers) -> bytes:
    return dumps([(_octets(name), _octets(value)) for name, value in headers], 2)


def _headers(fields: list[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(_text(name), _text(value)) for name, value in fields]


class Connection:
    """A connection whose events are methods that a subclass overrides.

    Octets to send come as `on_writev`; everything that happened during a call is told in order before the
    call returns. What an event raises ends the telling and is raised by the call; the rest is told by the
    next one.
    """

    def __init__(self, *, server: bool) -> None:
        self._engine = Engine(server=server)
        self._untold: list[Event] = []

    # ---- life ---------------------------------------------------------------------------------

    def connection_made(self, is_http2: bool = False) -> None:
        """The transport is up; a server speaking HTTP/1 turns to HTTP/2 at its preface."""
        self._engine.begin(http2=is_http2)
        self._tell()

    def connection_lost(self) -> None:
        """The transport is gone. Raises ProtocolError when that cut a stream, after its events."""
        try:
            self._engine.eof()
        finally:
            self._tell()

    def data_received(self, data: bytes) -> None:
        """Octets from the transport. Raises ProtocolError, after the events, when they were wrong."""
        data = bytes(data)
        for event in self._engine.feed(data):
            if event[0] == lib.CNO_EVENT_DATA and event[2] >= 0:
                event = (*event[:2], -1, data[event[2] : event[3]])
            self._untold.append(event)
        self._tell()

    def shutdown(self) -> None:
        """No new streams; on_close when those that are open have ended."""
        self._engine.shutdown(final=True)
        self._tell()

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
        """A response head, or with code 0 a request head; 1xx may come before the final one."""
        blob = _fields(headers)
        self._engine.head(stream, code, _octets(method), _octets(path), blob, final)
        self._tell()

    def write_push(self, stream: int, method: str, path: str, headers: Headers) -> None:
        """Promises a response to a request that the client of `stream` will want."""
        self._engine.push(stream, _octets(method), _octets(path), _fields(headers))
        self._tell()

    def write_data(self, stream: int, data: bytes, final: bool) -> int:
        """Returns how many octets were taken; wait for on_flow_increase to write the others."""
        taken = self._engine.write(stream, data, final)
        self._tell()
        return taken

    def write_tail(self, stream: int, trailers: Headers) -> None:
        """Ends a message with trailers."""
        self._engine.tail(stream, _fields(trailers))
        self._tell()

    def write_reset(self, stream: int, code: int) -> None:
        """Ends a stream; stream 0 is a shutdown."""
        self._engine.reset(stream, code)
        self._tell()

    def write_ping(self, payload: bytes) -> None:
        """PING with eight octets; on_pong brings them back."""
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

    def on_message_tail(self, stream: int, trailers: list[tuple[str, str]] | None) -> None:
        """The message is complete."""

    def on_message_data(self, stream: int, data: bytes) -> None:
        """A part of a body."""

    def on_message_push(
        self, stream: int, parent: int, method: str, path: str, headers: list[tuple[str, str]]
    ) -> None:
        """The server will answer a request that was not made; write_reset(stream) declines."""

    def on_settings(self) -> None:
        """The peer's settings have changed."""

    def on_pong(self, payload: bytes) -> None:
        """The answer to a PING."""

    # ---- telling ------------------------------------------------------------------------------

    def _tell(self) -> None:
        """Hands out the output and then the events, until there are none of either."""
        fault: Error | None = None
        while True:
            self._untold += self._engine.events()
            if octets := self._engine.output():
                self.on_writev([octets])
            if not self._untold:
                break
            event = self._untold.pop(0)
            if event[0] == lib.CNO_EVENT_FAULT:
                if not event[1]:
                    fault = ProtocolError(event[5], event[2], event[3], int(event[4]))
            else:
                _TELLERS[event[0]](self, *event[1:])
        if fault is not None:
            raise fault

    def _tell_head(
        self,
        stream: int,
        flags: int,
        code: int,
        method: str | bytes,
        target: bytes,
        _path: None,
        _query: None,
        fields: list[tuple[bytes, bytes]],
    ) -> None:
        if flags & lib.CNO_BATCH_START:
            self.on_stream_start(stream)
        text = method if isinstance(method, str) else _text(method)
        self.on_message_head(stream, code, text, _text(target), _headers(fields))
        if flags & lib.CNO_MESSAGE_FINAL:
            self.on_message_tail(stream, None)

    def _tell_tail(self, stream: int, fields: list[tuple[bytes, bytes]] | None) -> None:
        self.on_message_tail(stream, None if fields is None else _headers(fields))

    def _tell_push(
        self,
        stream: int,
        parent: int,
        method: str,
        target: bytes,
        fields: list[tuple[bytes, bytes]],
    ) -> None:
        self.on_stream_start(stream)
        self.on_message_push(stream, parent, method, _text(target), _headers(fields))


_TELLERS: dict[int, Any] = {
    lib.CNO_EVENT_START: lambda self, stream: self.on_stream_start(stream),
    lib.CNO_EVENT_HEAD: Connection._tell_head,
    lib.CNO_EVENT_DATA: lambda self, stream, _, data: self.on_message_data(stream, data),
    lib.CNO_EVENT_TAIL: Connection._tell_tail,
    lib.CNO_EVENT_END: lambda self, *event: self.on_stream_end(*event),
    lib.CNO_EVENT_FLOW: lambda self, stream: self.on_flow_increase(stream),
    lib.CNO_EVENT_PUSH: Connection._tell_push,
    lib.CNO_EVENT_SETTINGS: lambda self, _: self.on_settings(),
    lib.CNO_EVENT_PONG: lambda self, _, payload: self.on_pong(payload),
    lib.CNO_EVENT_CLOSE: lambda self, _: self.on_close(),
}
