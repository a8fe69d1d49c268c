"""The outgoing half of a connection: output that is gathered, bodies that wait, back-pressure.

Small output is copied into the engine's buffer and written once per turn of the loop. A large part
of a body is lent to the transport instead: the engine frames it, and the transport gets views of
the application's own bytes between the frame headers.
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

# Bytes of bodies after which a writer of HTTP/2 gives the others on the loop a turn.
QUANTUM = 65536

# Bytes of bodies that the transport is given at a time: as views of the application's bytes, and
# inside TLS, where they are copied and encrypted.
BULK = 1048576
BULK_SECURE = 262144

# Bytes of bodies after which everything else on the loop has its turn.
TURN = 1048576

# Bytes from which on a part of a body is lent to the transport instead of copied into the output.
LEND = 16384

# Bytes of output that are gathered before the transport is given them.
GATHER = 65536

# Bytes that the transport may hold before writers wait.
WRITE_HIGH = 131072

# Bytes that the transport may hold before reading stops, because what is read makes more of them:
# answers too small to wait, and frames that answer frames.
OUTPUT_HIGH = 524288


class Part:
    """A part of a body on its way into the engine: data[at:]."""

    __slots__ = (
        "at",
        "data",
        "failure",
        "final",
        "lent",
        "next",
        "over",
        "size",
        "stream",
        "waiter",
    )

    def __init__(self, stream: int, data: Octets, at: int, final: bool) -> None:
        self.stream = stream
        self.data: Any = data
        self.size = len(data)
        self.at = at  # what is before has been taken by the engine
        self.final = final  # the body ends with it
        self.lent = type(data) is bytes  # the bytes of other objects may change meanwhile
        self.over = False
        self.failure: Exception | None = None
        self.waiter: asyncio.Future[None] | None = None
        self.next: Part | None = None  # of the same body, by another task


class Writing:
    """What a connection of either role writes, and who waits for it.

    `streams` has every stream that can be written to, by its id.
    """

    # What a writer gets when its stream is gone.
    gone_error: type[ConnectionError] = ConnectionResetError

    streams: dict[int, Any]

    def __init__(self, loop: asyncio.AbstractEventLoop, engine: Engine) -> None:
        self.loop = loop
        self.engine = engine
        self._batch = engine.batch
        self._output = engine.output
        self._transport: asyncio.Transport | None = None
        self._secure = False
        self.http2 = False
        self.writable = True
        self._over = False
        self._choked = False  # output waits for the peer
        self._flushing = False
        self._lent: list[bytes | memoryview] = []  # output in front of the engine's buffer
        self._pumping = False  # _pump() will be called
        self._turn = 0  # bytes of bodies since others had a turn
        self._parts: dict[int, Part] = {}  # the part of each stream that is being written
        self._ready: deque[Part] = deque()  # those that wait for their turn and the transport
        self._stalled: dict[int, Part] = {}  # those that wait for a window, by their streams
        self._waiting: dict[asyncio.Future[None], int] = {}  # writers that wait for room

    # ---- output -------------------------------------------------------------------------------

    def flush(self) -> None:
        """Hands the gathered output to the transport."""
        self._flushing = False
        transport = self._transport
        octets = self._output()
        if self._lent:
            lent, self._lent = self._lent, []
            if octets:
                lent.append(octets)
            if transport is None:
                return
            if self._secure:  # a TLS record for each would cost more than the copy
                transport.write(b"".join(lent))
            elif type(transport).__module__.startswith("uvloop"):
                transport.writelines(lent)
            else:
                # writelines() of asyncio in CPython 3.12 and 3.13 never pauses the protocol.
                transport.writelines(lent[:-1])
                transport.write(lent[-1])
        elif octets and transport is not None:
            transport.write(octets)
        else:
            return
        if not self.writable and transport.get_write_buffer_size() > OUTPUT_HIGH:
            self._choked = True
            self._update_reading()

    def flush_soon(self) -> None:
        """HTTP/1: now. HTTP/2: once per turn of the loop, behind all that is ready to run."""
        if not self.http2 or self._lent or self._batch.out_size >= GATHER:
            self.flush()
        elif not self._flushing:
            self._flushing = True
            self.loop.call_soon(self.flush)

    def _update_reading(self) -> None:
        raise NotImplementedError

    # ---- bodies -------------------------------------------------------------------------------

    async def write_body(self, stream: Any, data: Octets, taken: int, final: bool) -> None:
        """Writes data[taken:] as the windows and the transport allow. Returns when all of it is
        written, and unless `final` when there is room for more.

        Raises `gone_error`, or UsageError when the body is longer or shorter than was said.
        """
        if self._over or stream.id not in self.streams:
            raise self.gone_error
        part = Part(stream.id, data, taken, final)
        before = self._parts.setdefault(part.stream, part)
        if before is part:
            self._ready.append(part)
            if self.http2:
                self._pump_soon()  # behind all that is ready to run, so that streams share
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
            part.failure = None  # its traceback has this frame
        if not final and (turns := self.take_turns(stream, 0)) is not None:
            await turns

    async def write_part(self, stream: Any, data: Octets) -> None:
        """Writes a part of a body and returns when there is room for more. Raises as write_body
        does, StreamGone and Disconnected."""
        taken = 0
        if len(data) < LEND:
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
        """Writes the parts in turns, until the transport is full or all wait for their windows."""
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
                continue
            left -= taken
            gathered += taken
            if gathered >= bulk:
                gathered = 0
                self.flush()
        self.flush()

    def _end_part(self, part: Part, failure: Exception | None = None) -> None:
        """The part is written, or cannot be: the next one of its stream has its turn, or fails."""
        del self._parts[part.stream]
        if part.next is not None and failure is None:
            self._parts[part.stream] = part.next
            self._ready.append(part.next)
        ended: Part | None = part
        while ended is not None and not ended.over:
            ended.over = True
            ended.failure = failure and copy(failure)
            if ended.waiter is not None and not ended.waiter.done():
                ended.waiter.set_result(None)
            ended = None if failure is None else ended.next

    def _withdraw(self, part: Part) -> None:
        """The task that writes the part was cancelled."""
        first = self._parts[part.stream]
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
        """Writes what one part may write in its turn; returns how many bytes that were."""
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
        """That many bytes of this stream's body were written after they had waited."""

    def _opened(self, stream: int) -> None:
        """A window has been reopened: that of a stream, or (0) that of the connection."""
        if stream:
            if (part := self._stalled.pop(stream, None)) is not None:
                self._ready.append(part)
        elif self._stalled:
            self._ready += self._stalled.values()
            self._stalled.clear()

    def take_turns(self, stream: Any, size: int) -> Awaitable[None] | None:
        """Called after `size` bytes of a body. Returns None, or an awaitable where the transport
        takes no more for now, or others are to have a turn after a QUANTUM. That raises
        `gone_error`."""
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
            del waiter  # its exception would keep this frame, and the frame the exception

    def pause_writing(self) -> None:
        """The transport has enough: writers wait."""
        self.writable = False

    def resume_writing(self) -> None:
        """Writers go on, in the order in which they came."""
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
        """Nothing of this stream's body can be written any more: its writers are told."""
        if (part := self._parts.get(stream)) is not None:
            self._stalled.pop(stream, None)
            with suppress(ValueError):
                self._ready.remove(part)
            self._end_part(part, self.gone_error())
        for waiter, waiting in list(self._waiting.items()) if self._waiting else ():
            if waiting == stream and not waiter.done():
                waiter.set_exception(self.gone_error())
