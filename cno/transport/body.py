"""Bodies: those that come, as an asyncio.StreamReader, and the parts of those that go."""

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

# Octets that a line of a payload (`readline`, `readuntil`) may have.
LINE = 65536


class Readable(Protocol):
    """A file: `read` may also be a coroutine function."""

    def read(self, size: int, /) -> bytes | Awaitable[bytes]:
        """At most `size` octets, none at the end."""


Octets: TypeAlias = "bytes | bytearray | memoryview"
OCTETS = (bytes, bytearray, memoryview)  # the same for isinstance
Body: TypeAlias = "Octets | AsyncIterable[Octets] | Iterable[Octets] | Readable | None"


# ---- that come ----------------------------------------------------------------------------------


class Payload(asyncio.StreamReader):
    """The body of a message. What is not read is not let in: the window of an HTTP/2 stream opens,
    and HTTP/1 is read, as octets are taken from here.

    Reading raises a ConnectionError when the rest will not come: the other side has left, or on a
    server the answer is complete.
    """

    # Of StreamReader, which has no public way to know when a reader waits and what it took. This is
    # about the same in every Python from 3.4 on, and tests/server/test_server.py sees a change.
    _buffer: bytearray
    _waiter: asyncio.Future[None] | None

    def __init__(self, conn: Connection, stream: int, *, expect: bool = False) -> None:
        self._failure: ConnectionError | None = None
        super().__init__(limit=LINE, loop=conn.loop)
        self._conn = conn
        self._stream = stream
        self._expect = expect  # the client waits for 100
        self._held = 0  # octets of the buffer in place of which no others were let in

    def feed(self, data: bytes) -> int:
        """More of it has come; returns how many octets wait."""
        self.feed_data(data)
        self._held += len(data)
        return len(self._buffer)

    @property
    def reader(self) -> asyncio.Future[None] | None:
        """What waits for more of it: another thing after each part."""
        return self._waiter

    def fail(self, failure: ConnectionError) -> None:
        """No more of it will come: behind what is there, reading raises copies of `failure`."""
        self._failure = failure
        self.set_exception(copy(failure))

    # What has come can be read. A failure that was raised would keep, with its traceback, who keeps
    # it: hence the copies.
    @property
    def _exception(self) -> ConnectionError | None:
        if self._failure is None or self._buffer:
            return None
        return copy(self._failure)

    @_exception.setter
    def _exception(self, _: object) -> None:
        pass

    async def _wait_for_data(self, caller: str) -> None:
        """A reader wants more than there is, perhaps more than a window."""
        if self._failure is not None:
            raise copy(self._failure)
        if self._expect:
            self._expect = False
            with suppress(Error):  # it is answered
                self._conn.engine.head(self._stream, 100, b"", b"", b"", False)
                self._conn.flush_soon()
        self._let_in(self._held, 0)
        if self._failure is not None:  # since what came before it has woken the reader
            raise copy(self._failure)
        await super()._wait_for_data(caller)  # type: ignore[misc]

    def _maybe_resume_transport(self) -> None:
        """A reader has taken something."""
        left = len(self._buffer)
        self._let_in(self._held - left, left)

    def _let_in(self, size: int, left: int) -> None:
        if size > 0:
            self._held -= size
            self._conn.consumed(self._stream, size, left)


class OfferedPayload(Payload):
    """Of a request that asks for a tunnel on HTTP/1: a body of no octets for who reads it before
    that is granted, and then what comes out of it."""

    granted = False

    async def _wait_for_data(self, caller: str) -> None:
        if self.granted:
            await super()._wait_for_data(caller)
        else:
            self.feed_eof()


# ---- that go -----------------------------------------------------------------------------------


def size_of(body: Body) -> int:
    """Octets of a body, -1 if that cannot be known."""
    if body is None:
        return 0
    if isinstance(body, OCTETS):
        return memoryview(body).nbytes
    file: Any = body
    # What unpacks or decodes a file may be asked for its number as well.
    if not isinstance(getattr(file, "raw", file), io.FileIO) or iscoroutinefunction(file.read):
        return -1
    status = os.fstat(file.fileno())
    return max(status.st_size - int(file.tell()), 0) if stat.S_ISREG(status.st_mode) else -1


async def parts_of(body: Body, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[Octets, None]:
    """The parts of a body, whatever it is."""
    if isinstance(body, OCTETS):
        yield octets_of(body)
    elif isinstance(body, str):
        raise TypeError("a body is bytes, not str")
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
    """A file: one that the operating system may keep waiting is read in a thread. Of one whose size
    is known no more is read than that: who has opened it may close it when all of it was sent."""
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
    """Writes all of a body, but not its end, as the windows and the transport allow.

    Raises what `body` does, Connection.gone_error, StreamGone, Disconnected, and UsageError for a
    body longer than was said.
    """
    async with aclosing(parts_of(body, conn.loop)) as parts:
        async for part in parts:
            await conn.write_part(stream, part)


async def release(body: Body) -> None:
    """Nothing more of a body will be read: whoever fills it must not wait for that. A file is for
    who has opened it to close."""
    aclose = getattr(body, "aclose", None)
    if aclose is not None and not hasattr(body, "read"):
        await aclose()


def octets_of(part: object) -> Octets:
    if isinstance(part, (bytes, bytearray)):
        return part
    if isinstance(part, memoryview):
        return part.cast("B")
    raise TypeError(f"a part of a body is bytes, not {type(part).__name__}")
