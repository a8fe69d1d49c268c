"""Bodies of messages: Payload is an incoming body, parts_of() reads an outgoing one in parts."""

from __future__ import annotations

import asyncio
import io
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Iterable
from contextlib import aclosing, suppress
from copy import copy
from inspect import isawaitable, iscoroutinefunction
from typing import Any, Protocol, TypeAlias, cast

from cno.engine.errors import Error
from cno.transport.connection import Connection
from cno.transport.writing import QUANTUM

# The longest line, in bytes, that `readline` and `readuntil` of a payload return.
LINE = 65536


class Readable(Protocol):
    """An object like a file. `read` may also be a coroutine function."""

    def read(self, size: int, /) -> bytes | Awaitable[bytes]:
        """Returns at most `size` bytes, and none at the end of the file."""


Octets: TypeAlias = "bytes | bytearray | memoryview"
OCTETS = (bytes, bytearray, memoryview)  # the same types, for isinstance()
Body: TypeAlias = "Octets | AsyncIterable[Octets] | Iterable[Octets] | Readable | None"


# ---- incoming bodies ----------------------------------------------------------------------------


class Payload(asyncio.StreamReader):
    """The body of an incoming message.

    The pace of the reader is the pace of the peer: the window of an HTTP/2 stream is reopened, and
    reading of an HTTP/1 connection goes on, only when bytes are taken from the payload.

    Reading raises a ConnectionError when the rest of the body will not come, because the peer has
    left or because the response of a server is complete.
    """

    # Private names of StreamReader, which has no public way to learn when a reader waits and how
    # many bytes a reader has taken. They are the same in every Python from 3.10 to 3.14, and
    # tests/transport/test_body.py fails when they change.
    _buffer: bytearray
    _waiter: asyncio.Future[None] | None

    def __init__(self, conn: Connection, stream: int, *, expect: bool = False) -> None:
        self._failure: ConnectionError | None = None
        super().__init__(limit=LINE, loop=conn.loop)
        self._conn = conn
        self._stream = stream
        self._expect = expect  # whether the client waits for 100 (Continue)
        # Bytes that have come and were not yet reported as consumed: the peer may not send others
        # in their place.
        self._held = 0

    def feed(self, data: bytes) -> int:
        """Takes a chunk of the body that has come; returns how many bytes wait to be read."""
        self.feed_data(data)
        self._held += len(data)
        return len(self._buffer)

    @property
    def reader(self) -> asyncio.Future[None] | None:
        """The future on which a reader waits for more of the body, or None.

        Each wait has a new future, so that a timer sees progress.
        """
        return self._waiter

    def fail(self, failure: ConnectionError) -> None:
        """Ends the body early. The bytes that have come can be read; then reading raises copies of
        `failure`."""
        self._failure = failure
        self.set_exception(copy(failure))

    # StreamReader raises this exception in front of its buffer, while a payload gives out the
    # buffer first. Each reader gets a copy: the traceback of a raised exception refers to the
    # frames of the reader, which would keep this object alive.
    @property
    def _exception(self) -> ConnectionError | None:
        if self._failure is None or self._buffer:
            return None
        return copy(self._failure)

    @_exception.setter
    def _exception(self, _: object) -> None:
        pass

    async def _wait_for_data(self, caller: str) -> None:
        """Called by StreamReader when the buffer has not enough bytes for the reader.

        The reader may want more bytes than a window has, so that the held bytes are let go here.
        """
        if self._failure is not None:
            raise copy(self._failure)
        if self._expect:
            self._expect = False
            with suppress(Error):  # the request may be answered already
                self._conn.engine.head(self._stream, 100, b"", b"", b"", False)
                self._conn.flush_soon()
        self._let_in(self._held, 0)
        if self._failure is not None:  # to read on may have ended the connection
            raise copy(self._failure)
        await super()._wait_for_data(caller)  # type: ignore[misc]

    def _maybe_resume_transport(self) -> None:
        """Called by StreamReader when a reader has taken bytes from the buffer."""
        left = len(self._buffer)
        self._let_in(self._held - left, left)

    def _let_in(self, size: int, left: int) -> None:
        if size > 0:
            self._held -= size
            self._conn.consumed(self._stream, size, left)


class OfferedPayload(Payload):
    """The payload of a request that asks for a tunnel on HTTP/1.

    A handler that reads before the tunnel is granted finds an empty body. Afterwards the payload is
    the data that comes out of the tunnel.
    """

    granted = False

    async def _wait_for_data(self, caller: str) -> None:
        if self.granted:
            await super()._wait_for_data(caller)
        else:
            self.feed_eof()


# ---- outgoing bodies ----------------------------------------------------------------------------


def size_of(body: Body) -> int:
    """Returns the size of a body in bytes, or -1 if the size cannot be known."""
    if body is None:
        return 0
    if isinstance(body, OCTETS):
        return memoryview(body).nbytes
    file: Any = body
    # Objects that unpack or decode a file have a `fileno` too; the size of that file is not theirs.
    if not isinstance(getattr(file, "raw", file), io.FileIO) or iscoroutinefunction(file.read):
        return -1
    status = os.fstat(file.fileno())
    return max(status.st_size - int(file.tell()), 0) if stat.S_ISREG(status.st_mode) else -1


async def parts_of(body: Body, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[Octets, None]:
    """Yields the parts of a body of any kind."""
    if isinstance(body, OCTETS):
        yield octets_of(body)
    elif isinstance(body, str):
        raise TypeError("a body must be bytes, not str")
    elif hasattr(body, "read"):
        async for part in _read(cast(Readable, body), loop):
            yield part
    elif isinstance(body, AsyncIterable):
        async for part in body:
            yield octets_of(part)
    elif body is not None:
        for part in body:
            yield octets_of(part)


async def _read(file: Readable, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[Octets, None]:
    """Yields the parts of a file.

    A file of the operating system is read in a thread, because reading may block. A file whose size
    is known is read up to that size and no further: the owner may close the file as soon as all of
    its bytes are sent.
    """
    is_async = iscoroutinefunction(file.read)
    left = size_of(cast(Body, file))
    while left:
        size = min(left, QUANTUM) if left > 0 else QUANTUM
        if is_async or not hasattr(file, "fileno"):
            part = file.read(size)
        else:
            part = await loop.run_in_executor(None, file.read, size)
        if isawaitable(part):
            part = await part
        if not part:
            return
        if left > 0:
            left = max(left - len(part), 0)
        yield octets_of(part)


async def write_parts(conn: Connection, stream: Any, body: Body) -> None:
    """Writes all bytes of a body, as fast as the windows and the transport allow.

    The end of the body is left to the caller. Raises the exceptions of `body`,
    Connection.gone_error, StreamGone, Disconnected, and UsageError for a body that is longer than
    its Content-Length.
    """
    async with aclosing(parts_of(body, conn.loop)) as parts:
        async for part in parts:
            await conn.write_part(stream, part)


async def release(body: Body) -> None:
    """Tells the source of a body that nothing more will be read.

    A task that fills a Channel then waits no longer. Files are left alone: their owners close them.
    """
    aclose = getattr(body, "aclose", None)
    if aclose is not None and not hasattr(body, "read"):
        await aclose()


def octets_of(part: object) -> Octets:
    """Returns a part of a body as a buffer of single bytes. Raises TypeError for other objects."""
    if isinstance(part, (bytes, bytearray)):
        return part
    if isinstance(part, memoryview):
        return part.cast("B")
    raise TypeError(f"a part of a body must be bytes, not {type(part).__name__}")
