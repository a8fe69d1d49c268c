"""The outgoing half of a connection: gathered output, bodies that wait, and back-pressure.

Small output is copied into the buffer of the engine and written once per turn of the loop. A large
part of a body is lent to the transport instead: the engine makes the frame headers, and the
transport gets views of the application's own bytes between the frame headers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from contextlib import suppress
from copy import copy
from typing import Any, TypeAlias

from cno.engine.binding import Engine
from cno.engine.errors import Disconnected, StreamGone

Octets: TypeAlias = "bytes | bytearray | memoryview"

# Bytes of bodies after which other streams of a connection, and other tasks, have their turn.
QUANTUM = 65536

# Bytes of bodies that are handed to the transport in one call: as views of the application's bytes,
# or inside TLS, which copies and encrypts them.
BULK = 1048576
BULK_SECURE = 262144

# Bytes of bodies that a connection writes in one turn of the loop; the rest waits for the next one.
TURN = 1048576

# Size in bytes from which a part of a body is lent to the transport instead of copied.
LEND = 16384

# Bytes of output in the buffer of the engine at which the buffer is flushed at once.
GATHER = 65536

# High-water mark of the transport, in bytes: above the mark, writers of bodies wait.
WRITE_HIGH = 131072

# Bytes in the transport above which reading stops. Input causes output that no writer waits with,
# such as small responses and acknowledgements, so that only an end of reading bounds the output.
OUTPUT_HIGH = 524288


class Part:
    """A part of a body that waits for a window or for its turn; data[at:] is still to be written.

    Parts of one stream are a linked list, in the order of the calls of write_body().
    """

    __slots__ = (
        "at",
        "data",
        "failure",
        "final",
        "lent",
        "next",
        "over",
        "size",
        "start",
        "stream",
        "waiter",
    )

    def __init__(self, stream: int, data: Octets, at: int, final: bool) -> None:
        self.stream = stream
        self.data: Any = data
        self.size = len(data)
        self.at = at  # the engine has taken the bytes in front of this index
        self.start = at
        self.final = final  # whether the body ends with the part
        # Whether the data may be lent. Only bytes are immutable: the caller may change any other
        # buffer as soon as send() has returned, while the transport would still hold a view.
        self.lent = type(data) is bytes
        self.over = False  # whether the part was written or has failed
        self.failure: Exception | None = None
        self.waiter: asyncio.Future[None] | None = None  # the task in write_body() waits on this
        self.next: Part | None = None  # the next part of the same stream, by another task


class Writing:
    """The output of a connection, client or server, and the tasks that wait for room in it.

    `streams` has every stream that can be written to, by its id.
    """

    # The exception for a task that writes to a stream that has ended.
    gone_error: type[ConnectionError] = ConnectionResetError

    streams: dict[int, Any]

    def __init__(self, loop: asyncio.AbstractEventLoop, engine: Engine) -> None:
        self.loop = loop
        self.engine = engine
        self._batch = engine.batch
        self._output = engine.output
        self._transport: asyncio.Transport | None = None
        self._secure = False  # whether the transport is TLS
        self.http2 = False
        self.writable = True  # whether the transport is below its high-water mark
        self._over = False  # whether the connection is closing: no new streams, no new writers
        self._choked = False  # whether reading has stopped because of OUTPUT_HIGH
        self._flushing = False  # whether a call of flush() is scheduled
        self._lent: list[bytes | memoryview] = []  # output in front of the engine's buffer
        self._pumping = False  # whether a call of _pump() is scheduled
        self._turn = 0  # bytes of bodies since other tasks had a turn
        self.parts: dict[int, Part] = {}  # the first part of each stream whose parts wait
        self._ready: deque[Part] = deque()  # parts that wait for their turn, or for the transport
        self._stalled: dict[int, Part] = {}  # by stream: parts that wait for a window to reopen
        # Tasks that wait for room in the transport, with their streams.
        self._waiting: dict[asyncio.Future[None], int] = {}

    # ---- output -------------------------------------------------------------------------------

    def flush(self) -> None:
        """Hands the gathered output to the transport."""
        self._flushing = False
        transport = self._transport
        gathered = self._output()
        if self._lent:
            lent, self._lent = self._lent, []
            if gathered:
                lent.append(gathered)
            if transport is None:
                return
            if self._secure:  # one TLS record for each piece would cost more than the copy
                transport.write(b"".join(lent))
            elif type(transport).__module__.startswith("uvloop"):
                transport.writelines(lent)
            else:
                # writelines() of asyncio in CPython 3.12 and 3.13 never pauses the protocol.
                transport.writelines(lent[:-1])
                transport.write(lent[-1])
        elif gathered and transport is not None:
            transport.write(gathered)
        else:
            return
        if not self.writable and transport.get_write_buffer_size() > OUTPUT_HIGH:
            self._choked = True
            self._update_reading()

    def flush_soon(self) -> None:
        """Flushes HTTP/1 at once, and HTTP/2 once per turn of the loop.

        The flush of HTTP/2 is scheduled behind all callbacks that are ready to run, so that the
        output of all streams leaves in one write.
        """
        if not self.http2 or self._lent or self._batch.out_size >= GATHER:
            self.flush()
        elif not self._flushing:
            self._flushing = True
            self.loop.call_soon(self.flush)

    def _update_reading(self) -> None:
        raise NotImplementedError

    # ---- bodies -------------------------------------------------------------------------------

    async def write_body(self, stream: Any, data: Octets, taken: int, final: bool) -> None:
        """Writes data[taken:], as fast as the windows and the transport allow.

        Returns when all bytes are written. Without `final` the call then also waits until the
        transport has room for the next part. Parts of one stream are written in the order of the
        calls. A task that is cancelled takes its part back, except for the bytes that are written.

        Raises `gone_error` when the stream has ended, and UsageError when the body is longer or
        shorter than its Content-Length.
        """
        if self._over or stream.id not in self.streams:
            raise self.gone_error
        part = Part(stream.id, data, taken, final)
        before = self.parts.setdefault(part.stream, part)
        if before is part:
            self._ready.append(part)
            if self.http2:
                self._pump_soon()  # other streams that are ready to run get a share of this turn
            else:
                self._pump()
        else:
            while before.next is not None:
                before = before.next
            before.next = part
        try:
            if not part.over:
                part.waiter = self.loop.create_future()
                await part.waiter
            if part.failure is not None:
                raise part.failure
        finally:
            if not part.over:  # cancelled
                self._withdraw(part)
            part.failure = None  # the traceback of the failure keeps this frame alive
        if not final and (turns := self.take_turns(stream, 0)) is not None:
            await turns

    async def write_part(self, stream: Any, data: Octets) -> None:
        """Writes a part of a body; returns when there is room for the next part.

        Raises the exceptions of write_body(), and StreamGone or Disconnected.
        """
        taken = 0
        if len(data) < LEND and stream.id not in self.parts:
            taken = self.engine.write(stream.id, data, False)
        if taken < len(data):
            await self.write_body(stream, data, taken, False)
            return
        self.flush_soon()
        if (turns := self.take_turns(stream, taken)) is not None:
            await turns

    def _pump_soon(self) -> None:
        if not self._pumping:
            self._pumping = True
            self.loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Writes parts of bodies in turns, QUANTUM bytes of each stream.

        Ends when the transport is full, when all parts wait for their windows, or after TURN bytes;
        the rest is scheduled then.
        """
        self._pumping = False
        left, gathered, bulk = TURN, 0, BULK_SECURE if self._secure else BULK
        while self._ready and self.writable:
            if left <= 0:
                self._pump_soon()
                break
            part = self._ready.popleft()
            try:
                taken = self._write_piece(part)
            except (StreamGone, Disconnected):
                self._end_part(part, self.gone_error())
                continue
            except Exception as error:
                self._end_part(part, error)
                if isinstance(error, MemoryError) and self._transport is not None:
                    self._transport.abort()  # a frame may lack a part of its payload
                continue
            left -= taken
            gathered += taken
            if gathered >= bulk:
                gathered = 0
                self.flush()
        self.flush()

    def _end_part(self, part: Part, failure: Exception | None = None) -> None:
        """Ends a part that is written or has failed.

        Then the next part of the stream becomes ready. After a failure all further parts of the
        stream fail as well.
        """
        del self.parts[part.stream]
        if part.next is not None and failure is None:
            self.parts[part.stream] = part.next
            self._ready.append(part.next)
        ended: Part | None = part
        while ended is not None and not ended.over:
            ended.over = True
            ended.failure = failure and copy(failure)
            if ended.waiter is not None and not ended.waiter.done():
                ended.waiter.set_result(None)
            ended = None if failure is None else ended.next

    def _withdraw(self, part: Part) -> None:
        """Takes back a part whose task was cancelled. The order of the other parts stays."""
        first = self.parts[part.stream]
        if first is part:
            self._stalled.pop(part.stream, None)
            with suppress(ValueError):
                self._ready.remove(part)
            self._end_part(part)
            return
        while first.next is not part:
            assert first.next is not None
            first = first.next
        first.next = part.next

    def _write_piece(self, part: Part) -> int:
        """Writes the share of one part in this turn; returns how many bytes the engine has taken.

        The share is QUANTUM bytes, or BULK bytes for a lent part that no other part waits behind.
        """
        left = part.size - part.at
        alone = part.lent and not self._ready and not self._secure
        size = min(left, BULK if alone else QUANTUM)
        final = part.final and size == left
        if part.lent and size >= LEND:
            taken = self.engine.lend(part.stream, part.data, part.at, size, final, self._lent)
        else:
            piece = memoryview(part.data)[part.at : part.at + size]
            taken = self.engine.write(part.stream, piece, final)
        part.at += taken
        self._turn += taken
        self._progress(part.stream, taken)
        if taken < size:
            self._stalled[part.stream] = part
        elif part.at < part.size:
            self._ready.append(part)
        else:
            self._end_part(part)
        return taken

    def _progress(self, stream: int, size: int) -> None:
        """Called when `size` bytes of the body of a stream were written after they had waited."""

    def _opened(self, stream: int) -> None:
        """Called when the window of a stream, or of the connection (0), was reopened."""
        if stream:
            if (part := self._stalled.pop(stream, None)) is not None:
                self._ready.append(part)
        elif self._stalled:
            self._ready += self._stalled.values()
            self._stalled.clear()

    def take_turns(self, stream: Any, size: int) -> Awaitable[None] | None:
        """Called after `size` bytes of a body were written without waiting.

        Returns None when the caller may write on at once. Otherwise returns an awaitable, which
        waits until the transport has room, or gives other tasks a turn after QUANTUM bytes; the
        awaitable raises `gone_error` when the stream ends meanwhile.
        """
        self._turn += size
        return None if self.writable and self._turn < QUANTUM else self._take_turns(stream)

    async def _take_turns(self, stream: Any) -> None:
        self._turn = 0
        if not self.writable:
            await self._wait_for_room(stream)
            return
        if stream.id in self.streams:
            await asyncio.sleep(0)
        if stream.id not in self.streams:
            raise self.gone_error

    async def _wait_for_room(self, stream: Any) -> None:
        if self._over or stream.id not in self.streams:
            raise self.gone_error
        waiter = self.loop.create_future()
        self._waiting[waiter] = stream.id
        try:
            await waiter
        finally:
            self._waiting.pop(waiter, None)
            del waiter  # the exception in the future and this frame would keep each other alive

    def pause_writing(self) -> None:
        """Called by the transport above its high-water mark: writers wait from now on."""
        self.writable = False

    def resume_writing(self) -> None:
        """Called by the transport when it has room: writers go on, in the order of their calls."""
        self.writable = True
        for waiter in list(self._waiting):
            if not waiter.done():
                waiter.set_result(None)
        if self._ready:
            self._pump()
        if self._choked:
            self._choked = False
            self._update_reading()

    def _abandon(self, stream: int) -> None:
        """Fails all writers of a stream that has ended, with `gone_error`."""
        if (part := self.parts.get(stream)) is not None:
            self._stalled.pop(stream, None)
            with suppress(ValueError):
                self._ready.remove(part)
            self._end_part(part, self.gone_error())
        for waiter, waiting in list(self._waiting.items()) if self._waiting else ():
            if waiting == stream and not waiter.done():
                waiter.set_exception(self.gone_error())
