"""Channel: a queue with an end, to hand a body from who makes it to who sends it."""

from __future__ import annotations

import asyncio
from typing import Any


class Channel(asyncio.Queue[Any]):
    """An asyncio.Queue that can be closed and iterated over.

    `async for` gives the items up to the end. Nothing that put() was given before close() is lost:
    a put() that still waits for room then goes on to wait, and the end comes behind its item.
    """

    def __init__(self, maxsize: int = 0, *, loop: Any = None) -> None:  # noqa: ARG002
        """At most `maxsize` items wait in it, 0 for any number. `loop` is not used any more."""
        super().__init__(maxsize)
        self._closed = False
        self._error: BaseException | None = None  # comes at the end
        self._abandoned = False  # nobody will read it
        self._blocked = 0  # calls of put() that wait for room
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()

    # ---- the writer ---------------------------------------------------------------------------

    async def put(self, item: Any) -> None:
        """Waits for room. Raises BrokenPipeError after close(), or once the reader has gone; the
        item is not in the channel then."""
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
        """Raises asyncio.QueueFull when there is no room, BrokenPipeError as put() does."""
        self._check_open()
        super().put_nowait(item)
        self._readable.set()

    def close(self, error: BaseException | None = None) -> None:
        """No more items. With `error` the reader gets that at the end: a body is broken off, not
        complete. A second call changes nothing."""
        if not self._closed:
            self._closed = True
            self._error = error
            self._readable.set()

    def _check_open(self) -> None:
        if self._abandoned:
            raise BrokenPipeError("nobody reads this channel any more")
        if self._closed:
            raise BrokenPipeError("the channel is closed")

    # ---- the reader ---------------------------------------------------------------------------

    async def get(self) -> Any:
        """The next item. At the end raises what close() was given, once, and then EOFError."""
        if not await self._wait():
            raise EOFError("the channel is closed")
        return self.get_nowait()

    async def _wait(self) -> bool:
        """Whether there is another item."""
        while self.empty():
            if self._closed and not self._blocked:
                error, self._error = self._error, None
                if error is None:
                    return False
                try:
                    raise error
                finally:
                    del error  # whose traceback has this frame
            self._readable.clear()
            await self._readable.wait()
        return True

    def get_nowait(self) -> Any:
        """Raises asyncio.QueueEmpty when there is no item, also at the end."""
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
        """The reader has gone: what waits is dropped, and put() raises BrokenPipeError, even one
        that waits for room already."""
        self._closed = self._abandoned = True
        self._error = None
        while not self.empty():
            self.get_nowait()
        self._writable.set()
        self._readable.set()
