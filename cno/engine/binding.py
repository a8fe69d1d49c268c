"""The compiled engine: the only module that sees it.

One call in, one list of events and one run of octets out; csrc/batch.h says what the events are.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from marshal import dumps, loads
from typing import Any

from cno.engine import fast
from cno.engine._libcno import ffi, lib
from cno.engine.errors import (
    Disconnected,
    Error,
    OutOfMemory,
    ProtocolError,
    StreamGone,
    UsageError,
    WouldBlock,
)
from cno.engine.events import Event

# Where the functions are that cno.engine._fast calls past cffi, and the size of what they take.
ADDRESSES: tuple[int, ...] = (
    ffi.sizeof("struct cno_batch_t"),
    *(
        int(ffi.cast("uintptr_t", ffi.addressof(lib, name)))
        for name in (
            "cno_batch_consume",
            "cno_batch_respond",
            "cno_write_data",
            "cno_batch_lend",
            "cno_batch_respond_lent",
        )
    ),
)

if fast.MODULE is not None:
    fast.MODULE.connect(ADDRESSES)

# Parts of a lent body that one write can have: frames of HTTP/2.
VIEWS = 80

# What every request calls.
_consume, _answer, _buffer = lib.cno_batch_consume, lib.cno_batch_answer, ffi.buffer

# ---- errors ------------------------------------------------------------------------------------

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


def _assign(struct: Any, members: dict[str, int], what: str) -> None:
    for name, value in members.items():
        try:
            setattr(struct, name, value)
        except AttributeError:
            raise TypeError(f"there is no {what} {name!r}") from None
        except OverflowError:
            raise UsageError(f"{name} is out of its range", f"bad-{what}") from None


# ---- the engine --------------------------------------------------------------------------------

# What the collector found while it was at work: other finalizers of that garbage may still use it.
_found: list[tuple[Any, Any]] = []
_collecting = False


def _on_collection(phase: str, info: dict[str, int]) -> None:  # noqa: ARG001
    global _collecting
    _collecting = phase == "start"
    while _found and not _collecting:
        free, pointer = _found.pop()
        free(pointer)


if hasattr(gc, "callbacks"):
    gc.callbacks.append(_on_collection)


def _owned(pointer: Any, free: Any) -> Any:
    """`pointer`, freed with the object that this returns. Raises MemoryError for NULL."""
    if not pointer:
        raise MemoryError
    return ffi.gc(pointer, lambda p: _found.append((free, p)) if _collecting else free(p))


class Defaults:
    """Fields that every answer gets unless the application set them; shared by many engines."""

    __slots__ = ("handle",)

    def __init__(self, fields: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self.handle = _owned(lib.cno_defaults_new(), lib.cno_defaults_free)
        self.set(fields)

    def set(self, fields: Sequence[tuple[bytes, bytes]]) -> None:
        """Replaces all. Raises UsageError for more than 16, or octets that no field can hold."""
        blob = dumps(list(fields), 2)
        _check(lib.cno_defaults_set(self.handle, blob, len(blob)))


class Engine:
    """One connection of the engine, the events it has to tell and the octets it has to send.

    Every method may leave octets behind, which `output` takes, and events, which `feed` returns and
    `events` takes: tuples as csrc/batch.h lists them, the kind (CNO_EVENT_*) first.
    """

    __slots__ = ("_defaults", "address", "batch", "conn")

    def __init__(
        self,
        *,
        server: bool,
        serving: bool = False,
        gateway: bool = False,
        defaults: Defaults | None = None,
    ) -> None:
        """`serving` makes the caller answerable for the windows of streams (`open_flow`) and for
        knowing when it has said all (CNO_BATCH_QUIET); `gateway` shapes requests for an application
        server that is (CNO_BATCH_GATEWAY)."""
        kind = lib.CNO_SERVER if server else lib.CNO_CLIENT
        serving = serving or gateway
        flags = (lib.CNO_BATCH_QUIET if serving else 0) | (lib.CNO_BATCH_GATEWAY if gateway else 0)
        self.batch = _owned(lib.cno_batch_new(kind, flags), lib.cno_batch_free)
        self.conn = ffi.addressof(self.batch, "conn")
        # Of the batch, which lives as long as this object.
        self.address = int(ffi.cast("uintptr_t", self.batch))
        if serving:
            self.manual_flow()
        self._defaults = defaults
        if defaults is not None:
            self.batch.defaults = defaults.handle

    def configure(self, **settings: int) -> None:
        """Changes settings of ours by name (`struct cno_settings_t`).

        Raises UsageError when one is out of its range, WouldBlock until those before are
        acknowledged, TypeError for a name that is none.
        """
        new = ffi.new("struct cno_settings_t *", self.conn.settings[lib.CNO_LOCAL])
        _assign(new, settings, "setting")
        _check(lib.cno_configure(self.conn, new))

    def limit(self, **limits: int) -> None:
        """Changes limits by name (`struct cno_limits_t`), before `begin`.

        Raises UsageError when one is out of its range or it is too late, TypeError for a name that
        is none; nothing has changed then.
        """
        new = ffi.new("struct cno_limits_t *")
        _assign(new, limits, "limit")
        _check(lib.cno_limit(self.conn, new))

    def manual_flow(self, *, connection: bool = False) -> None:
        """Windows of streams, and with `connection` that of the connection, are reopened by
        `open_flow` alone. Before `begin`."""
        self.conn.options |= lib.CNO_MANUAL_FLOW
        if connection:
            self.conn.options |= lib.CNO_MANUAL_CONNECTION_FLOW

    def begin(
        self,
        *,
        http2: bool,
        prior_knowledge: bool = True,
        offer_upgrade: bool = False,
        h2c: bool = False,
    ) -> None:
        """The transport is up. Without `prior_knowledge` an HTTP/1 server never turns to HTTP/2 at
        its preface; with `offer_upgrade` it is told of requests for a tunnel by Upgrade, whose end
        comes when they are answered. `h2c` lets HTTP/1 turn to HTTP/2 by Upgrade (RFC 7540
        section 3.2)."""
        if not prior_knowledge:
            self.conn.options |= lib.CNO_NO_PRIOR_KNOWLEDGE
        if offer_upgrade:
            self.conn.options |= lib.CNO_OFFER_UPGRADE
        if h2c:
            self.conn.options |= lib.CNO_H2C_UPGRADE
        version = lib.CNO_HTTP2 if http2 else lib.CNO_HTTP1
        _check(lib.cno_begin(self.conn, version))
        self.batch.version = version

    def feed(self, data: bytes) -> Sequence[Event]:
        """Octets of the transport. What the peer did wrong is told by a FAULT event, not raised."""
        if _consume(self.batch, data, len(data)) < 0:
            self.raise_unless_told()
        return self.events()

    def raise_unless_told(self) -> None:
        """Raises the last error unless it is the peer's, of which a FAULT event tells."""
        error = _error()
        try:
            if not isinstance(error, ProtocolError):
                raise error
        finally:
            del error  # whose traceback has this frame

    def error(self) -> Error:
        """The last error of this thread."""
        return _error()

    def events(self) -> Sequence[Event]:
        """What has happened and was not told yet: after calls other than `feed`."""
        size: int = self.batch.events_size
        if not size:
            return ()
        # A copy, because what runs during the decoding may call the engine.
        octets = _buffer(self.batch.events, size)[:]
        self.batch.events_size = 0
        # They are the engine's own, whatever the peer sent.
        events: list[Event] = loads(octets)  # noqa: S302
        return events

    def output(self) -> bytes:
        """Takes the octets that are to be sent."""
        batch = self.batch
        size: int = batch.out_size
        if not size:
            return b""
        batch.out_size = 0
        octets: bytes = _buffer(batch.out, size)[:]
        return octets

    @property
    def http2(self) -> bool:
        """Whether HTTP/2 is spoken."""
        return bool(self.batch.version == 2)

    def answer(self, stream: int, status: int, fields: bytes, body: bytes, total: int) -> int:
        """A response head with the default fields, and its body or the first part of it.

        `fields` is marshal.dumps([(name, value), ...], 2), `total` the size of the whole body or -1
        while it is not known. Returns how many octets of the body were taken.

        Raises UsageError (nothing was written), StreamGone or Disconnected.
        """
        taken: int = _answer(
            self.batch, stream, status, fields, len(fields), body, len(body), total
        )
        if taken < 0:
            raise _error()
        return taken

    def write(self, stream: int, data: Any, final: bool) -> int:
        """A part of a body: any object with a buffer. Returns how many octets were taken; `final`
        only counts if all were."""
        buffer = data if type(data) is bytes else ffi.from_buffer(data)
        taken: int = lib.cno_write_data(self.conn, stream, buffer, len(buffer), final)
        if taken < 0:
            raise _error()
        return taken

    def lend(
        self, stream: int, data: bytes, at: int, size: int, final: bool, output: list[Any]
    ) -> int:
        """As write(), for data[at : at + size]. Nothing of that is copied: all that is to be sent
        by now is appended to `output`, as bytes and views of `data`."""
        if fast.MODULE is not None:
            taken: int = fast.MODULE.lend(self.address, stream, data, at, size, final, output)
            return taken if taken >= 0 else _check(taken)
        views, room = ffi.new("struct cno_view_t[]", VIEWS), ffi.new("size_t *", VIEWS)
        start = ffi.from_buffer("char[]", data) + at
        taken = _check(lib.cno_batch_lend(self.batch, stream, start, size, final, views, room))
        written, done, body = self.output(), 0, memoryview(data)[at:]
        for index in range(room[0]):
            view = views[index]
            if view.at > done:
                output.append(written[done : view.at])
                done = view.at
            output.append(body[view.offset : view.offset + view.size])
        if done < len(written):
            output.append(written[done:])
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

    def message(
        self,
        stream: int,
        code: int,
        method: bytes,
        path: bytes,
        fields: bytes,
        data: Any,
        final: bool,
    ) -> int:
        """A head and the body behind it, as `head` and then `write` in one. Returns how many octets
        of the body were taken."""
        buffer = ffi.from_buffer(data)
        taken: int = lib.cno_batch_message(
            self.batch,
            stream,
            code,
            method,
            len(method),
            path,
            len(path),
            fields,
            len(fields),
            buffer,
            len(buffer),
            final,
        )
        return _check(taken)

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

    def priority(self, stream: int) -> tuple[int, bool]:
        """Urgency (0 first, 7 last) and whether parts are of use (RFC 9218), as the client of a
        stream said it last; (3, False) if it did not."""
        priority = lib.cno_priority(self.conn, stream)
        return priority.urgency, bool(priority.incremental)

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
    def closing(self) -> bool:
        """Whether a new request would fail with Disconnected."""
        return bool(lib.cno_closing(self.conn))

    @property
    def settings_unacked(self) -> int:
        """How many SETTINGS frames of ours the peer has not acknowledged."""
        count: int = lib.cno_settings_unacked(self.conn)
        return count

    @property
    def head_begun(self) -> bool:
        """Whether a part of a head is kept until the rest of it comes; on HTTP/1 also of a line
        within a chunked body."""
        return bool(self.conn.head_scanned or self.conn.block_stream)

    @property
    def pending(self) -> int:
        """How many octets are kept until an HTTP/1 exchange is over, or its tunnel is granted: then
        `feed(b"")` goes on with them."""
        size: int = lib.cno_pending(self.conn)
        return size

    @property
    def next_stream(self) -> int:
        """The id for the next request, or on a server for the next push."""
        stream: int = lib.cno_next_stream(self.conn)
        return stream
