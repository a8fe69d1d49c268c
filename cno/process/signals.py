"""The signals that end a process which cno runs."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """Receives SIGINT and SIGTERM while a server runs.

    The handlers are bound methods of an object with `should_exit`, installed by signal.signal(), as
    in uvicorn: libraries find out that the server is about to end by looking at
    `signal.getsignal(signal.SIGTERM).__self__.should_exit` (sse-starlette ends its streams then).
    The names `should_exit` and `handle_exit` are therefore fixed.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, interrupt: Callable[[], None]) -> None:
        self.should_exit = False  # whether a signal has come
        self._loop = loop
        self._interrupt = interrupt

    def handle_exit(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Has the event loop call `interrupt`, even if the loop is waiting for input."""
        self.should_exit = True
        self._loop.call_soon_threadsafe(self._interrupt)


@contextmanager
def handled(interrupt: Callable[[], None]) -> Iterator[None]:
    """Calls `interrupt` on the running loop for each SIGINT and SIGTERM while the block runs.

    The former handlers are restored at the end. Unlike uvicorn, the signals are not raised again
    then: the process exits with code 0, and a script goes on after cno.run(). Does nothing outside
    the main thread, because only the main thread can install handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = Signals(asyncio.get_running_loop(), interrupt)
    former = {number: signal.signal(number, signals.handle_exit) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in former.items():
            # None stands for a handler that was installed by C code and cannot be restored.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
