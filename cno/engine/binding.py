"""The engine behind cffi: Engine is one connection, and Defaults are fields for many engines.

Each call takes bytes or a message and leaves a list of events and a run of output; csrc/batch.h
describes the events. Other modules read constants of the C library (events.py) and call functions
without state (websocket.py), but only this one and cno.engine._fast call those of a connection.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from marshal import dumps, loads
from typing import Any

from cno.engine import fast
from cno.engine._libcno import ffi, lib
from cno.engine.errors import Error, ProtocolError, UsageError
from cno.engine.events import Event
from cno.engine.results import check, last_error

# For cno.engine._fast, which calls these functions without cffi: their addresses, behind the size
# of their first argument.
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

# Views of a lent body that one call of lend() can make: one for each DATA frame of HTTP/2.
VIEWS = 80

# Names of the module, because every request needs them and a lookup in `lib` takes longer.
_consume, _answer, _buffer = lib.cno_batch_consume, lib.cno_batch_answer, ffi.buffer

# ---- the engine --------------------------------------------------------------------------------


def _assign(struct: Any, members: dict[str, int], what: str) -> None:
    for name, value in members.items():
        try:
            setattr(struct, name, value)
        except AttributeError:
            raise TypeError(f"there is no {what} {name!r}") from None
        except OverflowError:
            raise UsageError(f"{what} {name} is out of range", f"bad-{what}") from None


# Pointers that became garbage while the garbage collector is at work, with the functions that free
# them. They are freed behind the collection: finalizers of other garbage may still use them.
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
    """Returns an object that frees `pointer` at its end. Raises MemoryError for NULL."""
    if not pointer:
        raise MemoryError
    return ffi.gc(pointer, lambda p: _found.append((free, p)) if _collecting else free(p))


class Defaults:
    """Fields for every response in which the application has not set them. Many engines share one
    Defaults."""

    __slots__ = ("handle",)

    def __init__(self, fields: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self.handle = _owned(lib.cno_defaults_new(), lib.cno_defaults_free)
        self.set(fields)

    def set(self, fields: Sequence[tuple[bytes, bytes]]) -> None:
        """Replaces all fields. Raises UsageError for more than 16 fields, and for a name or value
        that HTTP does not allow."""
        blob = dumps(list(fields), 2)
        check(lib.cno_defaults_set(self.handle, blob, len(blob)))


class Engine:
    """One connection of the engine, with its untold events and its output.

    Every method may leave output, which output() takes, and events, which feed() returns and
    events() takes. Events are tuples, as csrc/batch.h lists them, with the kind (CNO_EVENT_*)
    first. Methods raise UsageError for a call that the contract of the engine forbids.
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
        """With `serving` the caller reopens the windows of streams by open_flow(), and gets no END
        event for a stream that ends with a complete message of the caller (CNO_BATCH_QUIET).
        `gateway` implies `serving`, and prepares requests for ASGI: a decoded path, `host` for
        `:authority` (CNO_BATCH_GATEWAY)."""
        kind = lib.CNO_SERVER if server else lib.CNO_CLIENT
        serving = serving or gateway
        flags = (lib.CNO_BATCH_QUIET if serving else 0) | (lib.CNO_BATCH_GATEWAY if gateway else 0)
        self.batch = _owned(lib.cno_batch_new(kind, flags), lib.cno_batch_free)
        self.conn = ffi.addressof(self.batch, "conn")
        # For cno.engine._fast. The batch lives as long as this object.
        self.address = int(ffi.cast("uintptr_t", self.batch))
        if serving:
            self.manual_flow()
        self._defaults = defaults
        if defaults is not None:
            self.batch.defaults = defaults.handle

    def configure(self, **settings: int) -> None:
        """Changes settings of the local side by their names in `struct cno_settings_t`.

        Raises UsageError for a value that is out of range, WouldBlock while the peer has not
        acknowledged earlier settings, and TypeError for an unknown name.
        """
        new = ffi.new("struct cno_settings_t *", self.conn.settings[lib.CNO_LOCAL])
        _assign(new, settings, "setting")
        check(lib.cno_configure(self.conn, new))

    def limit(self, **limits: int) -> None:
        """Changes limits by their names in `struct cno_limits_t`, before begin().

        Raises UsageError for a value that is out of range and after begin(), and TypeError for an
        unknown name. After an exception all limits are as they were.
        """
        new = ffi.new("struct cno_limits_t *")
        _assign(new, limits, "limit")
        check(lib.cno_limit(self.conn, new))

    def manual_flow(self, *, connection: bool = False) -> None:
        """Leaves it to open_flow() to reopen the windows of streams, and with `connection` the
        window of the connection as well. Has to be called before begin()."""
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
        """Begins the connection, once the transport is connected.

        Without `prior_knowledge` an HTTP/1 server takes the preface of HTTP/2 for a bad request.
        With `offer_upgrade` HEAD events of a server show requests for a tunnel by Upgrade, whose
        TAIL then comes when they are answered. `h2c` allows the change to HTTP/2 by Upgrade
        (RFC 7540 section 3.2).
        """
        if not prior_knowledge:
            self.conn.options |= lib.CNO_NO_PRIOR_KNOWLEDGE
        if offer_upgrade:
            self.conn.options |= lib.CNO_OFFER_UPGRADE
        if h2c:
            self.conn.options |= lib.CNO_H2C_UPGRADE
        version = lib.CNO_HTTP2 if http2 else lib.CNO_HTTP1
        check(lib.cno_begin(self.conn, version))
        self.batch.version = version

    def feed(self, data: bytes) -> Sequence[Event]:
        """Parses bytes from the transport. A violation of the protocol is reported by a FAULT event
        and not raised."""
        if _consume(self.batch, data, len(data)) < 0:
            self.raise_unless_told()
        return self.events()

    def raise_unless_told(self) -> None:
        """Raises the last error, unless a FAULT event reports it as an error of the peer."""
        error = last_error()
        try:
            if not isinstance(error, ProtocolError):
                raise error
        finally:
            del error  # the traceback of the error refers to this frame

    def error(self) -> Error:
        """Returns the last error of this thread as an exception."""
        return last_error()

    def events(self) -> Sequence[Event]:
        """Takes the events that methods other than feed() have left."""
        size: int = self.batch.events_size
        if not size:
            return ()
        # A copy, because loads() may run finalizers, which may call the engine.
        marshalled = _buffer(self.batch.events, size)[:]
        self.batch.events_size = 0
        # The engine has marshalled the events itself, whatever the peer has sent.
        events: list[Event] = loads(marshalled)  # noqa: S302
        return events

    def output(self) -> bytes:
        """Takes the bytes for the transport."""
        batch = self.batch
        size: int = batch.out_size
        if not size:
            return b""
        batch.out_size = 0
        output: bytes = _buffer(batch.out, size)[:]
        return output

    @property
    def http2(self) -> bool:
        """Whether HTTP/2 is spoken."""
        return bool(self.batch.version == 2)

    def answer(self, stream: int, status: int, fields: bytes, body: bytes, total: int) -> int:
        """Writes a response head with the default fields, and the body or its first part.

        `fields` is marshal.dumps([(name, value), ...], 2). `total` is the size of the whole body,
        or -1 when the size is not known. Returns how many bytes of the body were taken.

        Raises UsageError (nothing was written then), StreamGone or Disconnected.
        """
        taken: int = _answer(
            self.batch, stream, status, fields, len(fields), body, len(body), total
        )
        if taken < 0:
            raise last_error()
        return taken

    def write(self, stream: int, data: Any, final: bool) -> int:
        """Writes a part of a body, which is any object with a buffer, and copies it.

        Returns how many bytes were taken. With `final` the body ends, if all bytes were taken.
        """
        buffer = data if type(data) is bytes else ffi.from_buffer(data)
        taken: int = lib.cno_write_data(self.conn, stream, buffer, len(buffer), final)
        if taken < 0:
            raise last_error()
        return taken

    def lend(
        self, stream: int, data: bytes, at: int, size: int, final: bool, output: list[Any]
    ) -> int:
        """Writes data[at : at + size] as write() does, but without a copy.

        Appends all output of the engine to the list `output`, in order: bytes, and views of `data`.
        """
        if fast.MODULE is not None:
            taken: int = fast.MODULE.lend(self.address, stream, data, at, size, final, output)
            return taken if taken >= 0 else check(taken)
        views, room = ffi.new("struct cno_view_t[]", VIEWS), ffi.new("size_t *", VIEWS)
        start = ffi.from_buffer("char[]", data) + at
        taken = check(lib.cno_batch_lend(self.batch, stream, start, size, final, views, room))
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
        """Writes a head without default fields: a request if `code` is 0, else a response."""
        check(
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
        """Writes a head and the body behind it, as head() and then write() would. Returns how many
        bytes of the body were taken."""
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
        return check(taken)

    def push(self, parent: int, method: bytes, path: bytes, fields: bytes) -> None:
        """Promises a response (PUSH_PROMISE). Does nothing on HTTP/1, and when the client does not
        want pushes."""
        check(
            lib.cno_batch_push(
                self.batch, parent, method, len(method), path, len(path), fields, len(fields)
            )
        )

    def tail(self, stream: int, fields: bytes) -> None:
        """Ends the body of a message with trailers, which are marshalled as for answer()."""
        check(lib.cno_batch_tail(self.batch, stream, fields, len(fields)))

    def reset(self, stream: int, code: int) -> None:
        """Resets a stream with a code of RFC 9113 section 7; on HTTP/1 ends the connection. Raises
        StreamGone."""
        check(lib.cno_write_reset(self.conn, stream, code))

    def ping(self, payload: bytes) -> None:
        """Sends a PING with eight bytes. A PONG event has the same bytes when the peer answers."""
        if len(payload) != 8:
            raise ValueError(f"the payload of a PING has 8 bytes, not {len(payload)}")
        check(lib.cno_write_ping(self.conn, payload))

    def priority(self, stream: int) -> tuple[int, bool]:
        """Returns the priority that the client has given to a stream last (RFC 9218).

        The priority is the urgency (0 first, 7 last) and whether the client can use parts of the
        response; (3, False) if the client has given none.
        """
        priority = lib.cno_priority(self.conn, stream)
        return priority.urgency, bool(priority.incremental)

    def open_flow(self, stream: int, size: int) -> None:
        """Reopens the window of a stream by the `size` bytes of its body that were read."""
        check(lib.cno_open_flow(self.conn, stream, size))

    def websocket(self, stream: int, max_size: int, deflate: bool) -> None:
        """Makes a stream a WebSocket, once its tunnel was granted by answer() with 101 or 200.

        From now on the stream has EVENT_MESSAGES instead of EVENT_DATA, as far as room() allows.
        `max_size` is the limit in bytes of a message, at most 2^30. With `deflate` a message may be
        compressed (permessage-deflate, RFC 7692); it is told as it came.

        Raises StreamGone, or UsageError for a stream without a tunnel.
        """
        options = lib.CNO_WS_DEFLATE if deflate else 0
        check(lib.cno_batch_websocket(self.batch, stream, max_size, options))

    def room(self, stream: int, messages: int, size: int) -> None:
        """Sets how many messages, and bytes of them together, a WebSocket may tell from now on.

        While `messages` is not 0 one message can be told, whatever its size. Bytes that were kept
        are read, and may leave an EVENT_MESSAGES, which events() takes. Behind the first call
        feed(b"") reads what an HTTP/1 client has sent in front of the response.

        Raises StreamGone for a stream that has ended or is no WebSocket.
        """
        check(lib.cno_batch_room(self.batch, stream, messages, size))

    def send(self, stream: int, items: list[tuple[int, Any]]) -> bytes:
        """Writes messages and control frames of a WebSocket, in one call.

        An item is an opcode (WS_TEXT, WS_BINARY, WS_PING, WS_PONG, WS_CLOSE, and with WS_RSV1 a
        compressed message) and its whole payload: bytes or the like, or a str. Returns the bytes
        that the windows of HTTP/2 did not allow: they have to be written next, by write(), when
        there is an EVENT_FLOW.

        Raises UsageError (nothing was written then) for a control frame with more than 125 bytes,
        for a str with surrogates and for an item of another form; StreamGone or Disconnected.
        """
        marshalled = dumps(items, 2)
        batch = self.batch
        if lib.cno_batch_send(batch, stream, marshalled, len(marshalled)) < 0:
            raise last_error()
        size: int = batch.rest_size
        rest: bytes = _buffer(batch.rest, size)[:] if size else b""
        return rest

    def shutdown(self, *, final: bool) -> None:
        """Ends the connection when the open streams have ended; see cno_shutdown."""
        check(lib.cno_shutdown(self.conn, final))

    def eof(self) -> None:
        """Called when the transport has ended. Raises ProtocolError if that has cut a stream."""
        check(lib.cno_eof(self.conn))

    @property
    def closing(self) -> bool:
        """Whether a new request would fail with Disconnected."""
        return bool(lib.cno_closing(self.conn))

    @property
    def settings_unacked(self) -> int:
        """The number of local SETTINGS frames that the peer has not acknowledged."""
        count: int = lib.cno_settings_unacked(self.conn)
        return count

    @property
    def head_begun(self) -> bool:
        """Whether a head has begun and is not complete; on HTTP/1 also a line of a chunked body."""
        return bool(self.conn.head_scanned or self.conn.block_stream)

    @property
    def pending(self) -> int:
        """The number of bytes that are kept until an HTTP/1 exchange is over or its tunnel is
        granted. After that feed(b"") parses them."""
        size: int = lib.cno_pending(self.conn)
        return size

    @property
    def next_stream(self) -> int:
        """The id of the next request, or on a server of the next push."""
        stream: int = lib.cno_next_stream(self.conn)
        return stream
