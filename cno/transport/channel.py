"""Channel: a queue that can be closed, from the task that makes a body to the one that sends it."""

from __future__ import annotations

import asyncio
from typing import Any


class Channel(asyncio.Queue[Any]):
    """An asyncio.Queue that can be closed and iterated over.

    `async for` gives the items up to the end. close() loses no item: a put() that waits for room
    when the channel is closed goes on to wait, and the end comes behind the item of that put().
    """

    def __init__(self, maxsize: int = 0, *, loop: Any = None) -> None:  # noqa: ARG002
        """At most `maxsize` items wait in the channel, or any number with 0. `loop` is ignored."""
        super().__init__(maxsize)
        self._closed = False  # whether close() or aclose() was called
        self._error: BaseException | None = None  # the reader gets this error at the end
        self._abandoned = False  # whether the reader has gone
        self._blocked = 0  # number of calls of put() that wait for room
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()

    # ---- the writer ---------------------------------------------------------------------------

    async def put(self, item: Any) -> None:
        """Waits for room and adds an item.

        Raises BrokenPipeError after close(), and when the reader has gone; the item is not in the
        channel then.
        """
        self._check_open()
        self._blocked += 1
        try:
            while self.full():
                self._writable.clear()
                await self._writable.wait()
                if self._abandoned:
                    self._check_open()
            super().put_nowait(item)
        finally:
            self._blocked -= 1
            self._readable.set()

    def put_nowait(self, item: Any) -> None:
        """Adds an item. Raises asyncio.QueueFull when the channel has no room, and BrokenPipeError
        in the same cases as put()."""
        self._check_open()
        super().put_nowait(item)
        self._readable.set()

    def close(self, error: BaseException | None = None) -> None:
        """Ends the channel behind the items that it has. A second call changes nothing.

        With `error` the reader gets the error at the end: a body that is read from the channel is
        then broken off, not complete.
        """
        if not self._closed:
            self._closed = True
            self._error = error
            self._readable.set()

    def _check_open(self) -> None:
        if self._abandoned:
            raise BrokenPipeError("the reader of this channel has gone")
        if self._closed:
            raise BrokenPipeError("the channel is closed")

    # ---- the reader ---------------------------------------------------------------------------

    async def get(self) -> Any:
        """Returns the next item, when there is one.

        At the end raises the error that close() was given, once; otherwise EOFError.
        """
        if not await self._wait():
            raise EOFError("the channel is closed")
        return self.get_nowait()

    async def _wait(self) -> bool:
        """Waits for an item. Returns whether there is one, or False at the end."""
        while self.empty():
            if self._closed and not self._blocked:
                error, self._error = self._error, None
                if error is None:
                    return False
                try:
                    raise error
                finally:
                    del error  # the traceback of the error refers to this frame
            self._readable.clear()
            await self._readable.wait()
        return True

    def get_nowait(self) -> Any:
        """Returns the next item. Raises asyncio.QueueEmpty when there is no item, even at the
        end."""
        item = super().get_nowait()
        self._writable.set()
        return item

    def __aiter__(self) -> Channel:
        return self

    async def __anext__(self) -> Any:
        if not await self._wait():
            raise StopAsyncIteration
        return self.get_nowait()

    async def aclose(self) -> None:
        """Ends the channel for a reader that has gone.

        The items in the channel are dropped. Calls of put() raise BrokenPipeError, and so do those
        that wait for room already.
        """
        self._closed = self._abandoned = True
        self._error = None
        while not self.empty():
            self.get_nowait()
        self._writable.set()
        self._readable.set()
